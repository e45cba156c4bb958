"""The Ray executor: shards are tasks of Ray actors. The driver coordinates them; all its state can be restored from disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ray
from ray.exceptions import RayError

from soundflow.pipeline.build.executors import Watcher
from soundflow.pipeline.build.ray_curator import SHARDS_AT_ONCE, CurationQueue
from soundflow.pipeline.build.ray_metrics import BuildMetrics
from soundflow.pipeline.build.worker import Job, ShardResult, Worker
from soundflow.pipeline.clips.table import IndexReplacedError
from soundflow.pipeline.mechanics.ray_connection import connected
from soundflow.pipeline.mechanics.ray_worker import ActorPlace, LoadFailure, LoadingActor, Nodes, end_hung
from soundflow.schemas.base import InputError

ATTEMPTS: Final = 3
"""Workers that may die or hang while making a shard before the shard counts as failed."""
SLOWEST_TIMES: Final = 5.0
"""A worker is hung when it takes this many times as long as the slowest shard so far, twice as long at a second attempt, ..."""
MIN_SHARD_SECONDS, FIRST_SHARD_SECONDS = 300.0, 3600.0
"""Bounds of the default time limit of a shard: its least value, and its value until the first shard is done."""
LOAD_SECONDS: Final = 600.0
"""Time limit for loading the clip index and the tokenizer."""
MAX_STEP_SECONDS: Final = 5.0
"""Longest step of the driver's clock: time in which the driver itself was stopped does not count against its workers."""


class MeteredWorker:
    """A `Worker` that exports metrics."""

    def __init__(self, job: Job):
        self._worker, self._metrics = Worker(job), BuildMetrics()

    def run(self, shard: int) -> ShardResult:
        """Make and commit a shard."""
        result = self._worker.run(shard)
        self._metrics.record(result)
        return result


class TimeLimit:
    """How long a shard may take before its worker counts as hung: `fixed` seconds, or derived from the shards so far."""

    def __init__(self, fixed: float | None = None):
        self.fixed = fixed
        self._slowest = 0.0

    def add(self, seconds: float) -> None:
        """Record how long a finished shard took."""
        self._slowest = max(self._slowest, seconds)

    def seconds(self, attempt: int) -> float:
        """Return the limit of the attempt with this number, from 1 on. Later attempts get longer, in case the shard is slow."""
        if self.fixed is not None:
            return self.fixed
        limit = max(MIN_SHARD_SECONDS, SLOWEST_TIMES * self._slowest) if self._slowest else FIRST_SHARD_SECONDS
        return limit * 2.0 ** (attempt - 1)

    def load_seconds(self) -> float:
        """Return the limit for loading the job."""
        return max(LOAD_SECONDS, self.fixed or 0.0)


class RayExecutor:
    """Makes shards on a pool of actors with one core and one shard each; the other shards wait in the driver.

    An actor that dies or hangs is replaced and its shard is given to another one, at most `ATTEMPTS` times. A node on which the
    job cannot be loaded gets no further actors. The build ends when no node is left.

    `workers` None uses every core. `address` None starts a Ray instance of this machine; otherwise it names a cluster, to which
    the code is shipped and whose nodes must see clips and output under the same paths. See `ray_connection.connected`.
    `shard_timeout`: seconds after which a worker that makes a shard is hung; see `TimeLimit`.
    """

    def __init__(self, workers: int | None = None, address: str | None = None, shard_timeout: float | None = None):
        self.workers, self.address, self.shard_timeout = workers, address, shard_timeout

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
            _run(job, shards, min(self.workers or cores, len(shards)), watcher, TimeLimit(self.shard_timeout))


@dataclass(eq=False, slots=True)
class _PoolWorker:
    """An actor of the pool and what it is doing."""

    actor: Any
    start_attempt: int
    place: ActorPlace | None = None
    """None until it has started."""
    shard: int = -1
    attempt: int = 0
    """The attempt at the shard, from 1 on."""
    begun: float = 0.0
    """When it was given its present task."""


class _WorkerPool:
    """The workers of one run. A worker starts, loads the job and then gets shards.

    A worker without a free core does not delay the others: it starts when a node joins, and until then requests one from the
    autoscaler.
    """

    def __init__(self, job: Job, workers: int, nodes: Nodes, watcher: Watcher, limit: TimeLimit):
        self.nodes, self.watcher, self.limit = nodes, watcher, limit
        self._load = ray.put(partial(MeteredWorker, job))
        self._starting: dict[Any, _PoolWorker] = {}  # reference → worker
        self._loading: dict[Any, _PoolWorker] = {}
        self.busy: dict[Any, _PoolWorker] = {}
        self._idle: list[_PoolWorker] = []
        self._why_not_started = ""
        self._last_failure: Exception | None = None
        self._now, self._last = 0.0, time.monotonic()
        for _ in range(workers):
            self._add_worker()

    @property
    def references(self) -> list[Any]:
        """The references of everything that workers are doing."""
        return [*self._starting, *self._loading, *self.busy]

    def assign(self, waiting: deque[tuple[int, int]]) -> None:
        """Give a waiting shard to every idle worker."""
        while waiting and self._idle:
            worker, (worker.shard, worker.attempt) = self._idle.pop(), waiting.popleft()
            self._begin(self.busy, worker, worker.actor.run.remote(worker.shard))

    def take(self, reference: Any, waiting: deque[tuple[int, int]]) -> ShardResult | None:
        """Handle what a worker has done; return the result of a shard if it is one."""
        if reference in self._starting:
            self._take_started(reference)
        elif reference in self._loading:
            self._take_loaded(reference)
        else:
            return self._take_result(reference, waiting)
        return None

    def stop_hung(self, waiting: deque[tuple[int, int]]) -> list[ShardResult]:
        """Stop workers that exceed the time limit; return the results of shards that get no further attempt.

        A worker that is stopped by a signal or blocked in a system call answers nothing, so only the time tells.
        """
        now = time.monotonic()
        self._now, self._last = self._now + min(now - self._last, MAX_STEP_SECONDS), now
        results = []
        for reference, worker in [*self._loading.items(), *self.busy.items()]:
            is_busy = reference in self.busy
            seconds = self.limit.seconds(worker.attempt) if is_busy else self.limit.load_seconds()
            if self._now - worker.begun <= seconds or ray.wait([reference], timeout=0)[0]:
                continue
            end_hung(worker.actor, worker.place)
            if is_busy:
                del self.busy[reference]
                results.append(self._lose(worker, f"worker {worker.place} hung: no result after {seconds:.0f} s", waiting))
            else:
                del self._loading[reference]
                self._retire(worker, f"the worker was not ready after {seconds:.0f} s")
        return [result for result in results if result is not None]

    def why_no_workers(self) -> str:
        """Return why no worker is left and none can start, or an empty string.

        Raises IndexReplacedError if that is the reason.
        """
        if self._idle or self._loading or self.busy:
            return ""
        if self.nodes.are_all_retired():
            if isinstance(self._last_failure, IndexReplacedError):
                raise self._last_failure
            return f"no worker can load the build: {self.nodes.reasons()}"
        return "" if self._starting else self._why_not_started

    def stop(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *self._starting.values(), *self._loading.values(), *self.busy.values()]:
            ray.kill(worker.actor)

    def _add_worker(self, start_attempt: int = 1) -> None:
        actor = LoadingActor.options(**self.nodes.placement()).remote([self._load])  # type: ignore[attr-defined]
        self._begin(self._starting, _PoolWorker(actor, start_attempt), actor.place.remote())

    def _begin(self, task: dict[Any, _PoolWorker], worker: _PoolWorker, reference: Any) -> None:
        worker.begun = self._now
        task[reference] = worker

    def _take_started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            worker.place = ray.get(reference)
        except RayError as error:
            self._restart(worker, f"no Ray worker can be started: {_one_line(error)}")
            return
        self._begin(self._loading, worker, worker.actor.load.remote())

    def _take_loaded(self, reference: Any) -> None:
        worker = self._loading.pop(reference)
        try:
            failure: LoadFailure | None = ray.get(reference)
        except RayError as error:
            self._restart(worker, f"worker {worker.place} died while it loaded the build: {_one_line(error)}")
            return
        if failure is not None:
            self._last_failure = failure.error
            self._retire(worker, failure.why)
        else:
            self._idle.append(worker)

    def _restart(self, worker: _PoolWorker, why: str) -> None:
        """Replace a worker that died before it was ready; give up after `ATTEMPTS` in a row."""
        ray.kill(worker.actor)
        if worker.start_attempt < ATTEMPTS:
            self._add_worker(worker.start_attempt + 1)
        else:
            self._why_not_started = why
            self.watcher.warning(why)

    def _retire(self, worker: _PoolWorker, why: str) -> None:
        """Replace a worker that cannot load the job by one on another node, once another node has a free core."""
        assert worker.place is not None
        ray.kill(worker.actor)
        if self.nodes.retire(worker.place, why):
            self.watcher.warning(f"node {worker.place.host} cannot load the build and gets no further workers: {why}")
        self._add_worker()

    def _take_result(self, reference: Any, waiting: deque[tuple[int, int]]) -> ShardResult | None:
        """Return the result of a shard; None if its worker died and it waits for another one."""
        worker = self.busy.pop(reference)
        try:
            result: ShardResult = ray.get(reference)
        except RayError as error:
            return self._lose(worker, f"worker {worker.place} died: {_one_line(error)}", waiting)
        if result.manifest is not None:
            self.limit.add(self._now - worker.begun)
        self._idle.append(worker)
        return result

    def _lose(self, worker: _PoolWorker, why: str, waiting: deque[tuple[int, int]]) -> ShardResult | None:
        """Replace a worker and give its shard to another one, or return the shard's failure.

        If the worker is alive after all and commits the shard later, the first commit wins.
        """
        ray.kill(worker.actor)  # usually dead already
        self._add_worker()
        if worker.attempt < ATTEMPTS:
            waiting.appendleft((worker.shard, worker.attempt + 1))
            self.watcher.warning(f"shard {worker.shard} is given to another worker: {why}")
            return None
        why = f"its workers died or hung {worker.attempt} times; the last time: {why}"
        return ShardResult(worker.shard, None, why, attempts=worker.attempt)


def _one_line(error: RayError) -> str:
    return " ".join(str(error).split())[:500]


def _run(job: Job, shards: Sequence[int], workers: int, watcher: Watcher, limit: TimeLimit) -> None:
    nodes = Nodes()
    ahead = 2 * workers + SHARDS_AT_ONCE
    curation = CurationQueue(job, shards, watcher, ahead, nodes) if job.recipe.curates else None
    waiting = deque((shard, 1) for shard in (() if curation else shards))
    pool = _WorkerPool(job, workers, nodes, watcher, limit)
    try:
        while waiting or pool.busy or (curation and curation.is_unfinished):
            watcher.pulse()
            pool.assign(waiting)
            if curation:
                curation.submit(len(waiting))
            scenes = curation.references if curation else []
            done, _ = ray.wait([*pool.references, *scenes], num_returns=1, timeout=1.0)
            results: list[int | ShardResult | None] = [*pool.stop_hung(waiting)]
            for reference in done:
                if curation and reference in scenes:
                    results.append(curation.take(reference))
                elif reference in pool.references:  # not of a worker that has just been stopped
                    results.append(pool.take(reference, waiting))
            if why := pool.why_no_workers():
                results.append(ShardResult(-1, None, why, fatal=True))
            for result in results:
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
