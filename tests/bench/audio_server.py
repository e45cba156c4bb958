"""A chat server of our own that hears: it decodes the recordings it is sent and answers by a function of them."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import soundfile

from tests.support.local_server import LocalServer

Messages = list[dict[str, Any]]
"""Messages with `text` and `sounds`, the latter decoded."""
Answer = Callable[[Messages, int], str | tuple[int, str] | None]
"""(messages, how many requests came before) → the answer; (status, body) for an error; None for an empty answer."""


class AudioServer(LocalServer):
    """Listens on a free port while the `with` block lasts."""

    def __init__(self, answer: Answer):
        self.answer = answer
        self.requests: list[Messages] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        super().__init__()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        status, content = self.respond(body, {name.lower(): value for name, value in request.headers.items()})
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def respond(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        messages = [_decoded(message) for message in body["messages"]]
        with self._lock:
            before = len(self.requests)
            self.requests.append(messages)
            self.bodies.append(body)
            self.headers.append(headers)
        answer = self.answer(messages, before)
        if isinstance(answer, tuple):
            return answer[0], json.dumps({"error": {"message": answer[1], "code": "x"}}).encode()
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return 200, json.dumps({"id": "x", "model": "hears-1", "choices": [choice], "usage": usage}).encode()


def _decoded(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    sounds = []
    for part in parts:
        if part["type"] == "input_audio":
            assert part["input_audio"]["format"] == "wav"
            samples, rate = soundfile.read(io.BytesIO(base64.b64decode(part["input_audio"]["data"])), dtype="float32")
            assert rate == 16_000
            sounds.append(np.asarray(samples))
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return {"role": message["role"], "text": "".join(texts), "sounds": sounds}
