"""Curation on Ray: one named async actor per build, so that rate limits and budget hold. It works ahead of the renderers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.build.curator import Curator, curating, scenes_or_failure
from soundflow.pipeline.build.executors import Watcher
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.pipeline.mechanics.ray_worker import ActorPlace, LoadFailure, Nodes, current_place, end_hung
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import Halted

ATTEMPTS: Final = 3
"""Curators that may die while working on a shard before the shard counts as failed."""
SHARDS_AT_ONCE: Final = 4
"""Shards curated concurrently: while the last scenes of one shard are finished, those of the next are started."""
PING_SECONDS, SILENT_SECONDS = 30.0, 600.0
"""Interval at which the curator is asked for a sign of life, and how long it may take to give one. Its calls have time limits of
their own, and a rate limit may make them wait for hours, so the time that a shard takes tells nothing."""


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=SHARDS_AT_ONCE + 1)
class _CuratorActor:
    """Commits scene sheets. It mostly waits for the model, so it reserves no core. Dies with the driver."""

    def __init__(self, job: Job):
        self._job = job
        self._stack = contextlib.AsyncExitStack()
        self._curator: Curator | None = None
        self._opening = asyncio.Lock()

    async def _opened(self) -> Curator:
        async with self._opening:
            if self._curator is None:
                self._curator = await self._stack.enter_async_context(curating(self._job))
        return self._curator

    async def place(self) -> ActorPlace:
        """Return where this actor runs, as a sign of life."""
        return current_place()

    async def curate(self, shard: int) -> ShardResult | Halted | InputError | LoadFailure | None:
        """Commit the scenes of a shard and return None, or return why it has none."""
        try:
            curator = await self._opened()
        except Halted as error:
            return error
        except Exception as error:  # of this node, such as a missing clip index
            return LoadFailure.of(error)
        try:
            return await asyncio.create_task(scenes_or_failure(curator, shard))
        except (Halted, InputError) as error:
            return error


class CurationQueue:
    """The driver's side: a queue from pending shards to shards with committed scenes, at most `ahead` of the renderers."""

    def __init__(self, job: Job, shards: Sequence[int], watcher: Watcher, ahead: int, nodes: Nodes):
        self.job, self.watcher, self.ahead, self.nodes = job, watcher, ahead, nodes
        self._waiting = deque((shard, 1) for shard in shards)
        self._busy: dict[Any, tuple[Any, int, int]] = {}  # reference → (actor, shard, attempt)
        self._replaced: list[Any] = []
        self._started = 0
        self._sizes = job.recipe.shard_sizes()
        self._actor = self._start()

    def _start(self) -> Any:
        out = hashlib.sha256(os.fsencode(self.job.out)).hexdigest()[:12]
        self._started += 1
        name = f"soundflow-curator-{self.job.fingerprint[:12]}-{out}-{self._started}"
        self._ping, self._pinged = None, time.monotonic()
        self._place: ActorPlace | None = None  # after its first sign of life
        return _CuratorActor.options(name=name, **self.nodes.placement()).remote(self.job)  # type: ignore[attr-defined]

    @property
    def references(self) -> list[Any]:
        """The references of running curations."""
        return list(self._busy)

    @property
    def is_unfinished(self) -> bool:
        """Whether more shards will be curated."""
        return bool(self._waiting or self._busy)

    def submit(self, ready: int) -> None:
        """Submit shards, unless enough shards are curated or `ready` to render."""
        while self._waiting and len(self._busy) < SHARDS_AT_ONCE and len(self._busy) + ready < self.ahead:
            shard, attempt = self._waiting.popleft()
            self._busy[self._actor.curate.remote(shard)] = (self._actor, shard, attempt)
        self._check_alive()

    def _check_alive(self) -> None:
        """End a curator that gives no sign of life, such as one stopped by a signal. Its shards then return an error.

        The first sign has no time limit: the actor may be waiting for a node.
        """
        since = time.monotonic() - self._pinged
        if self._ping is None:
            if since > PING_SECONDS:
                self._ping, self._pinged = self._actor.place.remote(), time.monotonic()
        elif ray.wait([self._ping], timeout=0)[0]:
            self._place, self._ping = ray.get(self._ping), None
        elif self._place is not None and since > SILENT_SECONDS:
            self.watcher.warning(f"the curator hung: no sign of life for {since:.0f} s. Another one is started")
            self._pinged = time.monotonic()
            end_hung(self._actor, self._place)

    def take(self, reference: Any) -> int | ShardResult | None:
        """Return a shard to render, the result of one that failed, or None if there is neither. Raises InputError."""
        actor, shard, attempt = self._busy.pop(reference)
        try:
            outcome = ray.get(reference)
        except RayError as error:
            if actor is self._actor:  # the first of its shards to return
                ray.kill(actor)
                self._actor = self._start()
            return self._retry(shard, attempt, error)
        if isinstance(outcome, LoadFailure):
            return self._move(actor, shard, attempt, outcome)
        if isinstance(outcome, InputError):
            raise outcome
        if isinstance(outcome, Halted):
            self._waiting.clear()
            self.watcher.halted(outcome)
            return None
        if outcome is None:
            self.watcher.curated(self._sizes[shard])
        return shard if outcome is None else outcome

    def _move(self, actor: Any, shard: int, attempt: int, failure: LoadFailure) -> ShardResult | None:
        """Start the curator on another node, or return a fatal result if there is none. Raises InputError, too."""
        self.nodes.retire(failure.place, failure.why)
        if self.nodes.are_all_retired():
            if failure.error is not None:
                raise failure.error
            return ShardResult(shard, None, f"no curator can be started: {self.nodes.reasons()}", failure.traceback, fatal=True)
        if actor is self._actor:  # the first of its shards to return; the others will return the same failure
            self.watcher.warning(f"node {failure.place.host} cannot load the build and gets no further workers: {failure.why}")
            self._replaced.append(actor)
            self._actor = self._start()
        self._waiting.appendleft((shard, attempt))
        return None

    def _retry(self, shard: int, attempt: int, error: RayError) -> ShardResult | None:
        """Give a shard whose curator died to the next one, or return its failure."""
        if attempt < ATTEMPTS:
            self._waiting.appendleft((shard, attempt + 1))
            return None
        why = " ".join(str(error).split())[:500]
        return ShardResult(shard, None, f"its curator died {attempt} times, the last time with: {why}", attempts=attempt)

    def stop(self) -> None:
        """End the actors."""
        for actor in [*self._replaced, self._actor]:
            ray.kill(actor)
