"""Shards as tasks on Ray actors. The driver is the only coordinator and holds nothing that is not on disk."""

from __future__ import annotations

import platform
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.build.executors import Watcher
from soundflow.pipeline.build.ray_curator import SHARDS_AT_ONCE, Curating
from soundflow.pipeline.build.ray_metrics import BuildMetrics
from soundflow.pipeline.build.worker import Job, ShardResult, Worker
from soundflow.pipeline.mechanics.ray_connection import connected
from soundflow.schemas.base import InputError

ATTEMPTS: Final = 3
"""Workers a shard may take down with it before it counts as failed."""


@ray.remote(num_cpus=1, max_restarts=0)
class _WorkerActor:
    """A worker on one core. Loads its job with its first shard; dies with the driver."""

    def __init__(self, job: Job):
        self._job = job
        self._worker: Worker | None = None
        self._metrics = BuildMetrics()

    def run(self, shard: int) -> ShardResult:
        if self._worker is None:
            try:
                self._worker = Worker(self._job)
            except Exception as error:  # this machine sees no clip index, say: no shard will fare better here
                return ShardResult(shard, None, f"on {platform.node()}: {error}", traceback.format_exc(), fatal=True)
        result = self._worker.run(shard)
        self._metrics.tell(result)
        return result


class RayExecutor:
    """A pool of actors, one core each. Every actor has one shard in hand; the rest wait in the driver.

    An actor that dies is replaced and its shard given out again, at most `ATTEMPTS` times. `workers` None = every core of
    the cluster. `address` None = a Ray of this machine alone, started quietly and stopped at the end; else a cluster, to
    which the checkout is shipped and whose machines must see clips and output under the same paths. A Ray this process is
    already connected to is used as it is.
    """

    def __init__(self, workers: int | None = None, address: str | None = None):
        self.workers, self.address = workers, address

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """See `pipeline.build.executors.Executor.run`. Raises InputError when there is no such cluster or it is too small."""
        watcher.pulse()
        with connected(self.address, self.workers) as cores:
            # Of this machine there will never be more cores; a cluster may grow, and workers that fit nowhere yet ask for it.
            if cores < 1 or (self.address is None and (self.workers or 1) > cores):
                raise InputError(
                    f"the Ray cluster has {cores} cores, {self.workers or 1} workers want one each",
                    field="--workers",
                    remedy="Ask for fewer workers or add nodes",
                )
            _run(job, shards, min(self.workers or cores, len(shards)), watcher)


class _Pool:
    """Workers of one run. A worker gets shards once it has started: one that finds no core holds nobody up, starts when a node
    joins, and tells an autoscaler meanwhile that a core is wanted."""

    def __init__(self, job: Job, workers: int):
        self.job, self.workers = job, workers
        self.starting: dict[Any, Any] = {}  # reference → actor
        self.busy: dict[Any, tuple[Any, int, int]] = {}  # reference → (actor, shard, attempt)
        self.idle: list[Any] = []
        self.lost = 0
        """Workers in a row that died before they had started."""
        for _ in range(workers):
            self._hire()

    def _hire(self) -> None:
        actor = _WorkerActor.remote(self.job)  # type: ignore[attr-defined]
        self.starting[actor.__ray_ready__.remote()] = actor

    def give(self, waiting: deque[tuple[int, int]]) -> None:
        """Every idle worker a shard."""
        while waiting and self.idle:
            actor, (shard, attempt) = self.idle.pop(), waiting.popleft()
            self.busy[actor.run.remote(shard)] = (actor, shard, attempt)

    def started(self, reference: Any) -> ShardResult | None:
        """A worker is there, or never will be; a fatal result when that goes on and on."""
        actor = self.starting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self.lost += 1
            if self.lost > ATTEMPTS * self.workers:
                why = " ".join(str(error).split())[:500]
                return ShardResult(-1, None, f"no worker can be started: {why}", fatal=True)
            self._hire()
            return None
        self.lost = 0
        self.idle.append(actor)
        return None

    def made(self, reference: Any, waiting: deque[tuple[int, int]]) -> ShardResult | None:
        """What became of a shard; None when its worker died and it waits for another."""
        actor, shard, attempt = self.busy.pop(reference)
        try:
            result: ShardResult = ray.get(reference)
        except RayError as error:
            ray.kill(actor)  # dead already, but for the rarest errors
            self._hire()
            if attempt < ATTEMPTS:
                waiting.appendleft((shard, attempt + 1))
                return None
            why = " ".join(str(error).split())[:500]
            return ShardResult(shard, None, f"its worker died {attempt} times: {why}", attempts=attempt)
        self.idle.append(actor)
        return result

    def dismiss(self) -> None:
        """End all workers."""
        for actor in [*self.idle, *self.starting.values(), *(actor for actor, _, _ in self.busy.values())]:
            ray.kill(actor)


def _run(job: Job, shards: Sequence[int], workers: int, watcher: Watcher) -> None:
    curating = Curating(job, shards, watcher, ahead=2 * workers + SHARDS_AT_ONCE) if job.recipe.curates else None
    waiting = deque((shard, 1) for shard in (() if curating else shards))
    pool = _Pool(job, workers)
    try:
        while waiting or pool.busy or (curating and curating.unfinished):
            watcher.pulse()
            pool.give(waiting)
            if curating:
                curating.submit(len(waiting))
            scenes = curating.references if curating else []
            done, _ = ray.wait([*pool.busy, *pool.starting, *scenes], num_returns=1, timeout=1.0)
            for reference in done:
                result: int | ShardResult | None
                if reference in pool.busy:
                    result = pool.made(reference, waiting)
                elif reference in pool.starting:
                    result = pool.started(reference)
                else:
                    assert curating is not None
                    result = curating.take(reference)
                if isinstance(result, ShardResult):
                    watcher.result(result)
                    if result.fatal:
                        return
                elif result is not None:
                    waiting.append((result, 1))
    finally:
        if curating:
            curating.stop()
        pool.dismiss()
