"""The wire format: a scripted session over a real socket, message by message, as it was before events were typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, get_args

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    EngineEvent,
    Event,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    Restarted,
    TextDelta,
    parse_event,
)
from soundflow.streaming.server import Server
from tests.streaming.serving import run

FIRST: list[EngineEvent] = [
    ChunkSilent(chunk=1, probability=0.123456, latency_ms=31.2),
    AudioDropped(chunks=2),
    Reanchored(chunk=1),
    ResponseCreated(chunk=4, probability=0.7, latency_ms=250.0, drained=2, called_by=3, called_with=0.912345),
    TextDelta(chunk=4, delta="A dog"),
    TextDelta(chunk=4, delta=""),
    TextDelta(chunk=4, delta=" 汪"),
    ResponseDone(chunk=4, text="A dog 汪.", cut=True),
]
SECOND: list[EngineEvent] = [Restarted(died=("decoder",), chunk=5, lost=1), ChunkSilent(chunk=6, probability=0.00004)]
SESSION = {"chunk_ms": 400, "sample_rate": 16000, "id": "ID", "instruction": "Name sounds.", "speaks": True}
WIRE: list[dict[str, Any]] = [
    {"type": "session.created", "missed": 0, "session": SESSION, "sequence": 1},
    {"type": "chunk.silent", "chunk": 1, "probability": 0.1235, "latency_ms": 31.2, "queue": 3, "sequence": 2},
    {"type": "input_audio.dropped", "chunks": 2, "reason": "queue_full", "sequence": 3},
    {"type": "session.reanchored", "chunk": 1, "sequence": 4},
    {
        "type": "response.created",
        "chunk": 4,
        "probability": 0.7,
        "latency_ms": 250.0,
        "queue": 3,
        "called_by": 3,
        "called_with": 0.9123,
        "sequence": 5,
    },
    {"type": "response.output_text.delta", "chunk": 4, "delta": "A dog", "sequence": 6},
    {"type": "response.output_text.delta", "chunk": 4, "delta": "", "sequence": 7},
    {"type": "response.output_text.delta", "chunk": 4, "delta": " 汪", "sequence": 8},
    {"type": "response.done", "chunk": 4, "text": "A dog 汪.", "cut": True, "sequence": 9},
    {"type": "response.output_audio.delta", "chunk": 4, "delta": "AQD/fw==", "sequence": 10},
    {"type": "response.output_audio.done", "chunk": 4, "stopped": False, "sequence": 11},
    {"type": "session.restarted", "died": ["decoder"], "chunk": 5, "lost": 1, "sequence": 12},
    {"type": "chunk.silent", "chunk": 6, "probability": 0.0, "latency_ms": 0.0, "queue": 3, "sequence": 13},
    {
        "type": "error",
        "error": {
            "code": "bad_message",
            "message": "unknown message type 'make tea'. Types: session.close, response.cancel",
        },
        "sequence": 14,
    },
    {"type": "session.resumed", "missed": 0, "session": SESSION, "sequence": 15},
    {"type": "error", "error": {"code": "bad_audio", "message": "1 bytes are not a whole number of 16-bit samples"}},
]
"""Every message of the session without its `time`. The last error is fatal and has neither."""


class ScriptedEngine:
    """An engine without processes: the test emits its events."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(chunk_samples=6400)
        self.ready, self.capacity, self.restarts = True, 1, 0

    def open(self, instruction: str, config: object, on_event: Callable[[EngineEvent], None]) -> object:
        self.emit = on_event
        return SimpleNamespace()

    def waiting(self, session: object) -> int:
        return 3

    def end(self, session: object) -> None:
        """Nothing to free."""


def message(received: dict[str, Any]) -> dict[str, Any]:
    """A message without what differs from run to run."""
    if "sequence" in received:
        assert isinstance(received.pop("time"), float)
    if "session" in received:
        received["session"]["id"] = "ID"
    return received


def test_the_messages_of_a_scripted_session_are_literally_these() -> None:
    async def test() -> None:
        engine, pool = ScriptedEngine(), ThreadPoolExecutor(1)
        voices = SimpleNamespace(speak=lambda text: b"\x01\x00\xff\x7f", pool=pool)
        server = TestServer(Server(engine, voices=voices).application())  # type: ignore[arg-type]
        await server.start_server()
        url, received = server.make_url("/v1/listen"), []
        try:
            async with aiohttp.ClientSession() as http:
                query = {"speak": "1", "instruction": "Name sounds."}
                async with http.ws_connect(url, params=query) as socket:
                    received.append(await socket.receive_json())
                    session = received[0]["session"]["id"]
                    for event in FIRST:
                        engine.emit(event)
                    while received[-1]["type"] != "response.output_audio.done":
                        received.append(await socket.receive_json())
                    for event in SECOND:
                        engine.emit(event)
                    await socket.send_str('{"type": "make tea"}')
                    while received[-1]["type"] != "error":
                        received.append(await socket.receive_json())
                async with http.ws_connect(url, params={"session": session}) as socket:
                    received.append(await socket.receive_json())
                    await socket.send_bytes(b"\0")
                    received.append(await socket.receive_json())
                async with http.get(server.make_url("/metrics")) as answer:
                    lines = (await answer.text()).splitlines()
        finally:
            await server.close()
            pool.shutdown()
        assert [message(one) for one in received] == WIRE
        assert [list(one) for one in received] == [list(one) for one in WIRE]  # also the order of the fields
        counts = ('chunks_total{decision="silent"} 2.0', 'chunks_total{decision="response"} 1.0', "dropped_chunks_total 3.0")
        assert {f"soundflow_{count}" for count in counts} < set(lines)

    run(test)


@pytest.mark.parametrize("document", WIRE, ids=lambda document: document["type"])
def test_a_client_parses_what_the_server_serialises(document: dict[str, Any]) -> None:
    timed = document | {"time": 1.5} if "sequence" in document else document
    event = parse_event(json.dumps(timed))
    assert event is not None and event.to_wire() == timed
    assert parse_event(json.dumps(timed | {"added_later": 1})) == event


def test_every_event_is_in_the_recorded_session_and_an_unknown_type_is_skipped() -> None:
    types = {cls.model_fields["type"].default for cls in get_args(Event)}
    assert types == {document["type"] for document in WIRE}
    assert parse_event('{"type": "session.renamed", "sequence": 1, "time": 0.1}') is None
    for wrong in ('{"type": "chunk.silent"}', "{}", "hello"):
        with pytest.raises(ValueError, match="validation error"):
            parse_event(wrong)


def test_decisions_keep_full_precision_until_the_wire() -> None:
    event = ChunkSilent(chunk=1, probability=0.123456789)
    assert event.probability == 0.123456789 and event.to_wire()["probability"] == 0.1235
    assert "drained" not in event.to_wire()
