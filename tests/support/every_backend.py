"""One request of every backend behind HTTP, and a server that sends scripted responses to any of them."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.backends.asr.openai import OpenAiRecogniser
from soundflow.backends.calls.metering import Meter
from soundflow.backends.embed.server import ServerEmbedder
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.backends.sounds.elevenlabs import ElevenLabsSounds
from soundflow.backends.sounds.http import HttpSounds
from soundflow.backends.sounds.service import RemoteGenerator
from soundflow.backends.tts.cosyvoice import CosyVoiceServer
from soundflow.backends.tts.openai import OpenAiSpeaker
from soundflow.operators.protocols.chat import ChatRequest, Message
from soundflow.operators.protocols.faults import ServerFault
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.generation import GenerationConfig
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Failed
from soundflow.schemas.retrieval import RetrievalConfig
from soundflow.schemas.speech import CosyVoiceConfig, OpenAiSpeechConfig, OpenAiTranscriptionConfig
from tests.support.local_server import LocalServer

KEY = "sk-very-secret-0123456789"
SERVER = {"retries": 0, "timeout_seconds": 20.0}
VOICES = [{"id": "anna", "language": "en"}]
Reply = tuple[int, dict[str, str], bytes]
Ask = Callable[[str, Meter, Path], None]
"""(origin of the server, meter, folder of the test) → None: one request, which raises if it fails."""


def wav() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(np.arange(16_000) / 5), 16_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


CHAT = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).encode()
SOUND = {"content-type": "audio/wav"}


def embeddings(request: bytes) -> bytes:
    """A response with one embedding for each input."""
    inputs = json.loads(request)["input"]
    return json.dumps({"data": [{"index": place, "embedding": [0.6, 0.8]} for place in range(len(inputs))]}).encode()


class ScriptedServer(LocalServer):
    """Sends `replies` one after the other, then `good`, and records every request. An empty body stands for embeddings."""

    def __init__(self, good: Reply, *replies: Reply):
        self.good, self.replies = good, list(replies)
        self.requests: list[dict[str, str]] = []
        """Headers, with lower-case names."""
        super().__init__()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers["content-length"]))
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        status, headers, body = self.replies.pop(0) if self.replies else self.good
        body = body or embeddings(content)
        request.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


def ask_chat(origin: str, meter: Meter, folder: Path) -> None:
    config = LlmConfig.model_validate({"model": "m", "server": SERVER | {"base_url": f"{origin}/v1"}})

    async def run() -> None:
        async with OpenAiChat(config, meter=meter) as chat:
            answering = config.answering("spoken_rewriter")
            await chat.complete(ChatRequest("spoken_rewriter", answering, (Message("user", "hi"),), "Answer", {}, "", 0))

    asyncio.run(run())


def ask_embedder(origin: str, meter: Meter, folder: Path) -> None:
    server = SERVER | {"base_url": f"{origin}/v1"}
    ServerEmbedder(RetrievalConfig.model_validate({"embedder": "server", "model": "m", "server": server}), meter=meter)


def ask_sounds(backend: str) -> Ask:
    def ask(origin: str, meter: Meter, folder: Path) -> None:
        server = SERVER | {"base_url": origin, "api_key_env": "OPENAI_API_KEY"}
        model = {"model": "audiox"} if backend == "http" else {}
        config = GenerationConfig.model_validate({"backend": backend, "server": server, **model})

        async def run() -> None:
            sounds = HttpSounds(config) if backend == "http" else ElevenLabsSounds(config)
            async with RemoteGenerator(sounds, config, AnswerCache(folder), meter=meter) as generator:
                outcome = await generator.generate("a bell", (1.0, 1.0), time.monotonic_ns())
            if isinstance(outcome, Failed):
                raise ServerFault(outcome.error)

        asyncio.run(run())

    return ask


def ask_speaker(origin: str, meter: Meter, folder: Path) -> None:
    config = OpenAiSpeechConfig.model_validate({"base_url": f"{origin}/v1", "voices": VOICES, "server": SERVER})
    speaker = OpenAiSpeaker(config)
    speaker.server.meter = meter
    speaker.say("Hello.", speaker.voices[0])


def ask_cosyvoice(origin: str, meter: Meter, folder: Path) -> None:
    speaker = CosyVoiceServer(CosyVoiceConfig.model_validate({"base_url": origin, "voices": VOICES, "server": SERVER}))
    speaker.server.meter = meter
    speaker.say("Hello.", speaker.voices[0])


def ask_recogniser(origin: str, meter: Meter, folder: Path) -> None:
    recogniser = OpenAiRecogniser(OpenAiTranscriptionConfig.model_validate({"base_url": f"{origin}/v1", "server": SERVER}))
    recogniser.server.meter = meter
    recogniser.transcribe(np.zeros(1600, np.float32), "en")


BACKENDS: dict[str, tuple[Ask, Reply]] = {
    "chat": (ask_chat, (200, {}, CHAT)),
    "embedder": (ask_embedder, (200, {}, b"")),
    "http sounds": (ask_sounds("http"), (200, SOUND, wav())),
    "elevenlabs": (ask_sounds("elevenlabs"), (200, SOUND, wav())),
    "openai speech": (ask_speaker, (200, SOUND, wav())),
    "cosyvoice": (ask_cosyvoice, (200, {}, bytes(3200))),
    "openai transcription": (ask_recogniser, (200, {}, b'{"text": "hello"}')),
}
every_backend = pytest.mark.parametrize("backend", BACKENDS)
OPENAI = ("chat", "embedder", "openai speech", "openai transcription")
"""Backends whose requests the OpenAI SDK sends; the others send plain HTTP."""
