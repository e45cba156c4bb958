"""Every way in which a connection can end: whether the client reads why, and whether its seat is free at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from soundflow.streaming.client import Client
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import ErrorEvent, SessionCreated, SessionResumed, parse_event
from tests.streaming.serving import get, noise, run, serving

Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=1)
    started.start()
    yield started
    started.close()


async def raw(socket: Socket, data: bytes) -> None:
    """Bytes behind the back of the client's WebSocket."""
    assert socket._response.connection is not None and socket._response.connection.transport is not None
    socket._response.connection.transport.write(data)


def frame(first: int, payload: bytes, length: bytes | None = None) -> bytes:
    """A masked frame (mask 0) with this first byte."""
    announced = length or (bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big"))
    return bytes([first]) + announced + bytes(4) + payload


HALF = bytes(40_000)
FATAL: dict[str, tuple[Callable[[Socket], Awaitable[None]], str, str]] = {
    "one byte too many": (lambda s: s.send_bytes(bytes(65_537)), "message_too_large", "more than 65536 bytes"),
    "five seconds in a message": (lambda s: s.send_bytes(bytes(160_000)), "message_too_large", "more than 65536 bytes"),
    "ten megabytes": (lambda s: s.send_bytes(bytes(10_000_000)), "message_too_large", "smaller pieces"),
    "a long text": (lambda s: s.send_str(" " * 70_000), "message_too_large", "more than 65536 bytes"),
    "two fragments": (lambda s: raw(s, frame(0x02, HALF) + frame(0x80, HALF)), "message_too_large", "more than 65536 bytes"),
    "exabytes announced": (lambda s: raw(s, frame(0x82, b"", b"\xff" + b"\x7f" * 8)), "message_too_large", "more than"),
    "half a sample": (lambda s: s.send_bytes(b"\0" * 641), "bad_audio", "not a whole number of 16-bit samples"),
    "not JSON": (lambda s: s.send_str("hello?"), "bad_message", "must be JSON objects"),
    "no object": (lambda s: s.send_str("[1]"), "bad_message", "must be JSON objects"),
    "no type": (lambda s: s.send_str("{}"), "bad_message", "must be JSON objects"),
    "type of another type": (lambda s: s.send_str('{"type": ["session.close"]}'), "bad_message", "must be JSON objects"),
    "deep": (lambda s: s.send_str("[" * 60_000), "bad_message", "must be JSON objects"),
    "not UTF-8": (lambda s: raw(s, frame(0x81, b"\xff\xfe")), "bad_message", "not UTF-8"),
    "reserved bits": (lambda s: raw(s, frame(0xF2, b"")), "bad_message", "RFC 6455"),
    "unknown opcode": (lambda s: raw(s, frame(0x83, b"")), "bad_message", "RFC 6455"),
    "continuation of nothing": (lambda s: raw(s, frame(0x80, b"ab")), "bad_message", "RFC 6455"),
    "close frame of one byte": (lambda s: raw(s, frame(0x88, b"a")), "bad_message", "RFC 6455"),
    "close code out of range": (lambda s: raw(s, frame(0x88, b"\0\1")), "bad_message", "RFC 6455"),
}


async def is_free(http: aiohttp.ClientSession, url: str) -> bool:
    """Whether the only seat is free for somebody new, who leaves it properly."""
    try:
        async with http.ws_connect(f"{url}/v1/listen") as socket:
            assert json.loads((await socket.receive()).data)["type"] == "session.created"
            await socket.send_str('{"type": "session.close"}')
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            return True
    except aiohttp.WSServerHandshakeError as refused:
        assert refused.status == 503
        return False


@pytest.mark.parametrize("way", FATAL)
def test_a_limit_ends_in_a_sentence_and_the_seat_is_free_before_the_client_reads_it(engine: Engine, way: str) -> None:
    misbehave, code, sentence = FATAL[way]

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http:
            async with http.ws_connect(f"{url}/v1/listen") as socket:
                await socket.receive()
                await misbehave(socket)
                error = parse_event((await socket.receive()).data)
                assert isinstance(error, ErrorEvent) and error.error.code == code and sentence in error.error.message
                assert await is_free(http, url)  # while this connection is still there
                assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert f'soundflow_refused_total{{code="{code}"}} 1.0' in (await get(f"{url}/metrics"))[1]

    run(test)


@pytest.mark.parametrize(
    ("way", "kept"),
    [
        *(("session.close", False), ("session.close without an answer", False), ("session.close, reading nothing", False)),
        *(("close frame", False), ("close frame without a code", False), ("going away", False)),
        *(("connection lost", True), ("end of file", True)),
    ],
)
def test_a_client_that_leaves_on_purpose_gives_its_seat_up_and_one_that_is_lost_may_come_back(
    engine: Engine, way: str, kept: bool
) -> None:
    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(f"{url}/v1/listen", autoclose=False, timeout=aiohttp.ClientWSTimeout(ws_close=0.05))
            name = json.loads((await socket.receive()).data)["session"]["id"]
            assert socket._response.connection is not None
            transport = socket._response.connection.transport
            match way:
                case "session.close":
                    await socket.send_str('{"type": "session.close"}')
                    await socket.receive()
                case "session.close without an answer":
                    await raw(socket, frame(0x81, b'{"type": "session.close"}'))
                case "session.close, reading nothing":
                    transport.pause_reading()  # type: ignore[attr-defined]
                    await raw(socket, frame(0x81, b'{"type": "session.close"}'))
                case "close frame":
                    await socket.close()
                case "close frame without a code":
                    await raw(socket, frame(0x88, b""))
                case "going away":
                    await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
                case "connection lost":
                    transport.abort()
                case "end of file":
                    transport.write_eof()
            if kept:
                for _ in range(3):
                    assert not await is_free(http, url)
                async with Client.connect(url, session=name) as client:
                    assert isinstance(await anext(client.__aiter__()), SessionResumed)
                    await client.finish()
            else:
                deadline = time.monotonic() + 60
                while not await is_free(http, url):  # as soon as the server has read the message
                    assert time.monotonic() < deadline
            transport.abort()

    run(test)


def test_the_greeting_comes_before_the_error_of_a_first_message_that_ends_the_session(engine: Engine) -> None:
    """Sent in one packet with the handshake, so that the server reads both at once."""
    handshake = (
        b"GET /v1/listen HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    async def test() -> None:
        async with serving(engine) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(handshake + frame(0x82, b"a") + frame(0x88, b"\x03\xe8"))
            answer = await reader.read()
            assert 0 < answer.index(b"session.created") < answer.index(b"bad_audio")
            writer.close()

    run(test)


def test_a_client_that_leaves_before_its_handshake_is_answered_takes_no_seat(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(socket: object, request: object) -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http:
            with monkeypatch.context() as patch:
                patch.setattr("aiohttp.web.WebSocketResponse.prepare", gone)
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await http.ws_connect(f"{url}/v1/listen")
            assert await is_free(http, url) and not caplog.records

    run(test)


def test_a_lost_session_ends_after_a_while(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.server.RESUME_SECONDS", 0.0)
    monkeypatch.setattr("soundflow.streaming.server.SWEEP_SECONDS", 0.02)

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(f"{url}/v1/listen")
            await socket.receive()
            assert socket._response.connection is not None
            socket._response.connection.transport.abort()
            while not await is_free(http, url):
                await asyncio.sleep(0.02)

    run(test)


def test_a_client_that_said_goodbye_may_come_back_while_nobody_needs_its_seat(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http:
            async with Client.connect(url) as client:
                created = await anext(client.__aiter__())
                assert isinstance(created, SessionCreated)
            async with http.get(f"{url}/v1/listen") as answer:  # no connection: takes no seat from anybody
                assert answer.status == 400 and "WebSocket" in await answer.text()
            async with http.get(f"{url}/v1/listen", params={"session": created.session.id}) as answer:
                assert answer.status == 400
            async with Client.connect(url, session=created.session.id) as client:
                assert isinstance(await anext(client.__aiter__()), SessionResumed)
                await client.finish()

    run(test)


def test_the_error_of_a_replaced_connection_does_not_end_the_session_of_the_new_one(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/listen") as old:
            name = json.loads((await old.receive()).data)["session"]["id"]
            async with Client.connect(url, session=name) as client:
                events = client.__aiter__()
                assert isinstance(await anext(events), SessionResumed)
                await old.send_bytes(bytes(70_000))
                while (await old.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                await client.send(noise(0.4))
                assert (await anext(events)).type == "chunk.silent"
                await client.finish()

    run(test)


def test_a_session_that_only_sends_empty_messages_is_idle(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.server.IDLE_SECONDS", 0.2)
    monkeypatch.setattr("soundflow.streaming.server.SWEEP_SECONDS", 0.02)

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/listen") as socket:
            await socket.receive()
            while not socket.closed:
                await socket.send_bytes(b"")
                try:
                    message = await asyncio.wait_for(socket.receive(), 0.05)
                except TimeoutError:
                    continue
                assert json.loads(message.data)["error"]["code"] == "idle"
                break
            assert await is_free(http, url)

    run(test)
