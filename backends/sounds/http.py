"""A text-to-audio server of your own, such as AudioX in a process with its own dependencies. The whole protocol:

    POST <base_url>                                       e.g. http://127.0.0.1:9000/v1/sound
    Content-Type: application/json
    Authorization: Bearer <key>                           only when generation.server.api_key_env is set
    {"model": "audiox", "caption": "a dog barks twice", "seconds": 3.2, "seed": 17, "sample_rate": 16000}

    200  Content-Type: audio/wav (or flac, ogg, mp3)      the sound, in any rate and number of channels
    400, 422                                              this caption is not made: the event is rejected as `refused`
    408, 409, 425, 429, 5xx  [Retry-After: seconds]       asked again, with pauses
    401, 402, 403, 404, 3xx                               the build stops and says so

The body of an error is text or JSON for people. Equal requests should give equal sounds; ours are kept and never sent twice.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import httpx
from pydantic import SecretStr

from soundflow.backends.calls.faults import key_in, scrubbed
from soundflow.backends.sounds.service import broken_line, client, is_audio, refusal
from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas import constants as c
from soundflow.schemas.generation import GenerationConfig, Maker

SECONDS: Final = (0.1, 60.0)


class HttpSounds:
    """`SoundService` for the protocol above. Cheap to make; used inside `async with`."""

    seconds = SECONDS

    def __init__(self, config: GenerationConfig):
        assert config.server.base_url is not None
        self.config, self._url = config, config.server.base_url
        self.maker = Maker(backend="http", model=config.model, licence=config.licence)
        self._variable = config.server.api_key_env or ""
        self._key = SecretStr("")
        self._client: httpx.AsyncClient | None = None

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self._url

    async def __aenter__(self) -> Self:
        self._key = key_in(self._variable, "generation.server.api_key_env")
        self._client = client(self.config.server.timeout_seconds)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def sound(self, caption: str, seconds: float, seed: int) -> bytes:
        """See `SoundService`."""
        if self._client is None:
            raise RuntimeError("HttpSounds is used inside `async with`")
        body = {"model": self.config.model, "caption": caption, "seconds": seconds, "seed": seed, "sample_rate": c.SAMPLE_RATE}
        secret = self._key.get_secret_value()
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        try:
            response = await self._client.post(self._url, json=body, headers=headers)
        except httpx.HTTPError as error:
            fault = broken_line(error)
        else:
            if response.is_success and is_audio(response.headers.get("content-type", "")):
                return response.content
            if not response.is_success:
                told = scrubbed(response.text, self._key)
                raise refusal(response.status_code, told, response.headers.get("retry-after"), self._variable, self._url)
            kind = scrubbed(response.headers["content-type"], self._key)[:100]
            fault = ServerFault(f"the answer is {kind}, not audio", billed=True)
        raise fault
