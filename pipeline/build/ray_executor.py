"""The Ray executor: shards are tasks of Ray actors. The driver coordinates them; all its state can be restored from disk."""

from __future__ import annotations

import platform
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.build.executors import Watcher
from soundflow.pipeline.build.ray_curator import SHARDS_AT_ONCE, CurationQueue
from soundflow.pipeline.build.ray_metrics import BuildMetrics
from soundflow.pipeline.build.worker import Job, ShardResult, Worker
from soundflow.pipeline.clips.table import IndexReplacedError
from soundflow.pipeline.mechanics.ray_connection import connected
from soundflow.schemas.base import InputError

ATTEMPTS: Final = 3
"""Workers that may die while making a shard before the shard counts as failed."""


@ray.remote(num_cpus=1, max_restarts=0)
class _WorkerActor:
    """A worker on one core. Loads the job with its first shard. Dies with the driver."""

    def __init__(self, job: Job):
        self._job = job
        self._worker: Worker | None = None
        self._metrics = BuildMetrics()

    def run(self, shard: int) -> ShardResult | IndexReplacedError:
        if self._worker is None:
            try:
                self._worker = Worker(self._job)
            except IndexReplacedError as error:
                return error
            except Exception as error:  # of this node, such as a missing clip index: other shards would fail, too
                return ShardResult(shard, None, f"node {platform.node()}: {error}", traceback.format_exc(), fatal=True)
        result = self._worker.run(shard)
        self._metrics.record(result)
        return result


class RayExecutor:
    """Makes shards on a pool of actors with one core and one shard each; the other shards wait in the driver.

    An actor that dies is replaced and its shard is given to another one, at most `ATTEMPTS` times.

    `workers` None uses every core. `address` None starts a Ray instance of this machine; otherwise it names a cluster, to which
    the code is shipped and whose nodes must see clips and output under the same paths. See `ray_connection.connected`.
    """

    def __init__(self, workers: int | None = None, address: str | None = None):
        self.workers, self.address = workers, address

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """See `pipeline.build.executors.Executor.run`. Raises InputError if there is no such cluster or it is too small."""
        watcher.pulse()
        with connected(self.address, self.workers) as cores:
            # This machine never gets more cores. A cluster may grow: its autoscaler sees workers that do not fit yet.
            if cores < 1 or (self.address is None and (self.workers or 1) > cores):
                raise InputError(
                    f"{self.workers or 1} workers need one core each, but Ray has {cores}",
                    field="--workers",
                    value=self.workers,
                    remedy="Reduce --workers or use a larger machine or cluster",
                )
            _run(job, shards, min(self.workers or cores, len(shards)), watcher)


class _WorkerPool:
    """The workers of one run. A worker gets shards once it has started.

    A worker without a free core does not delay the others: it starts when a node joins, and until then requests one from the
    autoscaler.
    """

    def __init__(self, job: Job, workers: int):
        self.job, self.workers = job, workers
        self.starting: dict[Any, Any] = {}  # reference → actor
        self.busy: dict[Any, tuple[Any, int, int]] = {}  # reference → (actor, shard, attempt)
        self.idle: list[Any] = []
        self.lost = 0
        """Consecutive workers that died before they had started."""
        for _ in range(workers):
            self._add_worker()

    def _add_worker(self) -> None:
        actor = _WorkerActor.remote(self.job)  # type: ignore[attr-defined]
        self.starting[actor.__ray_ready__.remote()] = actor

    def assign(self, waiting: deque[tuple[int, int]]) -> None:
        """Give a waiting shard to every idle worker."""
        while waiting and self.idle:
            actor, (shard, attempt) = self.idle.pop(), waiting.popleft()
            self.busy[actor.run.remote(shard)] = (actor, shard, attempt)

    def take_started(self, reference: Any) -> ShardResult | None:
        """Handle a worker that has started or died before; return a fatal result if too many have died."""
        actor = self.starting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self.lost += 1
            if self.lost > ATTEMPTS * self.workers:
                why = " ".join(str(error).split())[:500]
                return ShardResult(-1, None, f"no Ray worker can be started: {why}", fatal=True)
            self._add_worker()
            return None
        self.lost = 0
        self.idle.append(actor)
        return None

    def take_result(self, reference: Any, waiting: deque[tuple[int, int]]) -> ShardResult | None:
        """Return the result of a shard; None if its worker died and it waits for another one.

        Raises IndexReplacedError: shards made from another clip index must not be committed.
        """
        actor, shard, attempt = self.busy.pop(reference)
        try:
            result: ShardResult | IndexReplacedError = ray.get(reference)
        except RayError as error:
            ray.kill(actor)  # usually dead already
            self._add_worker()
            if attempt < ATTEMPTS:
                waiting.appendleft((shard, attempt + 1))
                return None
            why = " ".join(str(error).split())[:500]
            return ShardResult(shard, None, f"its worker died {attempt} times, the last time with: {why}", attempts=attempt)
        if isinstance(result, IndexReplacedError):
            ray.kill(actor)
            raise result
        self.idle.append(actor)
        return result

    def stop(self) -> None:
        """End all workers."""
        for actor in [*self.idle, *self.starting.values(), *(actor for actor, _, _ in self.busy.values())]:
            ray.kill(actor)


def _run(job: Job, shards: Sequence[int], workers: int, watcher: Watcher) -> None:
    curation = CurationQueue(job, shards, watcher, ahead=2 * workers + SHARDS_AT_ONCE) if job.recipe.curates else None
    waiting = deque((shard, 1) for shard in (() if curation else shards))
    pool = _WorkerPool(job, workers)
    try:
        while waiting or pool.busy or (curation and curation.is_unfinished):
            watcher.pulse()
            pool.assign(waiting)
            if curation:
                curation.submit(len(waiting))
            scenes = curation.references if curation else []
            done, _ = ray.wait([*pool.busy, *pool.starting, *scenes], num_returns=1, timeout=1.0)
            for reference in done:
                result: int | ShardResult | None
                if reference in pool.busy:
                    result = pool.take_result(reference, waiting)
                elif reference in pool.starting:
                    result = pool.take_started(reference)
                else:
                    assert curation is not None
                    result = curation.take(reference)
                if isinstance(result, ShardResult):
                    watcher.result(result)
                    if result.fatal:
                        return
                elif result is not None:
                    waiting.append((result, 1))
    finally:
        if curation:
            curation.stop()
        pool.stop()
