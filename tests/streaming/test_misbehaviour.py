"""Clients that misbehave in every way harm no other session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from soundflow.schemas.identity import rng_for
from soundflow.streaming.client import Client
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import AudioDropped, ChunkSilent, ErrorEvent, SessionCreated, parse_event
from tests.streaming.serving import SEATS, engine_chunks, noise, run, serving


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=SEATS)
    started.start()
    yield started
    started.close()


MISDEEDS = (
    *("half a sample", "text", "not json", "surrogate", "ten megabytes", "far too fast"),
    *("silence", "gone in mid-reply", "no goodbye"),
)
STILL_SENDING = ("ten megabytes", "far too fast")
"""The server may cut these off before they read why."""
CUT_OFF = "1006"


async def misbehave(http: aiohttp.ClientSession, url: str, misdeed: str) -> str:
    """Return the code of the server's error, or how the connection ended."""
    options = {"threshold": "0.001"} if misdeed == "gone in mid-reply" else {}
    async with http.ws_connect(f"{url}/v1/listen", params=options, timeout=aiohttp.ClientWSTimeout(ws_close=0.05)) as socket:
        await socket.receive()
        match misdeed:
            case "half a sample":
                await socket.send_bytes(b"\0" * 641)
            case "text":
                await socket.send_str('{"type": "make me a sandwich"}')
            case "surrogate":
                await socket.send_str('{"type": "\\ud800"}')
            case "not json":
                await socket.send_str("hello?")
            case "ten megabytes":
                await socket.send_bytes(bytes(10_000_000))
            case "far too fast":
                for _ in range(40):  # 80 s of audio
                    await socket.send_bytes(bytes(64_000))
            case "gone in mid-reply":
                await socket.send_bytes(noise(0.4).tobytes())
                await socket.receive()
                assert socket._response.connection is not None
                socket._response.connection.transport.abort()
                return "gone"
            case "no goodbye":
                assert socket._response.connection is not None
                socket._response.connection.transport.abort()
                return "gone"
            case "silence":
                return "nothing"
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            if isinstance(event := parse_event(message.data), ErrorEvent):
                return event.error.code
            if misdeed == "far too fast" and isinstance(event, AudioDropped):
                return event.reason
        return str(socket.close_code)


async def seated(http: aiohttp.ClientSession, url: str, misdeed: str) -> str:
    """`misbehave`, once there is a seat."""
    while True:
        try:
            return await misbehave(http, url, misdeed)
        except aiohttp.WSServerHandshakeError as refused:
            assert refused.status == 503
            await asyncio.sleep(0.02)


def test_two_hundred_misbehaving_clients_harm_no_other_session(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.server.RESUME_SECONDS", 0.0)  # their seats are free again at once
    monkeypatch.setattr("soundflow.streaming.server.SWEEP_SECONDS", 0.02)
    rng = rng_for("0" * 64, 0, 0, "misdeeds")
    expected = {"half a sample": "bad_audio", "text": "bad_message", "not json": "bad_message", "far too fast": "too_fast"}
    expected["surrogate"] = "bad_message"
    expected |= {"ten megabytes": "message_too_large", "silence": "nothing", "gone in mid-reply": "gone", "no goodbye": "gone"}

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http, Client.connect(url) as client:
            good: list[int] = []

            async def listen() -> None:
                async for event in client:
                    assert isinstance(event, SessionCreated | ChunkSilent), event
                    good.extend([event.chunk] if isinstance(event, ChunkSilent) else [])

            listening = asyncio.create_task(listen())
            for done in range(200):
                misdeed = MISDEEDS[int(rng.integers(len(MISDEEDS)))]
                try:
                    answer = await seated(http, url, misdeed)
                except ConnectionError:
                    answer = CUT_OFF
                assert answer == expected[misdeed] or (answer == CUT_OFF and misdeed in STILL_SENDING), (misdeed, answer)
                if done % 10 == 0:
                    await client.send(noise(0.4, seed=done))
            sent = engine_chunks(engine)
            while len(good) < sent and not listening.done():
                await asyncio.sleep(0.05)
            assert good == list(range(1, sent + 1)) and sent >= 20
            await client.finish()
            await listening

    run(test)
