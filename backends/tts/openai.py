"""Any server with OpenAI's `/v1/audio/speech`."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.backends.calls.audio_http import AudioHttp, int16_stream
from soundflow.operators.protocols.faults import ServerFault
from soundflow.operators.protocols.tts import Knob, Rendering, at_16k
from soundflow.schemas.speech import OpenAiSpeechConfig, Voice

MOST_BYTES: Final = 600 * 48_000 * 4
"""Ten minutes of the fattest format."""


class OpenAiSpeaker:
    """Takes a speed and no seed: each request draws anew."""

    knobs: tuple[Knob, ...] = ("draw", "speed")

    def __init__(self, config: OpenAiSpeechConfig):
        self.config = config
        self.voices = tuple(entry.voice("openai") for entry in config.voices)
        self._entries = {f"openai:{entry.id}": entry for entry in config.voices}
        self._http = AudioHttp(config.base_url, config.server, config.api_key_env)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        entry = self._entries[voice.name]
        asked: dict[str, Any] = {
            "model": self.config.model,
            "input": text,
            "voice": entry.speaker or entry.id,
            "response_format": self.config.format,
            "speed": speed,
        }
        if entry.instruct:
            asked["instructions"] = entry.instruct
        samples, rate = self._http.post("/audio/speech", self._decoded, most_bytes=MOST_BYTES, json=asked)
        return Rendering(at_16k(samples, rate), {"backend": "openai", "model": self.config.model, "rate": rate, "speed": speed})

    def _decoded(self, body: bytes) -> tuple[NDArray[np.float32], int]:
        if self.config.format == "pcm":
            return int16_stream(body), self.config.sample_rate
        try:
            frames, rate = soundfile.read(io.BytesIO(body), dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
            raise ServerFault(f"the answer is no {self.config.format} file: {error}") from error
        return np.asarray(frames.mean(axis=1), dtype=np.float32), int(rate)
