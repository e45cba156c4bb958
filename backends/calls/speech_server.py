"""Calls to speech servers (TTS and ASR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from soundflow.backends.calls.metered_call import BlockingCalls, Post
from soundflow.backends.calls.metering import Limits, ProcessMeter
from soundflow.backends.calls.service import Service
from soundflow.schemas.llm import Usage
from soundflow.schemas.speech import AudioServer

ONE_CALL: Final = Usage(calls=1)

T = TypeVar("T")


class SpeechServer(BlockingCalls):
    """A speech server. Its calls have neither price nor budget."""

    def __init__(self, service: Service, server: AudioServer):
        super().__init__(service, server, ProcessMeter(Limits(call_seconds=server.timeout_seconds)))

    def post(self, path: str, read: Callable[[bytes], T], *, largest: int, detail: str, **content: Any) -> T:
        """Return what `read` makes of the body of a response of at most `largest` bytes; `content`: see `Post`.

        `read` raises ServerFault for a damaged body, which is then requested again. Raises BackendError if there is no good
        response, InputError if the key or the address is wrong.
        """
        return self.send(Post("speech", content, lambda answer: (read(answer.body), ONE_CALL), ONE_CALL, largest, path, detail))
