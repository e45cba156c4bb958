"""Steps in a seeded order that any process can take up at any point, by seeking.

Shards are shuffled per epoch and taken some at a time; the windows of such a group are shuffled, sorted by length within pools,
and cut into units of one micro-batch for every process. What is left over joins the next group, and is named in the position, so
that resuming reads one group's tokens and nothing before it. Every window comes once per epoch, for any number of processes.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import Field

from soundflow.model.frontend import HOP, LEFT, CausalLogMel, Mel, chunked
from soundflow.model.vocabulary import StreamingConfig, Vocabulary
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.identity import rng_for
from soundflow.training.batches import Batch, pack, pad
from soundflow.training.config import DrainConfig
from soundflow.training.corpus import StreamSource
from soundflow.training.sequences import Example, Turns, Window, at_chunk_size, draw_drains, spell, windows
from soundflow.training.workers import end_with_parent

SHARDS_AT_ONCE: Final = 16
"""Shards whose windows are mixed: locality against mixing."""
POOL_UNITS: Final = 16
"""Units whose windows are sorted by length together."""
PREFETCH: Final = 3
"""Micro-batches made ahead per worker."""


class Position(Schema):
    """The next unit of an epoch, and what earlier groups left over for its group."""

    epoch: int = Field(0, ge=0)
    group: int = Field(0, ge=0)
    unit: int = Field(0, ge=0)
    carried: tuple[tuple[int, int, int], ...] = ()
    """Windows (shard, index, number) put in front of those of the group."""


Place = tuple[int, int, int]
"""(shard, index in shard, window of the stream)"""


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """What shapes the order and the samples."""

    seed: int
    micro_batch: int
    window_chunks: int
    streaming: StreamingConfig
    drain: DrainConfig | None = None
    packing: bool = False
    processes: int = 1
    rank: int = 0
    workers: int = 0
    """Processes that make batches ahead; 0 makes them in a thread."""


class BatchBuilder:
    """Makes micro-batches from places. One per worker."""

    def __init__(self, source: StreamSource, config: LoaderConfig):
        self.source, self.config = source, config
        self.vocabulary = Vocabulary.of(config.streaming)

    def turns(self, shard: int, index: int) -> Turns:
        """A stream's turns at the model's chunk size; InputError when it has another token layout than the model."""
        turns = self.source.turns(shard, index)
        if turns.layout != self.vocabulary.layout.id:
            why = f"the model reads layout {self.vocabulary.layout.id}"
            remedy = "Build the corpus with output.token_layout of the model, or train another model"
            raise InputError(why, field=self.source.name(shard, index), value=turns.layout, remedy=remedy)
        if self.config.streaming.slots == self.vocabulary.layout.slots:
            return turns
        plan = self.source.plan(shard, index)
        evidence = [response.pieces[-1].evidence for response in plan.responses]
        return at_chunk_size(turns, evidence, plan.samples, self.config.streaming.chunk_samples)

    def windows(self, shard: int, index: int) -> list[Window]:
        """The windows of a stream."""
        return windows(self.turns(shard, index), self.config.window_chunks, self.config.streaming.slots)

    def example(self, place: Place, epoch: int) -> tuple[Example, Mel]:
        """One window: rows, labels and chunks (T, 128, frames), each heard with what came before it in the stream."""
        shard, index, number = place
        turns = self.turns(shard, index)
        window = windows(turns, self.config.window_chunks, self.config.streaming.slots)[number]
        drained: tuple[tuple[int, int], ...] = ()
        if self.config.drain is not None:
            rng = rng_for(f"{self.source.id}/{self.config.seed}", shard, index, f"drain/{number}", epoch)
            drained = draw_drains(turns.said[window.first : window.last + 1], self.config.drain, rng)
        example = spell(turns, window, self.vocabulary, self.config.streaming.slots, drained)
        return example, self.mel(shard, index, window)

    def mel(self, shard: int, index: int, window: Window) -> Mel:
        """Chunks (T, 128, frames) of a window."""
        size = self.config.streaming.chunk_samples
        start, stop = window.first * size, (window.last + 1) * size
        front_end = CausalLogMel(self.source.audio(shard, index, start - LEFT, start) if start else None)
        return chunked(front_end.push(self.source.audio(shard, index, start, stop)), size // HOP)

    def batch(self, places: Sequence[Place], epoch: int) -> Batch | None:
        """A micro-batch; None when there is nothing for this process (the last unit of an epoch)."""
        examples = [self.example(place, epoch) for place in places]
        if not examples:
            return None
        return pack(examples) if self.config.packing else pad(examples)


class Loader:
    """An endless series of micro-batches for one process, each with the position after it."""

    def __init__(self, source: StreamSource, config: LoaderConfig, position: Position | None = None):
        self.source, self.config = source, config
        self.position = position or Position()
        self.maker = BatchBuilder(source, config)

    def units(self) -> Iterator[tuple[list[Place], int, Position]]:
        """(places of this process, epoch, position after them), from the loader's position on and for ever."""
        at = self.position
        while True:
            groups = self._groups(at.epoch)
            if at.group >= len(groups):
                at = Position(epoch=at.epoch + 1)
                continue
            units, left = self._cut(at, groups[at.group], final=at.group == len(groups) - 1)
            finished = Position(epoch=at.epoch, group=at.group + 1, carried=tuple(left))
            for number in range(at.unit, len(units)):
                after = finished if number == len(units) - 1 else at.model_copy(update={"unit": number + 1})
                yield units[number][self.config.rank :: self.config.processes], at.epoch, after
            at = finished

    def __iter__(self) -> Generator[tuple[Batch | None, Position]]:
        """Micro-batches made ahead, in order; None where the last unit of an epoch has nothing for this process."""
        workers = self.config.workers
        ahead: deque[tuple[Future[Batch | None], Position]] = deque()
        with self._executor() as executor:
            try:
                for places, epoch, after in self.units():
                    ahead.append((executor.submit(_batch, places, epoch), after))
                    if len(ahead) > PREFETCH * max(workers, 1):
                        future, position = ahead.popleft()
                        yield future.result(), position
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def _executor(self) -> Executor:
        if not self.config.workers:
            return ThreadPoolExecutor(1, initializer=_begin, initargs=(self.source, self.config))
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        return ProcessPoolExecutor(self.config.workers, context, initializer=_begin_process, initargs=(self.source, self.config))

    def _groups(self, epoch: int) -> list[list[int]]:
        order = self._rng(epoch, 0, "shards").permutation(len(self.source.shard_sizes)).tolist()
        return [order[at : at + SHARDS_AT_ONCE] for at in range(0, len(order), SHARDS_AT_ONCE)]

    def _cut(self, at: Position, shards: Sequence[int], final: bool) -> tuple[list[list[Place]], list[Place]]:
        """Units of a group in order, and what is left over for the next one."""
        lengths = {place: tokens for shard in shards for place, tokens in self._windows(shard).items()}
        fresh = [list(lengths)[number] for number in self._rng(at.epoch, at.group, "windows").permutation(len(lengths))]
        places = [*at.carried, *fresh]
        for shard, index, number in at.carried:
            lengths[shard, index, number] = self.maker.windows(shard, index)[number].tokens
        size = self.config.micro_batch * self.config.processes
        left = [] if final else places[len(places) - len(places) % size :]
        places = places[: len(places) - len(left)]
        units: list[list[Place]] = []
        for begin in range(0, len(places), POOL_UNITS * size):
            pool = sorted(places[begin : begin + POOL_UNITS * size], key=lengths.__getitem__)
            units += [pool[cut : cut + size] for cut in range(0, len(pool), size)]
        return [units[number] for number in self._rng(at.epoch, at.group, "units").permutation(len(units))], left

    def _windows(self, shard: int) -> dict[Place, int]:
        return {
            (shard, index, number): window.tokens
            for index in range(self.source.shard_sizes[shard])
            for number, window in enumerate(self.maker.windows(shard, index))
        }

    def _rng(self, epoch: int, group: int, purpose: str) -> np.random.Generator:
        return rng_for(f"{self.source.id}/{self.config.seed}", epoch, group, purpose)


_maker = threading.local()
"""The maker of this thread, which is the only one of its worker."""


def _begin(source: StreamSource, config: LoaderConfig) -> None:
    _maker.value = BatchBuilder(source, config)


def _begin_process(source: StreamSource, config: LoaderConfig) -> None:
    end_with_parent()
    _begin(source, config)


def _batch(places: Sequence[Place], epoch: int) -> Batch | None:
    maker: BatchBuilder = _maker.value
    return maker.batch(places, epoch)
