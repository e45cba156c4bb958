"""A CosyVoice server on a real socket that misbehaves on demand: routes, form fields and raw int16 stream of the official FastAPI
server, with the embedded voice.

with HostileCosyVoice(faults=[Fault.SHORT, None, Fault.HANG]) as server:  # in turns, beginning with the first request
    speak(lines, out, SpeechConfig(speakers=(server.config(),)))
    server.log  # requests and answers
"""

from __future__ import annotations

import email
import email.policy
import functools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import soxr

from soundflow.schemas.speech import AudioServer, CosyVoiceConfig, CosyVoiceMode, ServerVoice
from tests.support.local_server import LocalServer

RATE = 24_000
FORMS = {
    "sft": ("tts_text", "spk_id"),
    "zero_shot": ("tts_text", "prompt_text", "prompt_wav"),
    "cross_lingual": ("tts_text", "prompt_wav"),
    "instruct": ("tts_text", "spk_id", "instruct_text"),
    "instruct2": ("tts_text", "instruct_text", "prompt_wav"),
}
"""Fields of the official server's routes."""


@functools.cache
def embedded_voice() -> Any:
    """The embedded voice, loaded once; it speaks at RATE."""
    from hibari import SAMPLE_RATE, Hibari

    assert SAMPLE_RATE == RATE
    return Hibari()


class Fault(StrEnum):
    """One way to misbehave."""

    SHORT = "short"
    """Ends early, without a sign of it."""
    WRONG_RATE = "wrong_rate"
    """At 16 kHz, undeclared."""
    SILENCE = "silence"
    NOISE = "noise"
    GARBLED = "garbled"
    """The words in another order."""
    EXTRA = "extra"
    """Continues with another sentence."""
    HANG = "hang"
    ERROR_500 = "error_500"
    ODD = "odd"
    """Ends within a sample."""
    RESET = "reset"
    """The connection breaks in the middle."""


BROKEN = frozenset({Fault.HANG, Fault.ERROR_500, Fault.ODD, Fault.RESET})
"""Faults that the answer itself shows; only the gate can detect the others."""


Script = Callable[[str, int], Fault | None]
"""(text, number of earlier requests for it) → fault. Depends neither on time nor on order."""


@dataclass(frozen=True)
class Request:
    """A request and its answer."""

    mode: str
    form: dict[str, Any]
    fault: Fault | None
    stream: bytes


class HostileCosyVoice(LocalServer):
    """The server; a context manager."""

    def __init__(self, faults: Sequence[Fault | None] = (), script: Script | None = None):
        self.faults, self.script = list(faults), script
        self.log: list[Request] = []
        self._lock = threading.Lock()
        super().__init__()

    def config(self, mode: CosyVoiceMode = "sft", *, timeout: float = 60.0, retries: int = 3, **voice: str) -> CosyVoiceConfig:
        """A client's config; one voice."""
        return CosyVoiceConfig(
            base_url=self.origin,
            mode=mode,
            sample_rate=RATE,
            voices=(ServerVoice(id="anna", speaker="English woman", language="en", gender="female", **voice),),
            server=AudioServer(timeout_seconds=timeout, retries=retries, backoff_seconds=0.01),
        )

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        mode = request.path.removeprefix("/inference_")
        if mode not in FORMS:
            return reply(request, 404, {"detail": "Not Found"})
        form = form_of(request.headers["content-type"], body)
        missing = [name for name in FORMS[mode] if not form.get(name)]
        if missing or set(form) - set(FORMS[mode]):
            return reply(request, 422, {"detail": [{"type": "missing", "loc": ["body", name]} for name in missing]})
        with self._lock:  # batch = 1, as the official model
            text = str(form["tts_text"])
            before = sum(earlier.form["tts_text"] == text for earlier in self.log)
            fault = self.faults[len(self.log) % len(self.faults)] if self.faults else None
            fault = self.script(text, before) if self.script else fault
            stream = self._stream(text, fault, before)
            self.log.append(Request(mode, form, fault, stream))
        if fault == Fault.ERROR_500:
            return reply(request, 500, {"detail": "Internal Server Error"})
        if fault == Fault.HANG:
            self.closing.wait()
        self._send(request, stream, fault)
        return None

    def _stream(self, text: str, fault: Fault | None, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if fault == Fault.GARBLED:
            text = " ".join(text.rstrip(".?!").lower().split()[::-1]).capitalize() + "."
        if fault == Fault.EXTRA:
            text += " And then she said that she would never come back to this place again."
        audio = self._say(text, number)
        if fault == Fault.SHORT:
            audio = audio[: int(audio.size * rng.uniform(0.3, 0.65))]
        elif fault == Fault.WRONG_RATE:
            audio = soxr.resample(audio, RATE, 16_000)
        elif fault == Fault.SILENCE:
            audio = np.zeros_like(audio)
        elif fault == Fault.NOISE:
            audio = 0.2 * rng.standard_normal(audio.size).clip(-4, 4)
        stream = (audio * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2").tobytes()
        return stream + b"\0" if fault == Fault.ODD else stream

    def _say(self, text: str, seed: int) -> np.ndarray:
        return np.asarray(embedded_voice()(text, seed=seed), dtype=np.float32)

    def _send(self, handler: BaseHTTPRequestHandler, stream: bytes, fault: Fault | None) -> None:
        """In pieces that end anywhere, as starlette's StreamingResponse does."""
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(stream), 9_999):
            piece = stream[start : start + 9_999]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if fault == Fault.RESET and start:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.close_connection = True
                time.sleep(0.01)
                handler.connection.close()
                return
        handler.wfile.write(b"0\r\n\r\n")


def reply(handler: BaseHTTPRequestHandler, status: int, document: dict[str, Any]) -> None:
    data = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def form_of(content_type: str, body: bytes) -> dict[str, Any]:
    """Fields of a form of either kind; files as bytes."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():  # type: ignore[attr-defined]
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        fields[str(name)] = data if part.get_filename() else data.decode()
    return fields
