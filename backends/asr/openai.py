"""A recogniser behind any server with OpenAI's `/v1/audio/transcriptions`."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.backends.calls.http_errors import ResponseModel, parsed
from soundflow.backends.calls.service import openai_service
from soundflow.backends.calls.speech_server import SpeechServer
from soundflow.operators.protocols.asr import Transcription
from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas import constants as c
from soundflow.schemas.speech import OpenAiTranscriptionConfig
from soundflow.schemas.text import without_thoughts

LARGEST_ANSWER: Final = 1 << 22
"""Bytes of a response."""


class _TranscriptionBody(ResponseModel):
    text: str


class OpenAiRecogniser:
    """Sends each clip as a PCM16 WAV."""

    def __init__(self, config: OpenAiTranscriptionConfig):
        self.config = config
        service = openai_service("the transcription server", "recogniser", config.base_url, config.api_key_env)
        self.server = SpeechServer(service, config.server)

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        wav = io.BytesIO()
        soundfile.write(wav, samples, c.SAMPLE_RATE, subtype="PCM_16", format="WAV")
        model = self.config.model
        text = self.server.post(
            "/audio/transcriptions",
            _words,
            largest=LARGEST_ANSWER,
            detail=f"model {model}",
            file=("speech.wav", wav.getvalue(), "audio/wav"),
            model=model,
            language=language.partition("-")[0],
            response_format="json",
            temperature=0,
        )
        return Transcription(text, model)


def _words(body: bytes) -> str:
    """The transcription, without the thoughts of a model that writes them down first."""
    words = without_thoughts(parsed(_TranscriptionBody, body, "a transcription").text).answer
    if words is None:
        raise ServerFault("the transcription is not complete: it ends within the thoughts of the model")
    return words
