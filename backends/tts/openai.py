"""A speaker behind any server with OpenAI's `/v1/audio/speech`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.backends.calls.service import openai_service
from soundflow.backends.calls.speech_server import SpeechServer
from soundflow.backends.tts.pcm import samples_of_int16
from soundflow.operators.clean.clip_cache import detail_of
from soundflow.operators.clean.ingress import decode_bytes
from soundflow.operators.protocols.faults import ServerFault
from soundflow.operators.protocols.tts import Knob, Rendering, resample_to_16k
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import OpenAiSpeechConfig, Voice

LARGEST_ANSWER: Final = 600 * 48_000 * 4
"""Bytes of a response: ten minutes of the largest format."""


class OpenAiSpeaker:
    """Takes a speed but no seed: every request is a new draw."""

    knobs: tuple[Knob, ...] = ("draw", "speed")

    def __init__(self, config: OpenAiSpeechConfig):
        self.config = config
        self.voices = tuple(entry.voice("openai") for entry in config.voices)
        self._entries = {f"openai:{entry.id}": entry for entry in config.voices}
        service = openai_service("the speech server", "speakers", config.base_url, config.api_key_env)
        self.server = SpeechServer(service, config.server)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        entry, model = self._entries[voice.name], self.config.model
        request: dict[str, Any] = {
            "model": model,
            "input": text,
            "voice": entry.speaker or entry.id,
            "response_format": self.config.format,
            "speed": speed,
        }
        if entry.instruct:
            request["instructions"] = entry.instruct
        samples, rate = self.server.post(
            "/audio/speech", self._decoded, largest=LARGEST_ANSWER, detail=f"model {model}, voice {voice.id}", **request
        )
        return Rendering(resample_to_16k(samples, rate), {"backend": "openai", "model": model, "rate": rate, "speed": speed})

    def _decoded(self, body: bytes) -> tuple[NDArray[np.float32], int]:
        if self.config.format == "pcm":
            return samples_of_int16(body), self.config.sample_rate
        found = decode_bytes(body)
        if isinstance(found, Ok):
            return found.value
        why = f"{found.reason} ({detail_of(found)})" if isinstance(found, Rejected) else found.error
        raise ServerFault(f"the response is not a {self.config.format} file that can be used: {why}")
