"""A sound service on a real socket: it implements ElevenLabs' protocol and ours, and misbehaves on demand.

with HostileSounds(Fault.BUSY, Fault.TRUNCATED) as server:  # these, one after the other, then good answers
    config = server.config("http")
"""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import soundfile

from soundflow.schemas.generation import GenerationConfig
from tests.support.local_server import LocalServer

KEY = "sk-very-secret-0123456789"


class Fault(StrEnum):
    """One way to misbehave."""

    BUSY = "busy"
    BUSY_SECONDS = "busy_seconds"
    BUSY_FOR_EVER = "busy_for_ever"
    ERROR_500 = "error_500"
    BINARY_ERROR = "binary_error"
    HTML = "html"
    JSON = "json"
    WRONG_TYPE = "wrong_type"
    """HTML, declared as audio."""
    EMPTY = "empty"
    TRUNCATED = "truncated"
    """A WAV shorter than its header states, in a whole response."""
    CUT_BODY = "cut_body"
    CUT_CHUNKS = "cut_chunks"
    RESET = "reset"
    RESET_IN_BODY = "reset_in_body"
    GIGABYTE_HEADER = "gigabyte_header"
    ENDLESS = "endless"
    """Chunk after chunk."""
    ENCODED = "encoded"
    HANG = "hang"
    UNAUTHORIZED = "unauthorized"
    """Quotes the key it was given."""
    NO_QUOTA = "no_quota"
    NO_MODEL = "no_model"
    REDIRECT = "redirect"
    UNPROCESSABLE = "unprocessable"
    NAN = "nan"
    SILENT = "silent"
    STREAMED_WAV = "streamed_wav"
    """Harmless: a header without a length."""
    STEREO_FLAC = "stereo_flac"
    """Harmless: another rate, two channels, compressed."""


PASSING = (
    Fault.BUSY, Fault.BUSY_SECONDS, Fault.ERROR_500, Fault.BINARY_ERROR, Fault.HTML, Fault.JSON, Fault.WRONG_TYPE, Fault.EMPTY,
    Fault.TRUNCATED, Fault.CUT_BODY, Fault.CUT_CHUNKS, Fault.RESET, Fault.RESET_IN_BODY, Fault.GIGABYTE_HEADER, Fault.ENCODED,
    Fault.ENDLESS,
)  # fmt: skip
"""Faults that a retry gets over."""


def sound(caption: str, seconds: float, seed: int, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """Return a sound that depends on the request only."""
    hz = 200 + (hash_of(caption) + 37 * seed) % 2000
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def hash_of(text: str) -> int:
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(text))


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


class HostileSounds(LocalServer):
    """The server, in a thread of its own while the `with` block lasts."""

    def __init__(self, *faults: Fault, always: Fault | None = None, latency_seconds: float = 0.0):
        self.faults, self.always, self.latency = list(faults), always, latency_seconds
        self.open = self.most_open = 0
        """Concurrent requests."""
        self._lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        """path, query, headers, body of each."""
        super().__init__()

    @property
    def url(self) -> str:
        return self.origin

    def config(self, backend: str, **changes: Any) -> GenerationConfig:
        """The configuration of an impatient client."""
        url = f"{self.url}/v1/sound" if backend == "http" else self.url
        server = {"base_url": url, "api_key_env": "SOUND_API_KEY", "timeout_seconds": 30.0, "backoff_seconds": 0.002}
        model = {"model": "audiox"} if backend == "http" else {}
        return GenerationConfig.model_validate(
            {"backend": backend, "server": server | changes.pop("server", {}), **model, **changes}
        )

    def post(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        self.closing.wait(self.latency)
        with self._lock:
            self.open -= 1
        path, _, query = request.path.partition("?")
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        seen = {"path": path, "query": query, "headers": {k.lower(): v for k, v in request.headers.items()}, "body": body}
        self.requests.append(seen)
        fault = self.faults.pop(0) if self.faults else self.always
        if path == "/v1/sound-generation":
            made = sound(body["text"], body["duration_seconds"], len(self.requests))
        else:
            made = sound(body["caption"], body["seconds"], body["seed"])
        self.misbehave(fault, request, encoded(made), seen["headers"], made)

    def misbehave(
        self, fault: Fault | None, request: BaseHTTPRequestHandler, good: bytes, headers: dict[str, str], made: np.ndarray
    ) -> None:
        key = headers.get("xi-api-key") or headers.get("authorization", "")
        out = request.wfile
        match fault:
            case Fault.HANG:
                self.closing.wait(60)
            case Fault.RESET | Fault.RESET_IN_BODY:
                if fault is Fault.RESET_IN_BODY:
                    out.write(head(200, "audio/wav", len(good)) + good[:100])
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                request.connection.close()
            case Fault.CUT_BODY:
                out.write(head(200, "audio/wav", len(good)) + good[: len(good) // 2])
            case Fault.CUT_CHUNKS:
                out.write(head(200, "audio/wav", None) + f"{len(good):x}\r\n".encode() + good + b"\r\n")
            case Fault.GIGABYTE_HEADER:
                out.write(head(200, "audio/wav", 1 << 30) + good)
                self.closing.wait(0.05)
            case Fault.ENDLESS:
                out.write(head(200, "audio/wav", None))
                block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
                try:
                    while not self.closing.is_set():
                        out.write(block)
                except OSError:
                    pass
            case _:
                status, kind, content, more = response(fault, good, key, made)
                out.write(head(status, kind, len(content), more) + content)
                return
        request.close_connection = True


def head(status: int, kind: str, length: int | None, more: str = "") -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{more}{size}\r\n\r\n".encode()


def response(fault: Fault | None, good: bytes, key: str, made: np.ndarray) -> tuple[int, str, bytes, str]:
    """(status, content type, body, further headers) of a whole response."""
    html = b"<html><body>Bad gateway</body></html>"
    match fault:
        case Fault.BUSY:
            return 429, "application/json", b'{"detail": {"status": "system_busy"}}', ""
        case Fault.BUSY_SECONDS:
            return 503, "application/json", b"{}", "Retry-After: 0.01\r\n"
        case Fault.BUSY_FOR_EVER:
            return 429, "application/json", b"{}", "Retry-After: 86400\r\n"
        case Fault.ERROR_500:
            return 500, "text/plain", b"oops", ""
        case Fault.BINARY_ERROR:
            return 500, "application/json", b"\xff\xfe\x00" * 50, ""
        case Fault.HTML:
            return 200, "text/html", html, ""
        case Fault.JSON:
            return 200, "application/json", b'{"audio": "soon"}', ""
        case Fault.WRONG_TYPE:
            return 200, "audio/wav", html, ""
        case Fault.EMPTY:
            return 200, "audio/wav", b"", ""
        case Fault.TRUNCATED:
            return 200, "audio/wav", good[: len(good) // 2], ""
        case Fault.ENCODED:
            return 200, "audio/wav", good, "Content-Encoding: gzip\r\n"
        case Fault.UNAUTHORIZED:
            return 401, "application/json", json.dumps({"detail": {"status": "invalid_api_key", "message": key}}).encode(), ""
        case Fault.NO_QUOTA:
            return 402, "application/json", b'{"detail": {"status": "quota_exceeded"}}', ""
        case Fault.NO_MODEL:
            return 404, "application/json", b'{"detail": "no such model"}', ""
        case Fault.REDIRECT:
            return 307, "text/plain", b"", "Location: http://127.0.0.1:9/elsewhere\r\n"
        case Fault.UNPROCESSABLE:
            return 422, "application/json", b'{"detail": "violates our policy"}', ""
        case Fault.NAN:
            return 200, "audio/wav", encoded(np.full_like(made, np.nan), subtype="FLOAT"), ""
        case Fault.SILENT:
            return 200, "audio/wav", encoded(np.zeros_like(made)), ""
        case Fault.STREAMED_WAV:
            unknown = b"\xff\xff\xff\xff"
            return 200, "audio/wav", good[:4] + unknown + good[8:40] + unknown + good[44:], ""
        case Fault.STEREO_FLAC:
            wide = np.repeat(np.repeat(made, 3, axis=0), 2, axis=1)
            return 200, "audio/flac", encoded(wide, 48_000, "FLAC"), ""
    return 200, "audio/wav", good, f"X-Served: {time.time()}\r\n"
