"""The runtime over an hour, and many streams at once: memory stays flat, and eight sessions on two cores stay in real time.

`python -m soundflow.bench.speed.endless [--json OUT] [--runs N]`. The two processes of `streaming.engine` are the real ones;
their model is the smallest preset with random weights, told to speak now and then. An hour of audio is pushed as fast as
it is taken; resident memory of both processes is read from the system every two minutes of audio. Then eight sessions are fed in
real time, and what counts is how long a chunk waits for its decision. Then eight sessions all speak at a time, with passes they
share and, in turns with that, with a pass for each. Last, a process is killed in mid-reply, and what counts is how long the
session is deaf.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.bench.harness import measure as bench
from soundflow.schemas import constants as c
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    EngineEvent,
    ListenConfig,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    Restarted,
    TextDelta,
)

HOUR_CHUNKS: Final = 9000
SETTLED_CHUNKS: Final = 900
"""Six minutes: windows are full, allocators have grown."""
EVERY_CHUNKS: Final = 300
AHEAD: Final = 20
"""Chunks in flight."""
SESSIONS: Final = 8
SECONDS: Final = 40
CHORUS_TOKENS: Final = 150
CHORUSES: Final = 3
CONFIG: Final = ListenConfig(threshold=0.5, longest_response=12)
INSTRUCTION: Final = "Name what you hear."


def hour(engine: Engine) -> dict[str, Any]:
    """Push an hour through one session."""
    decided = threading.Semaphore(AHEAD)
    counts = {"silent": 0, "response": 0, "reanchored": 0, "dropped": 0}
    names = {ChunkSilent: "silent", ResponseCreated: "response", Reanchored: "reanchored", AudioDropped: "dropped"}

    def on_event(event: EngineEvent) -> None:
        if name := names.get(type(event)):
            counts[name] += 1
        if isinstance(event, ChunkSilent | ResponseCreated):
            decided.release()

    session = engine.open(INSTRUCTION, CONFIG, on_event)
    rng = np.random.default_rng(1)
    memory: list[int] = []
    begun = time.monotonic()
    for number in range(1, HOUR_CHUNKS + 1):
        decided.acquire()
        engine.push(session, (rng.standard_normal(c.CHUNK_SAMPLES) * 1000).astype(np.int16))
        if number >= SETTLED_CHUNKS and number % EVERY_CHUNKS == 0:
            memory.append(sum(resident(process) for process in engine.processes))
    for _ in range(AHEAD):
        decided.acquire()
    seconds = time.monotonic() - begun
    engine.end(session)
    return {"seconds": round(seconds, 1), "memory_mb": [round(value / 2**20, 1) for value in memory], **counts}


def crowd(engine: Engine) -> dict[str, float]:
    """Feed eight sessions in real time; seconds from a chunk's arrival to its decision, over all but the first five seconds."""
    waits: list[float] = []

    def on_event(event: EngineEvent) -> None:
        if isinstance(event, ChunkSilent) and event.chunk > 12:
            waits.append(event.latency_ms / 1000)

    sessions = [engine.open(INSTRUCTION, CONFIG, on_event) for _ in range(SESSIONS)]
    rng = np.random.default_rng(2)
    begun = time.monotonic()
    for number in range(1, round(SECONDS / c.CHUNK_SECONDS) + 1):
        for place, session in enumerate(sessions):
            due = begun + (number + place / SESSIONS) * c.CHUNK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
            engine.push(session, (rng.standard_normal(c.CHUNK_SAMPLES) * 1000).astype(np.int16))
    time.sleep(2 * c.CHUNK_SECONDS)
    late = [engine.waiting(session) for session in sessions]
    for session in sessions:
        engine.end(session)
    return {"median_wait": bench.quantile(waits, 0.5), "p99_wait": bench.quantile(waits, 0.99), "left": float(sum(late))}


def chorus(engine: Engine) -> tuple[float, float]:
    """Let eight sessions speak at a time: tokens a second of them all, and slowest / fastest session (1 is fair)."""
    tokens: list[list[float]] = [[] for _ in range(SESSIONS)]
    over = threading.Semaphore(0)

    def on_event(seat: int, event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            tokens[seat].append(time.monotonic())
            if len(tokens[seat]) == CHORUS_TOKENS:
                over.release()
        elif isinstance(event, ResponseDone) and len(tokens[seat]) < CHORUS_TOKENS:
            engine.push(sessions[seat], np.zeros(c.CHUNK_SAMPLES, np.int16))  # the next reply, at once

    config = ListenConfig(threshold=1e-9, longest_response=CHORUS_TOKENS)
    sessions = [engine.open(INSTRUCTION, config, partial(on_event, seat)) for seat in range(SESSIONS)]
    for session in sessions:
        engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
    for _ in range(SESSIONS):
        over.acquire()
    for session in sessions:
        engine.end(session)
    begun = max(times[0] for times in tokens)
    lasted = [times[CHORUS_TOKENS - 1] - begun for times in tokens]
    return SESSIONS * CHORUS_TOKENS / max(lasted), max(lasted) / min(lasted)


def deaf(engine: Engine, victim: int) -> float:
    """Kill the encoder (0) or the decoder (1) in mid-reply: seconds until a chunk pushed afterwards is decided."""
    responding, again = threading.Event(), threading.Event()

    def on_event(event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            responding.set()
        elif isinstance(event, Restarted):
            engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
        elif isinstance(event, ResponseCreated) and event.chunk > 1:
            again.set()

    session = engine.open(INSTRUCTION, ListenConfig(threshold=1e-9, longest_response=CHORUS_TOKENS), on_event)
    engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
    responding.wait()
    begun = time.monotonic()
    os.kill(engine.processes[victim], signal.SIGKILL)
    again.wait()
    engine.end(session)
    return time.monotonic() - begun


def resident(process: int) -> int:
    """Bytes of memory that are a process's own."""
    fields = Path(f"/proc/{process}/smaps_rollup").read_text().split()
    return sum(int(fields[fields.index(name) + 1]) * 1024 for name in ("Private_Clean:", "Private_Dirty:"))


def main(argv: Sequence[str] | None = None) -> int:
    """An hour, then a crowd; returns the exit code."""
    args = bench.parse_arguments("speed.endless", argv, runs=1)
    with tempfile.TemporaryDirectory() as folder:
        model = _checkpoint(Path(folder) / "model")
        engine, single = Engine(model, sessions=SESSIONS), Engine(model, sessions=SESSIONS, together=1)
        engine.start()
        try:
            long, many = hour(engine), crowd(engine)
            single.start()
            sung = [(chorus(engine), chorus(single)) for _ in range(CHORUSES)]
            wounds = [deaf(engine, victim) for victim in (0, 1, 0, 1)]
        finally:
            engine.close()
            single.close()
    rates = [statistics.median(pair[which][0] for pair in sung) for which in (0, 1)]
    memory = long["memory_mb"]
    middle = float(np.median(memory))
    ratios = [
        bench.Ratio("memory over an hour, largest / median", max(memory) / middle, at_most=1.05),
        bench.Ratio("memory over an hour, smallest / median", min(memory) / middle, at_least=0.95),
        bench.Ratio("an hour / the time it took", 3600 / long["seconds"], at_least=1.0),
        bench.Ratio("chunks dropped in an hour", long["dropped"], at_most=0),
        bench.Ratio("eight sessions: p99 wait for a decision / chunk", many["p99_wait"] / c.CHUNK_SECONDS, at_most=1.0),
        bench.Ratio("eight sessions: chunks left over", many["left"], at_most=0),
        bench.Ratio("eight speak: tokens a second, shared passes / one each", rates[0] / rates[1], at_least=1.5),
        bench.Ratio("a process killed in mid-reply: seconds until the session hears again", max(wounds), at_most=3.0),
        bench.Ratio("eight speak: slowest session / fastest", statistics.median(pair[0][1] for pair in sung), at_most=1.2),
    ]
    timing = {"eight sessions, median wait": many["median_wait"], "eight sessions, p99 wait": many["p99_wait"]}
    return bench.finish(
        "endless",
        ratios,
        timing,
        versions=["torch", "transformers"],
        json_path=args.json,
        notes={"hour": long, "eight speak, tokens a second (shared, one each)": [round(rate) for rate in rates]},
    )


def _checkpoint(directory: Path) -> Path:
    from soundflow.model.thinker import StreamingThinker
    from soundflow.model.vocabulary import StreamingConfig

    model = StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=tuple(range(1000))), seed=3)
    model.save(directory)
    return directory


if __name__ == "__main__":
    raise SystemExit(main())
