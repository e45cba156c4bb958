"""The data loader: micro-batches in a seeded order that any process can resume at any position by seeking.

Shards are shuffled per epoch and read in groups. The windows of a group are shuffled, sorted by length within pools and cut into
units of one micro-batch per process. Left-over windows join the next group and are part of the position, so that resuming reads
the tokens of one group only. Every window occurs once per epoch, for any number of processes.
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
from soundflow.training.sequences import Example, Turns, Window, draw_drains, encode_window, rechunk, windows
from soundflow.training.workers import end_with_parent

SHARDS_AT_ONCE: Final = 16
"""Shards per group, whose windows are mixed: a trade-off between locality and mixing."""
POOL_UNITS: Final = 16
"""Units per pool; the windows of a pool are sorted by length together."""
PREFETCH: Final = 3
"""Micro-batches prepared ahead per worker."""


class Position(Schema):
    """The next unit of an epoch, and the windows left over for its group."""

    epoch: int = Field(0, ge=0)
    group: int = Field(0, ge=0)
    unit: int = Field(0, ge=0)
    carried: tuple[tuple[int, int, int], ...] = ()
    """Left-over windows (shard, index, number), placed before those of the group."""


Place = tuple[int, int, int]
"""A window: (shard, index in the shard, number in the stream)."""


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """Everything that determines the order and the samples."""

    seed: int
    micro_batch: int
    window_chunks: int
    streaming: StreamingConfig
    drain: DrainConfig | None = None
    packing: bool = False
    processes: int = 1
    rank: int = 0
    workers: int = 0
    """Worker processes that prepare batches; 0 uses a thread."""


class BatchBuilder:
    """Builds micro-batches of windows. Each worker has one."""

    def __init__(self, source: StreamSource, config: LoaderConfig):
        self.source, self.config = source, config
        self.vocabulary = Vocabulary.of(config.streaming)

    def turns(self, shard: int, index: int) -> Turns:
        """Return the turns of a stream at the model's chunk size. Raises InputError for another token layout than the model's."""
        turns = self.source.turns(shard, index)
        if turns.layout != self.vocabulary.layout.id:
            why = f"the stream has another token layout than the model, {self.vocabulary.layout.id}"
            remedy = "Build the corpus with this layout (output.token_layout), or train another model"
            raise InputError(why, field=self.source.name(shard, index), value=turns.layout, remedy=remedy)
        if self.config.streaming.slots == self.vocabulary.layout.slots:
            return turns
        plan = self.source.plan(shard, index)
        evidence = [response.pieces[-1].evidence for response in plan.responses]
        return rechunk(turns, evidence, plan.samples, self.config.streaming.chunk_samples)

    def windows(self, shard: int, index: int) -> list[Window]:
        """Return the windows of a stream."""
        return windows(self.turns(shard, index), self.config.window_chunks, self.config.streaming.slots)

    def example(self, place: Place, epoch: int) -> tuple[Example, Mel]:
        """Return one window: inputs and labels, and log-mel chunks (T, 128, frames) whose front end saw the preceding audio."""
        shard, index, number = place
        turns = self.turns(shard, index)
        window = windows(turns, self.config.window_chunks, self.config.streaming.slots)[number]
        drained: tuple[tuple[int, int], ...] = ()
        if self.config.drain is not None:
            rng = rng_for(f"{self.source.id}/{self.config.seed}", shard, index, f"drain/{number}", epoch)
            drained = draw_drains(turns.responses[window.first : window.last + 1], self.config.drain, rng)
        example = encode_window(turns, window, self.vocabulary, self.config.streaming.slots, drained)
        return example, self.mel(shard, index, window)

    def mel(self, shard: int, index: int, window: Window) -> Mel:
        """Return the log-mel chunks (T, 128, frames) of a window."""
        size = self.config.streaming.chunk_samples
        start, stop = window.first * size, (window.last + 1) * size
        front_end = CausalLogMel(self.source.audio(shard, index, start - LEFT, start) if start else None)
        return chunked(front_end.push(self.source.audio(shard, index, start, stop)), size // HOP)

    def batch(self, places: Sequence[Place], epoch: int) -> Batch | None:
        """Return a micro-batch; None without places, as in the last unit of an epoch."""
        examples = [self.example(place, epoch) for place in places]
        if not examples:
            return None
        return pack(examples) if self.config.packing else pad(examples)


class Loader:
    """Iterates endlessly over the micro-batches of one process, each with the position after it."""

    def __init__(self, source: StreamSource, config: LoaderConfig, position: Position | None = None):
        self.source, self.config = source, config
        self.position = position or Position()
        self.builder = BatchBuilder(source, config)

    def units(self) -> Iterator[tuple[list[Place], int, Position]]:
        """Yield (places of this process, epoch, position after them), starting at the loader's position."""
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
        """Yield micro-batches, prepared ahead in workers; None where the last unit of an epoch has none for this process."""
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
        """Return the units of a group in order, and the windows left over for the next group."""
        lengths = {place: tokens for shard in shards for place, tokens in self._windows(shard).items()}
        fresh = [list(lengths)[number] for number in self._rng(at.epoch, at.group, "windows").permutation(len(lengths))]
        places = [*at.carried, *fresh]
        for shard, index, number in at.carried:
            lengths[shard, index, number] = self.builder.windows(shard, index)[number].tokens
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
            for number, window in enumerate(self.builder.windows(shard, index))
        }

    def _rng(self, epoch: int, group: int, purpose: str) -> np.random.Generator:
        return rng_for(f"{self.source.id}/{self.config.seed}", epoch, group, purpose)


_worker = threading.local()
"""The `BatchBuilder` of this thread, the only one of its worker."""


def _begin(source: StreamSource, config: LoaderConfig) -> None:
    _worker.builder = BatchBuilder(source, config)


def _begin_process(source: StreamSource, config: LoaderConfig) -> None:
    end_with_parent()
    _begin(source, config)


def _batch(places: Sequence[Place], epoch: int) -> Batch | None:
    builder: BatchBuilder = _worker.builder
    return builder.batch(places, epoch)
