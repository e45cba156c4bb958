"""Clients that send too much cost the engine no work, and a process that hangs costs the others nothing but its context."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from soundflow.streaming.client import Client
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    ErrorEvent,
    Event,
    ListenConfig,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionCreated,
)
from soundflow.streaming.pair import WorkerPair
from soundflow.streaming.sessions import LiveSession
from soundflow.streaming.workers import Command
from tests.streaming.serving import get, noise, run, serving

STALL = 3.0
PATIENCE = 300.0


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=3, stall_seconds=STALL)
    started.start()
    yield started
    started.close()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Commands that reach a process, by type."""
    counted: Counter[str] = Counter()
    send = WorkerPair.send

    def counting(pair: WorkerPair, command: Command) -> None:
        counted[type(command).__name__] += 1
        send(pair, command)

    monkeypatch.setattr(WorkerPair, "send", counting)
    return counted


async def flood(http: aiohttp.ClientSession, url: str, messages: list[str]) -> list[str]:
    """Send everything at once, then leave; return the codes of the errors that came before."""
    async with http.ws_connect(f"{url}/v1/listen") as socket:
        for message in messages:
            await socket.send_str(message)
        codes = []
        while "too_many_messages" not in codes:
            event = await socket.receive_json()
            codes += [event["error"]["code"]] if event["type"] == "error" else []
        await socket.send_str('{"type": "session.close"}')
        return codes


def test_two_clients_that_flood_the_server_with_commands_cost_the_engine_nothing(
    engine: Engine, work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundflow.streaming.protocol.COMMANDS_PER_SECOND", 1000.0)  # do not wait for the goodbye
    monkeypatch.setattr("soundflow.streaming.protocol.MESSAGE_BURST_SECONDS", 0.1)
    cancels = ['{"type": "response.cancel"}'] * 1500

    async def test() -> None:
        async with serving(engine) as url, aiohttp.ClientSession() as http, Client.connect(url) as client:
            events = client.__aiter__()
            await anext(events)
            flooding = [asyncio.create_task(flood(http, url, messages)) for messages in (cancels, cancels)]
            for chunk in range(1, 6):
                await client.send(noise(0.4, seed=chunk))
                event = await anext(events)
                assert isinstance(event, ChunkSilent) and event.chunk == chunk
            assert await asyncio.gather(*flooding) == [["too_many_messages"]] * 2  # reported once
            await client.finish()
        assert work == {"OpenSession": 3, "CloseSession": 3}

    run(test)


def test_a_response_is_cancelled_once_however_often_a_client_asks(engine: Engine, work: Counter[str]) -> None:
    async def test() -> None:
        async with serving(engine) as url, Client.connect(url, threshold=0.001, longest=200) as client:
            await client.interrupt()  # nothing to cancel
            await client.send(noise(0.4))
            async for event in client:
                if isinstance(event, ResponseCreated):
                    for _ in range(50):
                        await client.interrupt()
                if isinstance(event, ResponseDone):
                    break
            await client.interrupt()
            await client.finish()
            assert work["CancelResponse"] == 1

    run(test)


class CountingEngine:
    """An engine that takes every chunk and decides none."""

    def __init__(self) -> None:
        self.config, self.pushed, self.skipped, self.cancelled = SimpleNamespace(chunk_samples=6400), 0, 0, 0

    def open(self, *ignored: object) -> object:
        return SimpleNamespace()

    def push(self, session: object, chunk: object) -> bool:
        self.pushed += 1
        return True

    def skip(self, session: object) -> None:
        self.skipped += 1

    def cancel(self, session: object) -> None:
        self.cancelled += 1


def test_a_clock_that_runs_fast_loses_its_excess_and_not_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1 % too fast for 50,000 s, the client sends 500 s more than passed: 30 s are ahead at the end, 470 s were dropped."""
    now = 0.0
    monkeypatch.setattr("soundflow.streaming.sessions.time.monotonic", lambda: now)

    async def test() -> None:
        nonlocal now
        engine = CountingEngine()
        session = LiveSession(engine, "", ListenConfig(), asyncio.get_running_loop())  # type: ignore[arg-type]
        reports: list[Event] = []
        monkeypatch.setattr(session, "put", reports.append)
        for number in range(126_250):  # chunks of 0.4 s
            now = 0.4 * number / 1.01
            session.push(bytes(12_800))
        assert engine.pushed + engine.skipped == 126_250
        assert 0.4 * engine.skipped == pytest.approx(470, abs=1)
        assert {type(event) for event in reports} == {AudioDropped} and len(reports) == engine.skipped
        assert all(isinstance(event, AudioDropped) and event.reason == "too_fast" for event in reports)
        now += 1000  # after a pause the session is on time again
        session.push(bytes(12_800))
        assert engine.pushed + engine.skipped == 126_251 and len(reports) == engine.skipped

    run(test)


def test_audio_far_ahead_of_time_is_dropped_and_reported_with_one_event_per_message(engine: Engine) -> None:
    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as client:
            events = client.__aiter__()
            await anext(events)
            for _ in range(40):  # 80 s, of which 30 are taken
                await client.send(bytes(64_000))
            decided, dropped = [], 0
            while len(decided) + dropped < 200:
                event = await anext(events)
                if isinstance(event, AudioDropped):
                    assert event.reason == "too_fast" and event.chunks <= 5
                    dropped += event.chunks
                elif isinstance(event, ChunkSilent):
                    decided.append(event.chunk)
            assert decided[:75] == list(range(1, 76)) and 100 <= dropped <= 125
            await client.finish()

    run(test)


@pytest.mark.parametrize("victim", [0, 1])
def test_commands_return_at_once_though_a_process_reads_none(checkpoint: Path, victim: int) -> None:
    """Twenty megabytes of commands are more than any pipe holds."""
    engine = Engine(checkpoint, sessions=1, stall_seconds=PATIENCE)
    engine.start()
    os.kill(engine.processes[victim], signal.SIGSTOP)

    def flood() -> None:
        for _ in range(5000):
            engine.end(engine.open("x" * 4000, ListenConfig(), lambda event: None))

    try:
        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        flooding.join(60)
        assert not flooding.is_alive()
    finally:
        os.kill(engine.processes[victim], signal.SIGKILL)
        engine.close()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_hangs_is_replaced_health_says_so_and_clients_are_told_why(engine: Engine, victim: int) -> None:
    name = ("encoder", "decoder")[victim]
    engine._patience = STALL
    seen: list[int] = []

    async def watch(url: str) -> None:
        while True:
            seen.append((await get(f"{url}/healthz"))[0])
            await asyncio.sleep(0.05)

    async def test() -> None:
        async with serving(engine) as url, Client.connect(url) as client:
            events = client.__aiter__()
            assert isinstance(await anext(events), SessionCreated)
            watching = asyncio.create_task(watch(url))
            os.kill(engine.processes[victim], signal.SIGSTOP)
            await client.send(noise(0.8))
            while not isinstance(event := await anext(events), ErrorEvent):
                assert isinstance(event, ChunkSilent)  # decided before the process stopped
            assert event.error.code == "engine_stalled" and f"the {name} process did not respond" in event.error.message
            restarted = await anext(events)
            assert isinstance(restarted, Restarted) and restarted.died == (name,)
            await client.send(noise(0.4))
            assert isinstance(await anext(events), ChunkSilent)
            while seen[-1] != 200:
                await asyncio.sleep(0.05)
            watching.cancel()
            assert 503 in seen and engine.ready and engine._patience == 2 * STALL
            await client.finish()

    run(test)


def test_a_process_that_hangs_without_any_session_is_replaced(engine: Engine) -> None:
    engine._patience, before = STALL, engine.restarts
    os.kill(engine.processes[1], signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE
    while engine.restarts == before or not engine.ready:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_machine_that_slept_replaces_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine._patience, before = STALL, engine.restarts
    real, pair = time.monotonic, engine._pair
    assert pair is not None
    monkeypatch.setattr("soundflow.streaming.pair.time", SimpleNamespace(monotonic=lambda: real() + 1000))
    while pair._looked < real() + 500:
        time.sleep(0.05)
    time.sleep(1.0)  # some more looks
    assert engine.restarts == before and engine._pair is pair


def test_a_flood_of_commands_does_not_keep_a_process_from_its_sessions() -> None:
    from soundflow.streaming.workers import COMMANDS_PER_TURN, CloseSession, _received

    endless = SimpleNamespace(poll=lambda: True, recv=lambda: CloseSession(0))
    assert len(list(_received(endless))) == COMMANDS_PER_TURN  # type: ignore[arg-type]
