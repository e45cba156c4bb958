"""Whole HTTP requests and WebSocket frames, thrown at the server's raw sockets. The engine behind it decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from soundflow.streaming.connections import run
from soundflow.streaming.server import Server
from tests.fuzz.harness import throw
from tests.fuzz.mutations import damaged_bytes, damaged_json, damaged_text

pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm
TOKEN = "correct-horse-battery"
SILENT_SECONDS = 0.3
"""A server that has nothing to say waits for more of a message."""
HANDSHAKE = (
    b"GET /v1/listen?token=correct-horse-battery&threshold=0.5&sample_rate=48000 HTTP/1.1\r\n"
    b"Host: localhost:8765\r\nOrigin: http://localhost:8765\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
REQUESTS = (
    HANDSHAKE,
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct-horse-battery\r\nAccept: */*\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: [::1]:8765\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
)


class UndecidedEngine:
    """An engine that takes all audio and decides nothing."""

    def __init__(self) -> None:
        self.config, self.ready, self.restarts, self.capacity = SimpleNamespace(chunk_samples=6400), True, 0, 1000

    def open(self, *ignored: object) -> object:
        return SimpleNamespace()

    def push(self, *ignored: object) -> bool:
        return True

    def skip(self, *ignored: object) -> None: ...

    def cancel(self, *ignored: object) -> None: ...

    def end(self, *ignored: object) -> None: ...


@pytest.fixture
def port(caplog: pytest.LogCaptureFixture) -> Iterator[int]:
    """The port of a server in a thread of its own. Nothing may be logged: neither an exception nor a task that failed."""
    application = Server(UndecidedEngine(), SecretStr(TOKEN), proxies=("127.0.0.1",)).application()  # type: ignore[arg-type]
    listening, started = socket.create_server(("127.0.0.1", 0)), threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def serve() -> None:
        task = asyncio.ensure_future(run(application, listening))
        running.append((asyncio.get_running_loop(), task))
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(60)
    yield listening.getsockname()[1]
    loop, task = running[0]
    loop.call_soon_threadsafe(task.cancel)
    thread.join(60)
    assert not thread.is_alive() and not caplog.records


def exchange(port: int, *pieces: bytes, answered: bool = False) -> bytes:
    """Send pieces; return what the server answers until it closes or is silent. `answered`: wait for the first answer."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(ConnectionError, TimeoutError):
        for piece in pieces:
            connection.sendall(piece)
        answer += connection.recv(65_536) if answered else b""
        connection.settimeout(SILENT_SECONDS)
        while received := connection.recv(65_536):
            answer += received
    return answer


def test_http_requests(port: int) -> None:
    def attempt(rng: random.Random) -> str:
        request = rng.choice(REQUESTS)
        answer = exchange(port, damaged_text(request, rng) if rng.random() < 0.6 else damaged_bytes(request, rng))
        statuses = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)}
        assert all(status < 500 for status in statuses), answer[:500]
        return "no answer" if not statuses else "accepted" if max(statuses) < 400 else "refused"

    outcomes = throw("HTTP requests", 60, attempt)
    assert outcomes["refused"] and outcomes["accepted"], outcomes
    assert b"200 OK" in exchange(port, REQUESTS[1], answered=True)


GOODBYE = b"\x88\x82" + bytes(4) + b"\x03\xe8"


def frame(opcode: int, payload: bytes, rng: random.Random) -> bytes:
    """A masked frame; sometimes its flags, its length or its mask are wrong."""
    first, mask = 0x80 | opcode, rng.randbytes(4)
    if rng.random() < 0.15:
        first = rng.randrange(256)
    size = len(payload) if rng.random() > 0.1 else rng.choice([0, 125, 126, 65_535, 65_536, 2**31, 2**63 - 1, 2**64 - 1])
    length = (
        bytes([0x80 | size])
        if size < 126
        else struct.pack("!BH", 0xFE, size)
        if size < 65_536
        else struct.pack("!BQ", 0xFF, size)
    )
    if rng.random() < 0.05:
        length = bytes([length[0] & 0x7F]) + length[1:]
    return bytes([first]) + length + mask + bytes(byte ^ mask[k % 4] for k, byte in enumerate(payload))


def damaged_message(rng: random.Random) -> bytes:
    match rng.randrange(5):
        case 0:
            return frame(1, damaged_json({"type": rng.choice(["session.close", "response.cancel", "session.update"])}, rng), rng)
        case 1:
            return frame(1, json.dumps({"type": "response.cancel", rng.choice(["chunk", "type ", "event_id"]): 1}).encode(), rng)
        case 2:
            return frame(2, rng.randbytes(rng.choice([0, 1, 2, 641, 9600, 65_536, 65_537])), rng)
        case 3:
            return frame(rng.choice([0, 8, 9, 10]), rng.randbytes(rng.choice([0, 1, 2, 125, 126])), rng)
        case _:
            return rng.randbytes(rng.randrange(200))


def test_websocket_frames(port: int) -> None:
    def attempt(rng: random.Random) -> str:
        answer = exchange(port, HANDSHAKE, *(damaged_message(rng) for _ in range(rng.randrange(1, 4))), GOODBYE, answered=True)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        codes = re.findall(rb'"code": "(\w+)"', answer)
        return codes[-1].decode() if codes else "accepted"

    outcomes = throw("WebSocket frames", 60, attempt)
    assert {"accepted", "bad_message", "bad_audio", "message_too_large"} <= set(outcomes), outcomes
    assert b"session.created" in exchange(port, HANDSHAKE, GOODBYE, answered=True)
