"""ElevenLabs' sound effects through its own SDK: `text_to_sound_effects.convert`, 0.5 to 30 s.

The service knows no seed: two requests for one caption differ, so every answer is kept (`backends.sounds.service`),
under our seed. 16 kHz WAV is what we keep anyway, and every plan of theirs may ask for it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import httpx
from pydantic import SecretStr

from soundflow.backends.calls.faults import key_in, scrubbed
from soundflow.backends.sounds.service import broken_line, client, is_audio, refusal
from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas.base import InputError
from soundflow.schemas.generation import ELEVENLABS_MODEL, GenerationConfig, Maker

if TYPE_CHECKING:
    from elevenlabs.client import AsyncElevenLabs

SECONDS: Final = (0.5, 30.0)
FORMAT: Final = "wav_16000"
KEY: Final = "ELEVENLABS_API_KEY"


class ElevenLabsSounds:
    """`SoundService` for ElevenLabs. Cheap to make; used inside `async with`, which needs the package but no key yet."""

    seconds = SECONDS

    def __init__(self, config: GenerationConfig):
        self.config = config
        shaped = {} if config.prompt_influence is None else {"prompt_influence": config.prompt_influence}
        self.maker = Maker(
            backend="elevenlabs", model=config.model or ELEVENLABS_MODEL, parameters={**shaped}, licence=config.licence
        )
        self._variable = config.server.api_key_env or KEY
        self._key = SecretStr("")
        self._http: httpx.AsyncClient | None = None
        self._sdk: AsyncElevenLabs | None = None

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.config.server.base_url or "ElevenLabs"

    async def __aenter__(self) -> Self:
        self._http = client(self.config.server.timeout_seconds)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = self._sdk = None

    def _connected(self) -> AsyncElevenLabs:
        """The SDK's client, made for the first question: whoever asks nothing needs neither key nor package."""
        if self._http is None:
            raise RuntimeError("ElevenLabsSounds is used inside `async with`")
        if self._sdk is None:
            try:
                from elevenlabs.client import AsyncElevenLabs
            except ImportError:
                raise InputError(
                    "backend elevenlabs needs its SDK", field="generation", remedy="pip install 'soundflow-audio[elevenlabs]'"
                ) from None
            self._key = key_in(self._variable, "generation.server.api_key_env")
            if not self._key.get_secret_value():
                remedy = "Set it in the environment, or choose another generation.backend"
                raise InputError(f"no API key: {self._variable} is not set", field="generation", remedy=remedy)
            self._sdk = AsyncElevenLabs(
                api_key=self._key.get_secret_value(),
                base_url=self.config.server.base_url,
                timeout=self.config.server.timeout_seconds,
                httpx_client=self._http,
            )
        return self._sdk

    async def sound(self, caption: str, seconds: float, seed: int) -> bytes:
        """See `SoundService`; the seed only tells requests apart."""
        sdk = self._connected()
        from elevenlabs.core.api_error import ApiError

        try:
            call = sdk.text_to_sound_effects.with_raw_response.convert(
                text=caption,
                duration_seconds=seconds,
                model_id=self.maker.model,
                output_format=FORMAT,
                **self.maker.parameters,
            )
            async with call as response:
                kind = scrubbed(response.headers.get("content-type", ""), self._key)[:100]
                if is_audio(kind):
                    return b"".join([block async for block in response.data])
                fault: Exception = ServerFault(f"the answer is {kind}, not audio", billed=True)
        except ApiError as error:
            told = scrubbed(str(error.body), self._key)
            pause = (error.headers or {}).get("retry-after")
            fault = refusal(error.status_code or 0, told, pause, self._variable, self.address)
        except httpx.HTTPError as error:
            fault = broken_line(error)
        except ValueError:  # the SDK takes the body of every error for text
            fault = ServerFault("the service failed, and its error is no text")
        raise fault
