"""Two processes and a queue: their events are those of one loop, no session harms another, and a killed process is replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import write_sums
from soundflow.streaming.engine import Engine, EngineFull
from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    EngineEvent,
    ListenConfig,
    ResponseCreated,
    Restarted,
    TextDelta,
)
from soundflow.streaming.ring import Ring
from tests.streaming.conftest import INSTRUCTION, decisions

QUIET = ListenConfig(threshold=0.999999)
PATIENCE = 300.0
RECORD = np.dtype([("epoch", "<i8"), ("number", "<i8"), ("data", "<f4", (2,))])


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    """Shared: a test ends its sessions."""
    started = Engine(checkpoint, sessions=3)
    started.start()
    yield started
    started.close()


class Events:
    """Events of a session, and waiting for them."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self._news = threading.Condition()

    def __call__(self, event: EngineEvent) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def until(self, enough: Callable[[list[EngineEvent]], bool]) -> list[EngineEvent]:
        with self._news:
            assert self._news.wait_for(lambda: enough(self.events), PATIENCE), self.events[-3:]
            return list(self.events)

    def decided(self) -> list[int]:
        return [event.chunk for event in decisions(self.events)]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state_of(process: int) -> str:
    """`T` when it is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def noise(chunks: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((chunks, 6400)) * 1000).astype(np.int16)


def test_every_chunk_is_decided_once_and_in_order_however_fast_it_comes(engine: Engine) -> None:
    logs = [Events() for _ in range(3)]
    config = ListenConfig(threshold=0.5, longest_response=20)
    sessions = [engine.open(INSTRUCTION, config, log) for log in logs]
    with pytest.raises(EngineFull, match="all 3 sessions are in use"):
        engine.open(INSTRUCTION, QUIET, Events())
    for chunk in noise(30, seed=2):
        for session in sessions:
            assert engine.push(session, chunk)
    for log in logs:
        log.until(lambda events, log=log: len(log.decided()) == 30)
        assert log.decided() == list(range(1, 31))
        decided = decisions(log.events)
        assert all(event.latency_ms >= 0 for event in decided)
        at = 0
        while at < 30:  # a chunk that called for a response got it at its drain's end, and nothing else did
            drain = decided[at : at + decided[at].drained]
            calls = [event for event in drain if event.probability >= 0.5]
            last_type = ResponseCreated if calls else ChunkSilent
            assert [type(event) for event in drain] == [ChunkSilent] * (len(drain) - 1) + [last_type]
            if isinstance(last := drain[-1], ResponseCreated):
                assert (last.called_by, last.called_with) == (calls[0].chunk, calls[0].probability)
            at += len(drain)
    for session in sessions:
        engine.end(session)


def test_a_session_in_a_used_slot_receives_nothing_of_the_one_before(engine: Engine) -> None:
    before = engine.open(INSTRUCTION, QUIET, lambda event: None)
    for chunk in noise(20, seed=3):
        engine.push(before, chunk)
    engine.end(before)
    assert not engine.push(before, noise(1)[0])
    log = Events()
    session = engine.open(INSTRUCTION, QUIET, log)
    assert session.slot == before.slot
    engine.push(session, noise(1, seed=4)[0])
    (event,) = log.until(lambda events: len(events) >= 1)
    assert isinstance(event, ChunkSilent) and event.chunk == 1
    engine.end(session)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_reported_and_the_session_continues(engine: Engine, victim: int) -> None:
    log = Events()
    session = engine.open(INSTRUCTION, ListenConfig(threshold=1e-9, longest_response=200), log)
    engine.push(session, noise(1)[0])
    log.until(lambda events: any(isinstance(event, TextDelta) for event in events))  # within a response
    before = engine.restarts
    os.kill(engine.processes[victim], signal.SIGKILL)
    events = log.until(lambda events: any(isinstance(event, Restarted) for event in events))
    (restarted,) = [event for event in events if isinstance(event, Restarted)]
    assert ("encoder", "decoder")[victim] in restarted.died and engine.restarts == before + 1
    assert restarted.lost == 0  # the only chunk was decided
    pushed = session.number
    engine.push(session, noise(1)[0])
    log.until(lambda events: pushed + 1 in log.decided())
    engine.end(session)


def test_memory_that_is_too_short_drops_the_newest_and_says_how_many(engine: Engine) -> None:
    log = Events()
    os.kill(engine.processes[1], signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(engine.processes[1]) == "T")
        session = engine.open(INSTRUCTION, QUIET, log)
        for chunk in noise(70, seed=5):
            engine.push(session, chunk)
        wait_until(lambda: len(engine._features[session.slot]) == 60 and not len(engine._samples[session.slot]))
    finally:
        os.kill(engine.processes[1], signal.SIGCONT)
    log.until(lambda events: 60 in log.decided())
    engine.push(session, noise(1)[0])
    events = log.until(lambda events: 71 in log.decided())
    decided = log.decided()  # the chunk the encoder had in hand when the decoder woke may or may not have found room
    assert decided in ([*range(1, 61), 71], [*range(1, 61), 70, 71])
    assert sum(event.chunks for event in events if isinstance(event, AudioDropped)) == 71 - len(decided)
    engine.end(session)


def test_a_directory_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint"):
        Engine(tmp_path)


def test_a_checkpoint_that_is_not_whole_is_refused_with_the_reason(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:5000])
    write_sums(tmp_path, ("config.json", "model.safetensors"))
    with pytest.raises(InputError, match=r"the model cannot be loaded: .*Safetensor"):
        Engine(tmp_path, sessions=1).start()


def test_too_little_shared_memory_is_reported_before_anything_is_written_to_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("soundflow.streaming.engine.SHARED", tmp_path)
    monkeypatch.setattr("soundflow.streaming.engine.shutil.disk_usage", lambda path: SimpleNamespace(free=2_000_000))
    with pytest.raises(InputError, match=r"too little shared memory is free: 17 MB needed, 1 MB free.*Lower --sessions"):
        Engine(checkpoint, sessions=8)


def test_a_ring_gives_back_what_was_put_in_and_refuses_what_does_not_fit() -> None:
    ring = Ring.create(3, RECORD)
    other = Ring.attach(ring.name, 3, ring.dtype)
    try:
        for lap in range(5):
            assert [ring.push(epoch=7, number=10 * lap + k, data=k) for k in range(4)] == [True, True, True, False]
            assert len(other) == 3 and other.pop(2, 7)["number"].tolist() == [10 * lap, 10 * lap + 1]
            assert other.pop(9, 7)["data"].tolist() == [[2.0, 2.0]] and len(ring) == 0 and len(other.pop(1, 7)) == 0
    finally:
        other.close()
        ring.close(unlink=True)


def test_a_reader_that_does_not_know_a_new_session_yet_loses_nothing_of_it() -> None:
    ring = Ring.create(4, RECORD)
    try:
        for epoch, number in ((1, 10), (1, 11), (2, 20), (2, 21)):
            assert ring.push(epoch=epoch, number=number, data=0)
        assert ring.pop(1, 1)["number"].tolist() == [10]
        assert ring.pop(9, 1)["number"].tolist() == [11] and len(ring.pop(9, 1)) == 0 and len(ring) == 2
        assert ring.pop(1, 2)["number"].tolist() == [20]
        assert ring.push(epoch=3, number=30, data=0) and ring.pop(9, 3)["number"].tolist() == [30] and len(ring) == 0
    finally:
        ring.close(unlink=True)
