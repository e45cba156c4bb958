"""OpenAI's two audio routes on a real socket: the embedded voice speaks, pocketsphinx listens, and both misbehave on demand."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import soundfile
import soxr

from soundflow.backends.asr.pocketsphinx import PocketsphinxRecogniser
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.speech import AudioServer, OpenAiSpeechConfig, OpenAiTranscriptionConfig, ServerVoice
from tests.support.hostile_cosyvoice import RATE, embedded_voice, form_of, reply
from tests.support.local_server import LocalServer

KEY = "sk-very-secret-0123456789"


class Fault(StrEnum):
    """One way to misbehave."""

    BUSY = "busy"
    HTML = "html"
    """Instead of audio or JSON, with status 200."""
    TRUNCATED = "truncated"
    """The body ends before its announced length."""
    NO_TEXT = "no_text"
    """JSON without a transcription."""
    UNAUTHORIZED = "unauthorized"
    """Quotes the key it was given."""


class OpenAiAudio(LocalServer):
    """The server; a context manager. `faults` apply to the first requests, in order."""

    def __init__(self, faults: Sequence[Fault | None] = ()):
        self.faults = list(faults)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        super().__init__()
        self._lock = threading.Lock()
        self._ears = PocketsphinxRecogniser()

    def speech(self, **change: Any) -> OpenAiSpeechConfig:
        """A client's config for the speaker."""
        voices = (ServerVoice(id="nova", language="en", gender="female", licence="proprietary"),)
        return OpenAiSpeechConfig(base_url=self._url, voices=voices, server=self._patience, **change)

    def transcription(self) -> OpenAiTranscriptionConfig:
        """A client's config for the recogniser."""
        return OpenAiTranscriptionConfig(base_url=self._url, server=self._patience)

    @property
    def _url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def _patience(self) -> AudioServer:
        return AudioServer(timeout_seconds=240, retries=3, backoff_seconds=0.01)

    def post(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._answer(request)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body, kind = handler.rfile.read(int(handler.headers["content-length"])), handler.headers["content-type"]
        speaks = handler.path == "/v1/audio/speech"
        request = json.loads(body) if speaks else form_of(kind, body)
        self.requests.append((handler.path, request))
        fault = self.faults.pop(0) if self.faults else None
        if fault == Fault.BUSY:
            return reply(handler, 429, {"error": {"message": "slow down"}})
        if fault == Fault.UNAUTHORIZED:
            return reply(handler, 401, {"error": {"message": f"bad key {handler.headers['authorization']}"}})
        if fault == Fault.NO_TEXT:
            return reply(handler, 200, {"words": []})
        if fault == Fault.HTML:
            data = b"<html>welcome</html>"
        elif speaks:
            data = self._say(request)
        else:
            samples, _ = soundfile.read(io.BytesIO(request["file"]), dtype="float32")
            data = json.dumps({"text": self._ears.transcribe(samples, "en").text}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if fault == Fault.TRUNCATED else data)
        handler.close_connection = fault == Fault.TRUNCATED
        return None

    def _say(self, request: dict[str, Any]) -> bytes:
        audio = np.asarray(embedded_voice()(request["input"], speed=request["speed"], seed=1), dtype=np.float32)
        if request["response_format"] == "pcm":
            return to_pcm16(audio).tobytes()
        buffer = io.BytesIO()
        if request["response_format"] == "wav":  # not the rate of the config: a WAV states its own
            audio = np.stack([soxr.resample(audio, RATE, 44_100)] * 2, axis=1)
        rate = 44_100 if request["response_format"] == "wav" else RATE
        soundfile.write(buffer, audio, rate, format=request["response_format"].upper())
        return buffer.getvalue()
