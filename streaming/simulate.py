"""A deterministic virtual clock: what each way of scheduling encoder and decoder does to a stream, from their costs alone.

Times are seconds from the start of the stream. Chunk k (from 1) arrives whole at k c. A reply is opened by the trigger's chunk:
its control token is read where the chunk's features end, its text tokens and `<eos>` cost one decoder step each. Two
processes have a core each; where a way of scheduling has only one loop, its work adds up.

The ways (`MODES`): ours (Algorithm 4 with a control slot per drained chunk), literal Algorithm 4 (one control token per drain;
the same times, other decisions), lockstep, tick-barrier, pop-one-per-step, and the authors' released server.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from soundflow.schemas import constants as c

LATE: Final = 0.020
"""A chunk whose encoding starts later than this after its arrival, because the decoder held the loop, is stalled."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of work."""

    encode: float
    """One chunk through the audio tower."""
    extend: float
    """One forward pass of the decoder over drained features, whatever their number …"""
    extend_chunk: float
    """… and what each chunk in it adds."""
    token: float
    """One autoregressive step."""

    def drain(self, chunks: int) -> float:
        """Extending the cache by `chunks` chunks at once; the control logits come with it."""
        return self.extend + self.extend_chunk * chunks


THREE_B: Final = Costs(encode=0.012, extend=0.010, extend_chunk=0.001, token=0.028)
"""Seconds of a 3B model in bf16 on one GPU, emulated."""
LONG: Final = 1500
"""Chunks of a virtual stream: ten minutes with three replies a minute."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the model would do: a stream of `chunks` chunks, and reply length (text tokens) by trigger chunk."""

    chunks: int
    replies: Mapping[int, int]


@dataclass(slots=True)
class Reply:
    """One reply."""

    trigger: int
    """The chunk that called for it (of several in one drain the first)."""
    first_token: float
    eos: float
    resumed: float = float("nan")
    """First control token after `<eos>` that covers the newest chunk arrived by then."""


@dataclass(slots=True)
class Run:
    """What happened. Lists have one entry a chunk, in order; NaN for a chunk that was dropped."""

    script: Script
    encode_start: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    """When the control token that covers the chunk was known."""
    replies: list[Reply] = field(default_factory=list)
    encoder_calls: int = 0
    dropped: int = 0

    def summary(self) -> dict[str, float]:
        """fcl_ms (trigger's chunk END to first text token), fcl_start_ms (from its START), resume_ms, stall_pct, dropped_s,
        encoder_calls_per_chunk, control_ms (chunk END to its control token, while nothing is said)."""
        arrivals = [arrival(number) for number in range(1, self.script.chunks + 1)]
        late = [start - arrival > LATE for start, arrival in zip(self.encode_start, arrivals, strict=True)]
        waits = [known - arrival for known, arrival in zip(self.control, arrivals, strict=True) if known == known]
        fcl = _median([reply.first_token - arrival(reply.trigger) for reply in self.replies])
        return {
            "fcl_ms": 1000 * fcl,
            "fcl_start_ms": 1000 * (fcl + c.CHUNK_SECONDS),
            "resume_ms": 1000 * _median([reply.resumed - reply.eos for reply in self.replies if reply.resumed == reply.resumed]),
            "control_ms": 1000 * _median(waits),
            "stall_pct": 100 * statistics.fmean(late),
            "dropped_s": self.dropped * c.CHUNK_SECONDS,
            "encoder_calls_per_chunk": self.encoder_calls / self.script.chunks,
        }


def arrival(chunk: int) -> float:
    """When a chunk is whole."""
    return chunk * c.CHUNK_SECONDS


def _arrived(time: float) -> int:
    """Chunks that are whole at `time`."""
    return int(time / c.CHUNK_SECONDS + 1e-9)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


class Stage(Protocol):
    """Where a way of scheduling plays: a clock, an encoder, a decoder. Virtual here; the benchmark has one on a real clock."""

    run: Run

    def now(self) -> float:
        """Seconds since the stream began."""
        ...

    def wait(self, until: float) -> None:
        """Let time pass."""
        ...

    def start_encoder(self) -> None:
        """Let a process of its own encode each chunk as it arrives."""
        ...

    def await_features(self, chunk: int) -> int:
        """Wait until that process has encoded `chunk`; the newest it has encoded by then."""
        ...

    def encode(self, chunk: int, calls: int) -> None:
        """Encode `chunk` in the decoder's own loop: `calls` chunks' worth of work."""
        ...

    def extend(self, first: int, last: int) -> None:
        """Read the features of chunks first … last; their control tokens are known afterwards."""
        ...

    def say(self, tokens: int, first_said: Callable[[], None]) -> None:
        """`tokens` text tokens and `<eos>`; calls `first_said` after the first token."""
        ...


class VirtualStage:
    """Time is a sum of costs."""

    def __init__(self, script: Script, costs: Costs):
        self.run, self.costs = Run(script), costs
        self._time = 0.0
        self._ready: list[float] = []

    def now(self) -> float:
        """See `Stage`."""
        return self._time

    def wait(self, until: float) -> None:
        """See `Stage`."""
        self._time = max(self._time, until)

    def start_encoder(self) -> None:
        """See `Stage`."""
        free = 0.0
        for number in range(1, self.run.script.chunks + 1):
            start = max(arrival(number), free)
            free = start + self.costs.encode
            self.run.encode_start.append(start)
            self.run.encoder_calls += 1
            self._ready.append(free)

    def await_features(self, chunk: int) -> int:
        """See `Stage`."""
        self.wait(self._ready[chunk - 1])
        return bisect_right(self._ready, self._time)

    def encode(self, chunk: int, calls: int) -> None:
        """See `Stage`."""
        self.run.encode_start.append(self._time)
        self.run.encoder_calls += calls
        self._time += calls * self.costs.encode

    def extend(self, first: int, last: int) -> None:
        """See `Stage`."""
        self._time += self.costs.drain(last - first + 1)

    def say(self, tokens: int, first_said: Callable[[], None]) -> None:
        """See `Stage`."""
        self._time += self.costs.token
        first_said()
        self._time += tokens * self.costs.token


def hear(stage: Stage, first: int, last: int) -> bool:
    """Extend by chunks first … last and, when one of them calls for it, reply; whether it did."""
    stage.extend(first, last)
    run, now = stage.run, stage.now()
    run.control.extend([now] * (last - first + 1))
    for reply in run.replies:
        if reply.resumed != reply.resumed and (last >= _arrived(reply.eos) or last == run.script.chunks):
            reply.resumed = now
    triggers = [number for number in range(first, last + 1) if run.script.replies.get(number)]
    if not triggers:
        return False
    reply = Reply(triggers[0], float("nan"), float("nan"))
    run.replies.append(reply)

    def first_said() -> None:
        reply.first_token = stage.now()

    stage.say(max(run.script.replies[number] for number in triggers), first_said)
    reply.eos = stage.now()
    return True


def fifo(stage: Stage, at_most: int | None = None) -> None:
    """Algorithm 4: drain the queue whole at an interruption point (`at_most`: that many chunks), never in mid-response."""
    stage.start_encoder()
    taken = 0
    while taken < stage.run.script.chunks:
        newest = stage.await_features(taken + 1)
        last = newest if at_most is None else min(newest, taken + at_most)
        hear(stage, taken + 1, last)
        taken = last


def lockstep(stage: Stage) -> None:
    """One loop: encode a chunk, decide, say it all, then look at the next chunk."""
    for number in range(1, stage.run.script.chunks + 1):
        stage.wait(arrival(number))
        stage.encode(number, 1)
        hear(stage, number, number)


def tick_barrier(stage: Stage) -> None:
    """Both run once a period and wait for each other: what is encoded in one period is decoded in the next."""
    stage.start_encoder()
    taken = 0
    while taken < stage.run.script.chunks:
        stage.await_features(taken + 1)
        stage.wait(arrival(_arrived(stage.now()) + 1))
        last = stage.await_features(taken + 1)
        hear(stage, taken + 1, last)
        taken = last


def authors(stage: Stage) -> None:
    """The released server: the whole window is encoded again for each chunk, audio is refused while it speaks, and the cache
    is thrown away after each reply."""
    history, deaf_until, run = 0, 0.0, stage.run
    for number in range(1, run.script.chunks + 1):
        stage.wait(arrival(number))
        if arrival(number) < deaf_until:  # HTTP 409
            run.dropped += 1
            run.encode_start.append(float("nan"))
            run.control.append(float("nan"))
            continue
        history = min(history + 1, c.WINDOW_CHUNKS)
        stage.encode(number, history)
        if hear(stage, number, number):
            history, deaf_until = 0, stage.now()


MODES: Final[Mapping[str, Callable[[Stage], None]]] = MappingProxyType(
    {
        "fifo": fifo,
        "literal": fifo,
        "lockstep": lockstep,
        "tick-barrier": tick_barrier,
        "pop-one": lambda stage: fifo(stage, at_most=1),
        "authors": authors,
    }
)


def simulate(mode: str, script: Script, costs: Costs) -> Run:
    """Run `script` under one of `MODES` on the virtual clock; KeyError for another name."""
    stage = VirtualStage(script, costs)
    MODES[mode](stage)
    return stage.run
