"""Any server with OpenAI's `/v1/audio/transcriptions`."""

from __future__ import annotations

import io
import json
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.backends.calls.audio_http import AudioHttp
from soundflow.operators.protocols.asr import Transcription
from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas import constants as c
from soundflow.schemas.speech import OpenAiTranscriptionConfig

MOST_BYTES: Final = 1 << 22
"""Of an answer."""


class OpenAiRecogniser:
    """Sends each clip as a PCM16 WAV."""

    def __init__(self, config: OpenAiTranscriptionConfig):
        self.config = config
        self._http = AudioHttp(config.base_url, config.server, config.api_key_env)

    def hear(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.hear`."""
        wav = io.BytesIO()
        soundfile.write(wav, samples, c.SAMPLE_RATE, subtype="PCM_16", format="WAV")
        asked = {
            "model": self.config.model,
            "language": language.partition("-")[0],
            "response_format": "json",
            "temperature": "0",
        }
        files = {"file": ("speech.wav", wav.getvalue(), "audio/wav")}
        text = self._http.post("/audio/transcriptions", _text, most_bytes=MOST_BYTES, data=asked, files=files)
        return Transcription(text, self.config.model)


def _text(body: bytes) -> str:
    try:
        text = json.loads(body)["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise ServerFault(f"the answer is no transcription: {body[:200]!r}")
    return text
