"""Simulate schedulers of encoder and decoder on a virtual clock, from the costs of each step alone. Deterministic.

Times are seconds from the start of the stream. Chunk k (from 1) is complete at k c. A reply opens at the chunk that triggers it:
its control token is read at the end of the chunk's features, and its text tokens and `<eos>` cost one decoder step each. Two
processes have one core each; a scheduler with a single loop adds their costs up.

The schedulers (`MODES`): `fifo` (ours: Algorithm 4 with a control token per drained chunk), `literal` (Algorithm 4 with one
control token per drain; the same times, other decisions), `lockstep`, `tick-barrier`, `pop-one`, and `authors` (their released
server).
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
"""A chunk is stalled when its encoding starts more than this many seconds after its arrival."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of each step, in seconds."""

    encode: float
    """One chunk through the audio tower."""
    extend: float
    """One forward pass of the decoder over drained features, whatever their number."""
    extend_chunk: float
    """Additional cost per drained chunk."""
    token: float
    """One autoregressive step."""

    def drain(self, chunks: int) -> float:
        """Return the cost of extending the cache by `chunks` chunks at once, control logits included."""
        return self.extend + self.extend_chunk * chunks


THREE_B: Final = Costs(encode=0.012, extend=0.010, extend_chunk=0.001, token=0.028)
"""A 3B model in bf16 on one GPU (emulated)."""
LONG: Final = 1500
"""Chunks of a virtual stream: ten minutes with three replies a minute."""


@dataclass(frozen=True, slots=True)
class Script:
    """The decisions of the model: a stream of `chunks` chunks, and the reply length in text tokens by trigger chunk."""

    chunks: int
    replies: Mapping[int, int]


@dataclass(slots=True)
class Reply:
    """Times of one reply."""

    trigger: int
    """Chunk that triggered it; the first one if its drain holds several."""
    first_token: float
    eos: float
    resumed: float = float("nan")
    """First control token after `<eos>` that covers the newest chunk complete at `eos`."""


@dataclass(slots=True)
class StreamTrace:
    """Times of a simulated stream. Lists have one entry per chunk, in order; NaN for a dropped chunk."""

    script: Script
    encode_start: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    """When the control token that covers the chunk is known."""
    replies: list[Reply] = field(default_factory=list)
    encoder_calls: int = 0
    dropped: int = 0

    def summary(self) -> dict[str, float]:
        """Return medians and totals by name.

        `fcl_ms` is the time from the END of the trigger's chunk to the first text token, `fcl_start_ms` from its START;
        `resume_ms` from `<eos>` to the next current decision; `control_ms` from the end of a chunk to its control token;
        `stall_pct` the percentage of stalled chunks; `dropped_s` seconds of dropped audio; `encoder_calls_per_chunk` a ratio.
        """
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
    """Return the time at which a chunk is complete."""
    return chunk * c.CHUNK_SECONDS


def _arrived(time: float) -> int:
    """Return the number of chunks complete at `time`."""
    return int(time / c.CHUNK_SECONDS + 1e-9)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


class Stage(Protocol):
    """What a scheduler drives: a clock, an encoder and a decoder. Virtual here; `bench.speed.fifo` has one on a real clock."""

    trace: StreamTrace

    def now(self) -> float:
        """Return the seconds since the stream began."""
        ...

    def wait(self, until: float) -> None:
        """Wait until a time; returns at once if it has passed."""
        ...

    def start_encoder(self) -> None:
        """Start a separate process that encodes each chunk on arrival."""
        ...

    def await_features(self, chunk: int) -> int:
        """Wait until that process has encoded `chunk`; return the newest chunk it has encoded."""
        ...

    def encode(self, chunk: int, calls: int) -> None:
        """Encode `chunk` in the decoder's loop, at the cost of `calls` chunks."""
        ...

    def extend(self, first: int, last: int) -> None:
        """Extend the cache by the features of chunks `first`...`last`; their control tokens are known afterwards."""
        ...

    def generate(self, tokens: int, on_first_token: Callable[[], None]) -> None:
        """Generate `tokens` text tokens and `<eos>`; call `on_first_token` after the first token."""
        ...


class VirtualStage:
    """A stage whose time is the sum of costs."""

    def __init__(self, script: Script, costs: Costs):
        self.trace, self.costs = StreamTrace(script), costs
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
        for number in range(1, self.trace.script.chunks + 1):
            start = max(arrival(number), free)
            free = start + self.costs.encode
            self.trace.encode_start.append(start)
            self.trace.encoder_calls += 1
            self._ready.append(free)

    def await_features(self, chunk: int) -> int:
        """See `Stage`."""
        self.wait(self._ready[chunk - 1])
        return bisect_right(self._ready, self._time)

    def encode(self, chunk: int, calls: int) -> None:
        """See `Stage`."""
        self.trace.encode_start.append(self._time)
        self.trace.encoder_calls += calls
        self._time += calls * self.costs.encode

    def extend(self, first: int, last: int) -> None:
        """See `Stage`."""
        self._time += self.costs.drain(last - first + 1)

    def generate(self, tokens: int, on_first_token: Callable[[], None]) -> None:
        """See `Stage`."""
        self._time += self.costs.token
        on_first_token()
        self._time += tokens * self.costs.token


def process(stage: Stage, first: int, last: int) -> bool:
    """Extend the cache by chunks `first`...`last` and reply if one of them is a trigger; return whether one is."""
    stage.extend(first, last)
    trace, now = stage.trace, stage.now()
    trace.control.extend([now] * (last - first + 1))
    for reply in trace.replies:
        if reply.resumed != reply.resumed and (last >= _arrived(reply.eos) or last == trace.script.chunks):
            reply.resumed = now
    triggers = [number for number in range(first, last + 1) if trace.script.replies.get(number)]
    if not triggers:
        return False
    reply = Reply(triggers[0], float("nan"), float("nan"))
    trace.replies.append(reply)

    def on_first_token() -> None:
        reply.first_token = stage.now()

    stage.generate(max(trace.script.replies[number] for number in triggers), on_first_token)
    reply.eos = stage.now()
    return True


def fifo(stage: Stage, at_most: int | None = None) -> None:
    """Run Algorithm 4: drain the whole queue (at most `at_most` chunks) at an interruption point, never within a response."""
    stage.start_encoder()
    taken = 0
    while taken < stage.trace.script.chunks:
        newest = stage.await_features(taken + 1)
        last = newest if at_most is None else min(newest, taken + at_most)
        process(stage, taken + 1, last)
        taken = last


def lockstep(stage: Stage) -> None:
    """Run one loop: encode a chunk, decide, finish the reply, then take the next chunk."""
    for number in range(1, stage.trace.script.chunks + 1):
        stage.wait(arrival(number))
        stage.encode(number, 1)
        process(stage, number, number)


def tick_barrier(stage: Stage) -> None:
    """Run encoder and decoder once per period with a barrier: what one period encodes, the next one decodes."""
    stage.start_encoder()
    taken = 0
    while taken < stage.trace.script.chunks:
        stage.await_features(taken + 1)
        stage.wait(arrival(_arrived(stage.now()) + 1))
        last = stage.await_features(taken + 1)
        process(stage, taken + 1, last)
        taken = last


def authors(stage: Stage) -> None:
    """Run the authors' released server.

    It encodes the whole window again for each chunk, refuses audio while it replies, and discards the cache after each reply.
    """
    history, busy_until, trace = 0, 0.0, stage.trace
    for number in range(1, trace.script.chunks + 1):
        stage.wait(arrival(number))
        if arrival(number) < busy_until:  # HTTP 409
            trace.dropped += 1
            trace.encode_start.append(float("nan"))
            trace.control.append(float("nan"))
            continue
        history = min(history + 1, c.WINDOW_CHUNKS)
        stage.encode(number, history)
        if process(stage, number, number):
            history, busy_until = 0, stage.now()


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


def simulate(mode: str, script: Script, costs: Costs) -> StreamTrace:
    """Run `script` under the scheduler `mode` (one of `MODES`) on the virtual clock. Raises KeyError for another name."""
    stage = VirtualStage(script, costs)
    MODES[mode](stage)
    return stage.trace
