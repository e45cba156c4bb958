"""One request to a speech server: a deadline for the whole of it, faults tried again, never more bytes than wanted.

A request with recordings in it is put together anew for each try, and a redirect is not followed: a key would go along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from soundflow.backends.calls.faults import key_in, may_pass, retry_after, scrubbed, tries_in_thread
from soundflow.operators.protocols.faults import RequestRefused, ServerFault
from soundflow.schemas.base import InputError
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.speech import AudioServer

CONNECT_SECONDS: Final = 15.0

T = TypeVar("T")


class AudioHttp:
    """A server that takes POST requests."""

    def __init__(self, base_url: str, server: AudioServer, key_env: str = ""):
        self.base_url, self.server, self.key_env = base_url, server, key_env
        self._key = key_in(key_env, "api_key_env")
        secret = self._key.get_secret_value()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=httpx.Timeout(server.timeout_seconds, connect=min(CONNECT_SECONDS, server.timeout_seconds)),
            follow_redirects=False,
        )

    def post(self, path: str, read: Callable[[bytes], T], *, most_bytes: int, **content: Any) -> T:
        """What `read` makes of the body of an answer; `content` is httpx's: json, data, files.

        `read` raises ServerFault for a body that is damaged: it is asked for again. Raises BackendError when there is no good
        answer, and InputError when no request will fare better (key, address).
        """

        def ask() -> T:
            return read(self._once(f"{self.base_url}{path}", most_bytes, content))

        answer: T = tries_in_thread(self.server.retries, self.server.backoff_seconds)(ask)
        return answer

    def _once(self, url: str, most_bytes: int, content: Mapping[str, Any]) -> bytes:
        deadline = time.monotonic() + self.server.timeout_seconds
        body = bytearray()
        try:
            with self._client.stream("POST", url, **content) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if time.monotonic() > deadline:
                        raise ServerFault(f"{url}: no whole answer within {self.server.timeout_seconds:g} s")
                    if len(body) > most_bytes:
                        raise RequestRefused(f"{url}: the answer does not end; it has more than {most_bytes:,} bytes")
        except httpx.TimeoutException:
            raise ServerFault(f"{url}: no answer within {self.server.timeout_seconds:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:  # refused, reset, cut off in mid-answer
            raise ServerFault(f"{url}: the line broke: {type(error).__name__}: {error}") from None
        if not response.is_success:
            raise self._refusal(url, response, bytes(body))
        return bytes(body)

    def _refusal(self, url: str, response: httpx.Response, body: bytes) -> Exception:
        status = response.status_code
        said = f"{status}: {' '.join(scrubbed(body[:300].decode(errors='replace'), self._key).split())}"
        if status in (401, 402, 403):
            remedy = (
                f"Set {self.key_env}, and check the account" if self.key_env else "It wants a key, which this protocol has not"
            )
            return InputError(f"the server does not serve us ({said})", field="base_url", value=url, remedy=remedy)
        if status in (404, 405) or 300 <= status < 400:
            return InputError(f"the server is not at this address ({said})", field="base_url", value=url, remedy="Check base_url")
        if may_pass(status):
            return ServerFault(f"{url}: {said}", retry_after(response.headers.get("retry-after")))
        return RequestRefused(f"{url}: {said}")


def int16_stream(body: bytes) -> NDArray[np.float32]:
    """Raw little-endian int16 as float samples, shape (n,); ServerFault when it is none or ends within a sample."""
    if not body or len(body) % 2:
        raise ServerFault(f"{len(body)} bytes are no int16 stream: it broke off")
    return from_pcm16(body)
