"""A deterministic virtual clock: what each way of scheduling encoder and decoder does to a stream, from their costs alone.

Times are seconds from the start of the stream. Chunk k (from 1) arrives whole at k c. A reply is opened by the trigger's chunk:
its control token is read where the chunk's features end, its text tokens and `<eos>` cost one decoder step each. Two
processes have a core each; where a way of scheduling has only one loop, its work adds up.

The ways (`MODES`): ours (Algorithm 4 with a control slot per drained chunk), literal Algorithm 4 (one control token per drain;
the same times, other decisions), lockstep, tick-barrier, pop-one-per-step, and the authors' released server.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from schemas import constants as c

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
        arrivals = [_arrival(number) for number in range(1, self.script.chunks + 1)]
        late = [start - arrival > LATE for start, arrival in zip(self.encode_start, arrivals, strict=True)]
        waits = [known - arrival for known, arrival in zip(self.control, arrivals, strict=True) if known == known]
        fcl = _median([reply.first_token - _arrival(reply.trigger) for reply in self.replies])
        return {
            "fcl_ms": 1000 * fcl,
            "fcl_start_ms": 1000 * (fcl + c.CHUNK_SECONDS),
            "resume_ms": 1000 * _median([reply.resumed - reply.eos for reply in self.replies if reply.resumed == reply.resumed]),
            "control_ms": 1000 * _median(waits),
            "stall_pct": 100 * statistics.fmean(late),
            "dropped_s": self.dropped * c.CHUNK_SECONDS,
            "encoder_calls_per_chunk": self.encoder_calls / self.script.chunks,
        }


def _arrival(chunk: int) -> float:
    return chunk * c.CHUNK_SECONDS


def _arrived(time: float) -> int:
    """Chunks that are whole at `time`."""
    return int(time / c.CHUNK_SECONDS + 1e-9)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


class _Decoder:
    """Keeps the time of whoever decodes, and notes what it says."""

    def __init__(self, run: Run, costs: Costs):
        self.run, self.costs, self.time = run, costs, 0.0

    def hear(self, first: int, last: int, seconds: float) -> int:
        """Work of `seconds` at whose end the control tokens of chunks first…last are known; the reply's length, 0 = silent."""
        self.time += seconds
        self.run.control.extend([self.time] * (last - first + 1))
        for reply in self.run.replies:
            if reply.resumed != reply.resumed and (last >= _arrived(reply.eos) or last == self.run.script.chunks):
                reply.resumed = self.time
        triggers = [number for number in range(first, last + 1) if self.run.script.replies.get(number)]
        if not triggers:
            return 0
        self.run.replies.append(Reply(triggers[0], self.time + self.costs.token, float("nan")))
        return max(self.run.script.replies[number] for number in triggers)

    def say(self, tokens: int) -> None:
        """`tokens` text tokens and `<eos>`."""
        self.time += (tokens + 1) * self.costs.token
        self.run.replies[-1].eos = self.time


def _encoded(run: Run, costs: Costs) -> list[float]:
    """An encoder process of its own: when each chunk's features are there."""
    ready, free = [], 0.0
    for number in range(1, run.script.chunks + 1):
        start = max(_arrival(number), free)
        free = start + costs.encode
        run.encode_start.append(start)
        run.encoder_calls += 1
        ready.append(free)
    return ready


def fifo(script: Script, costs: Costs, *, at_most: int | None = None) -> Run:
    """Algorithm 4: drain the queue whole at an interruption point (`at_most`: that many chunks), never in mid-response."""
    run = Run(script)
    ready, decoder, taken = _encoded(run, costs), _Decoder(run, costs), 0
    while taken < script.chunks:
        decoder.time = max(decoder.time, ready[taken])
        queued = sum(time <= decoder.time for time in ready[taken:])
        count = queued if at_most is None else min(queued, at_most)
        tokens = decoder.hear(taken + 1, taken + count, costs.drain(count))
        taken += count
        if tokens:
            decoder.say(tokens)
    return run


def lockstep(script: Script, costs: Costs) -> Run:
    """One loop: encode a chunk, decide, say it all, then look at the next chunk."""
    run = Run(script)
    decoder = _Decoder(run, costs)
    for number in range(1, script.chunks + 1):
        decoder.time = max(decoder.time, _arrival(number))
        run.encode_start.append(decoder.time)
        run.encoder_calls += 1
        tokens = decoder.hear(number, number, costs.encode + costs.drain(1))
        if tokens:
            decoder.say(tokens)
    return run


def tick_barrier(script: Script, costs: Costs) -> Run:
    """Both run once a period and wait for each other: what is encoded in one period is decoded in the next."""
    run = Run(script)
    ready, decoder, taken = _encoded(run, costs), _Decoder(run, costs), 0
    while taken < script.chunks:
        ticks = max(_arrived(max(decoder.time, ready[taken])) + 1, 1)
        decoder.time = max(decoder.time, _arrival(ticks))  # the barrier: the next tick after features and decoder are there
        count = sum(time <= decoder.time for time in ready[taken:])
        tokens = decoder.hear(taken + 1, taken + count, costs.drain(count))
        taken += count
        if tokens:
            decoder.say(tokens)
    return run


def authors(script: Script, costs: Costs) -> Run:
    """The released server: the whole window is encoded again for each chunk, audio is refused while it speaks, and the cache
    is thrown away after each reply."""
    run = Run(script)
    decoder, history = _Decoder(run, costs), 0
    for number in range(1, script.chunks + 1):
        if _arrival(number) < decoder.time and run.replies and decoder.time == run.replies[-1].eos:
            run.dropped += 1  # HTTP 409
            run.encode_start.append(float("nan"))
            run.control.append(float("nan"))
            continue
        decoder.time = max(decoder.time, _arrival(number))
        history = min(history + 1, c.WINDOW_CHUNKS)
        run.encode_start.append(decoder.time)
        run.encoder_calls += history
        tokens = decoder.hear(number, number, history * costs.encode + costs.drain(1))
        if tokens:
            decoder.say(tokens)
            history = 0
    return run


MODES: Final[Mapping[str, Callable[[Script, Costs], Run]]] = MappingProxyType(
    {
        "fifo": fifo,
        "literal": fifo,
        "lockstep": lockstep,
        "tick-barrier": tick_barrier,
        "pop-one": lambda script, costs: fifo(script, costs, at_most=1),
        "authors": authors,
    }
)


def simulate(mode: str, script: Script, costs: Costs) -> Run:
    """Run `script` under one of `MODES`; KeyError for another name."""
    return MODES[mode](script, costs)
