"""HTTP headers and WebSocket messages, thrown at a server with a small model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from soundflow.streaming.engine import Engine
from tests.fuzz.harness import SECONDS, throw
from tests.fuzz.mutations import damaged_bytes, damaged_json, damaged_text
from tests.streaming.conftest import checkpoint, model
from tests.streaming.serving import SEATS, get, serving

__all__ = ["checkpoint", "model"]
pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm
TOKEN = "a-token-of-32-letters-for-the-test"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=SEATS)
    started.start()
    yield started
    started.close()


def _throw_at_server(
    engine: Engine, surface: str, count: int, attempt: Callable[[str, random.Random], Awaitable[str]], token: str | None = None
) -> dict[str, int]:
    """`throw` with attempts that receive the URL of a server; afterwards the server must answer and have no seat taken."""
    with asyncio.Runner() as runner:
        context = serving(engine, token)
        url = runner.run(context.__aenter__())

        def one(rng: random.Random) -> str:
            return runner.run(asyncio.wait_for(attempt(url, rng), SECONDS))

        try:
            outcomes = throw(surface, count, one)
            status, text = runner.run(get(f"{url}/healthz"))
            assert status == 200, text
        finally:
            runner.run(context.__aexit__(None, None, None))
    return outcomes


def _request(path: str, host: str, rng: random.Random) -> bytes:
    """A request to open a session, with one or more of its headers damaged."""
    query = f"?threshold={rng.choice(('0.5', 'x', '1e999', '', '%ff', '-1', '%00', '0.5&threshold=0.6'))}" * rng.randrange(2)
    lines = [f"GET {path}{query} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {TOKEN}",
        f"Origin: http://{host}",
    ]
    number = rng.randrange(len(lines))
    line = lines[number].encode()
    damage = rng.choice((damaged_text, damaged_bytes))
    held = [text.encode() for text in lines]
    held[number] = damage(line, rng)
    if rng.random() < 0.2:
        held.insert(rng.randrange(1, len(held)), rng.choice(held))
    return b"\r\n".join(held) + b"\r\n\r\n"


def test_http_headers(engine: Engine) -> None:
    async def attempt(url: str, rng: random.Random) -> str:
        host = urlsplit(url).netloc
        reader, writer = await asyncio.open_connection(*host.split(":"))
        path = rng.choice(("/v1/listen", "/v1/listen", "/", "/healthz", "/metrics", "/%2e%2e/etc/passwd"))
        try:
            writer.write(_request(path, host, rng))
            line = await asyncio.wait_for(reader.readline(), 2)
        except TimeoutError:
            return "waits for the rest"
        except ConnectionError:
            return "connection closed"
        finally:
            writer.close()
        if not line:
            return "connection closed"
        status = int(line.split()[1])
        assert status < 500 or status == 503, line
        return str(status)

    outcomes = _throw_at_server(engine, "HTTP headers", 80, attempt, token=TOKEN)
    assert {"401", "400"} <= set(outcomes), outcomes


COMMANDS: tuple[dict[str, Any], ...] = (
    {"type": "response.cancel"},
    {"type": "session.close"},
    {"type": "session.update", "id": 7},
)


def test_websocket_messages(engine: Engine) -> None:
    async def attempt(url: str, rng: random.Random) -> str:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/listen") as socket:
            first = await socket.receive_json()
            assert first["type"] == "session.created"
            match rng.randrange(4):
                case 0:
                    await socket.send_bytes(rng.randbytes(rng.choice((0, 1, 3, 639, 641, 12_801, 64_000, 65_537, 200_000))))
                case 1:
                    await socket.send_str(damaged_text(b'{"type": "response.cancel"}', rng).decode(errors="replace"))
                case _:
                    await socket.send_str(damaged_json(rng.choice(COMMANDS), rng).decode(errors="replace"))
            await socket.send_str('{"type": "session.close"}')
            outcome = "accepted"
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                event = message.json()
                if event["type"] == "error":
                    assert event["error"]["code"] and event["error"]["message"], event
                    outcome = f"error event: {event['error']['code']}"
                    break
                if event["type"] == "session.closed":
                    break
            assert socket.close_code not in (1006, 1011), (socket.close_code, outcome)
            return outcome

    outcomes = _throw_at_server(engine, "WebSocket messages", 80, attempt)
    assert any(name.startswith("error event") for name in outcomes), outcomes
