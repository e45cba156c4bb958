"""A server with OpenAI's `/embeddings` that misbehaves on demand. Texts get hashed n-grams, sines those of a word."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import soundfile

from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.schemas.retrieval import RetrievalConfig
from tests.support.local_server import LocalServer

PITCHES = {440: "a whistle", 880: "a doorbell ringing", 220: "a ship horn"}
"""Frequency of a sine (Hz) → the words it is embedded as."""
Reply = tuple[int, dict[str, str], bytes]
Fault = Callable[[list[dict[str, Any]]], Reply]
"""Good embeddings → reply that is sent instead."""


def status(code: int, **headers: str) -> Fault:
    """An error in OpenAI's format."""
    body = json.dumps({"error": {"message": "no, and your key is sk-very-secret", "code": None}}).encode()
    return lambda good: (code, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def sent(change: Callable[[list[dict[str, Any]]], Any]) -> Fault:
    """A good response with changed embeddings."""
    return lambda good: (200, {}, json.dumps({"object": "list", "data": change(good), "model": "m"}).encode())


class EmbeddingServer(LocalServer):
    """Runs in threads of its own while the `with` block lasts; `faults` come first, one per call (None: no fault)."""

    def __init__(self, *faults: Fault | None):
        self.faults = list(faults)
        self.calls: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()
        """Input → number of good answers."""
        self.keys: set[str] = set()
        super().__init__()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        self.keys.add(request.headers.get("authorization", ""))
        code, headers, content = self.answer(request.path, body)
        request.send_response(code)
        for name, value in ({"content-length": str(len(content))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)
        request.close_connection = len(content) < int(headers.get("content-length", 0))

    def config(self, **changes: Any) -> RetrievalConfig:
        """The section of a recipe with an impatient client."""
        url = f"{self.origin}/v1"
        server = {"base_url": url, "backoff_seconds": 0.001, "retries": 3, "timeout_seconds": 20, "batch": 8}
        return RetrievalConfig.model_validate({"embedder": "server", "model": "m", "server": server} | changes)

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        """(status, headers, body) for one call."""
        assert path == "/v1/embeddings" and body["encoding_format"] == "float" and "dimensions" not in body
        assert all(body["input"]), "real servers refuse an empty input"
        self.calls.append(body)
        words = [words_of_sine(one) for one in body["input"]] if body.get("modality") == "audio" else body["input"]
        vectors = 3.0 * HashedNgrams().embed(words)  # of no particular length
        good = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors.tolist())]
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault(good)
        self.answered.update(body["input"])
        tokens = sum(len(one.split()) for one in words)
        document = {
            "object": "list",
            "data": good[::-1],
            "model": "m",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return 200, {}, json.dumps(document).encode()


def words_of_sine(uri: str) -> str:
    """Return the words for a sine in a data URI."""
    kind, _, data = uri.partition(",")
    assert kind == "data:audio/wav;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert rate == 48_000 and samples.ndim == 1
    loudest = np.argmax(np.abs(np.fft.rfft(samples))) * rate / samples.size
    return PITCHES[min(PITCHES, key=lambda pitch: abs(pitch - loudest))]
