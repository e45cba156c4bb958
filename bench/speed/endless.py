"""Memory, latency and throughput of the runtime in long and concurrent sessions.

`python -m soundflow.bench.speed.endless [--json OUT] [--runs N]`. The two processes of `streaming.engine` are real; their model
is the smallest preset with random weights and occasional responses. Four parts:

* one hour of audio, pushed as fast as the engine accepts it: memory of both processes every two minutes of audio;
* eight sessions in real time: time from the arrival of a chunk to its decision;
* eight sessions that generate at once: tokens per second with shared decoder passes, and with one pass per session;
* a process that is killed during a response: time until the next decision.
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
"""Six minutes, after which windows are full and allocators have grown."""
EVERY_CHUNKS: Final = 300
AHEAD: Final = 20
"""Maximum number of chunks in flight."""
SESSIONS: Final = 8
SECONDS: Final = 40
RESPONSE_TOKENS: Final = 150
THROUGHPUT_RUNS: Final = 3
CONFIG: Final = ListenConfig(threshold=0.5, longest_response=12)
INSTRUCTION: Final = "Name what you hear."


def run_hour(engine: Engine) -> dict[str, Any]:
    """Push an hour of audio through one session; return seconds, memory readings in MiB and counts of events."""
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


def run_real_time(engine: Engine) -> dict[str, float]:
    """Feed eight sessions in real time; return seconds from the arrival of a chunk to its decision, after the first 12 chunks."""
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


def measure_throughput(engine: Engine) -> tuple[float, float]:
    """Generate in eight sessions at once; return tokens per second of all, and the time of the slowest session / the fastest."""
    tokens: list[list[float]] = [[] for _ in range(SESSIONS)]
    over = threading.Semaphore(0)

    def on_event(seat: int, event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            tokens[seat].append(time.monotonic())
            if len(tokens[seat]) == RESPONSE_TOKENS:
                over.release()
        elif isinstance(event, ResponseDone) and len(tokens[seat]) < RESPONSE_TOKENS:
            engine.push(sessions[seat], np.zeros(c.CHUNK_SAMPLES, np.int16))  # starts the next response at once

    config = ListenConfig(threshold=1e-9, longest_response=RESPONSE_TOKENS)
    sessions = [engine.open(INSTRUCTION, config, partial(on_event, seat)) for seat in range(SESSIONS)]
    for session in sessions:
        engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
    for _ in range(SESSIONS):
        over.acquire()
    for session in sessions:
        engine.end(session)
    begun = max(times[0] for times in tokens)
    lasted = [times[RESPONSE_TOKENS - 1] - begun for times in tokens]
    return SESSIONS * RESPONSE_TOKENS / max(lasted), max(lasted) / min(lasted)


def measure_recovery(engine: Engine, victim: int) -> float:
    """Kill the encoder (0) or the decoder (1) during a response; return the seconds until the next decision."""
    responding, again = threading.Event(), threading.Event()

    def on_event(event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            responding.set()
        elif isinstance(event, Restarted):
            engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
        elif isinstance(event, ResponseCreated) and event.chunk > 1:
            again.set()

    session = engine.open(INSTRUCTION, ListenConfig(threshold=1e-9, longest_response=RESPONSE_TOKENS), on_event)
    engine.push(session, np.zeros(c.CHUNK_SAMPLES, np.int16))
    responding.wait()
    begun = time.monotonic()
    os.kill(engine.processes[victim], signal.SIGKILL)
    again.wait()
    engine.end(session)
    return time.monotonic() - begun


def resident(process: int) -> int:
    """Return the private memory of a process in bytes."""
    fields = Path(f"/proc/{process}/smaps_rollup").read_text().split()
    return sum(int(fields[fields.index(name) + 1]) * 1024 for name in ("Private_Clean:", "Private_Dirty:"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("speed.endless", argv, runs=1)
    with tempfile.TemporaryDirectory() as folder:
        model = _checkpoint(Path(folder) / "model")
        engine, single = Engine(model, sessions=SESSIONS), Engine(model, sessions=SESSIONS, together=1)
        engine.start()
        try:
            hour, real_time = run_hour(engine), run_real_time(engine)
            single.start()
            pairs = [(measure_throughput(engine), measure_throughput(single)) for _ in range(THROUGHPUT_RUNS)]
            recoveries = [measure_recovery(engine, victim) for victim in (0, 1, 0, 1)]
        finally:
            engine.close()
            single.close()
    rates = [statistics.median(pair[which][0] for pair in pairs) for which in (0, 1)]
    memory = hour["memory_mb"]
    middle = float(np.median(memory))
    ratios = [
        bench.Ratio("memory over an hour, largest / median", max(memory) / middle, at_most=1.05),
        bench.Ratio("memory over an hour, smallest / median", min(memory) / middle, at_least=0.95),
        bench.Ratio("one hour / processing time", 3600 / hour["seconds"], at_least=1.0),
        bench.Ratio("chunks dropped in an hour", hour["dropped"], at_most=0),
        bench.Ratio("eight sessions: p99 wait for a decision / chunk", real_time["p99_wait"] / c.CHUNK_SECONDS, at_most=1.0),
        bench.Ratio("eight sessions: chunks without a decision at the end", real_time["left"], at_most=0),
        bench.Ratio("eight responses: tokens/s, shared passes / separate passes", rates[0] / rates[1], at_least=1.5),
        bench.Ratio("killed process: seconds until the next decision", max(recoveries), at_most=3.0),
        bench.Ratio("eight responses: slowest session / fastest", statistics.median(pair[0][1] for pair in pairs), at_most=1.2),
    ]
    timing = {"eight sessions, median wait": real_time["median_wait"], "eight sessions, p99 wait": real_time["p99_wait"]}
    return bench.finish(
        "endless",
        ratios,
        timing,
        versions=["torch", "transformers"],
        json_path=args.json,
        notes={"hour": hour, "eight responses, tokens/s (shared, separate passes)": [round(rate) for rate in rates]},
    )


def _checkpoint(directory: Path) -> Path:
    from soundflow.model.thinker import StreamingThinker
    from soundflow.model.vocabulary import StreamingConfig

    model = StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=tuple(range(1000))), seed=3)
    model.save(directory)
    return directory


if __name__ == "__main__":
    raise SystemExit(main())
