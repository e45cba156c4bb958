"""Shards as tasks on Ray actors. The driver is the only coordinator and holds nothing that is not on disk."""

from __future__ import annotations

import platform
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import ray
from ray.exceptions import RayError

from pipeline.executors import Watcher
from pipeline.ray_connection import connected
from pipeline.ray_curator import SHARDS_AT_ONCE, Curating
from pipeline.ray_metrics import BuildMetrics
from pipeline.worker import Job, ShardResult, Worker
from schemas.base import InputError

ATTEMPTS: Final = 3
"""Workers a shard may take down with it before it counts as failed."""


@ray.remote(num_cpus=1, max_restarts=0)
class _Actor:
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
        """See `pipeline.executors.Executor.run`. Raises InputError when there is no such cluster or it is too small."""
        watcher.pulse()
        with connected(self.address, self.workers) as cores:
            if cores < 1 or (self.workers or 1) > cores:  # an actor that fits nowhere would wait for ever
                raise InputError(
                    f"the Ray cluster has {cores} cores, {self.workers or 1} workers want one each",
                    field="--workers",
                    remedy="Ask for fewer workers or add nodes",
                )
            _run(job, shards, min(self.workers or cores, len(shards)), watcher)


def _run(job: Job, shards: Sequence[int], workers: int, watcher: Watcher) -> None:
    curating = Curating(job, shards, watcher, ahead=2 * workers + SHARDS_AT_ONCE) if job.recipe.curates else None
    waiting = deque((shard, 1) for shard in (() if curating else shards))
    busy: dict[Any, tuple[Any, int, int]] = {}  # reference → (actor, shard, attempt)
    idle = [_Actor.remote(job) for _ in range(workers)]  # type: ignore[attr-defined]
    try:
        while waiting or busy or (curating and curating.unfinished):
            watcher.pulse()
            while waiting and idle:
                actor, (shard, attempt) = idle.pop(), waiting.popleft()
                busy[actor.run.remote(shard)] = (actor, shard, attempt)
            if curating:
                curating.submit(len(waiting))
            scenes = curating.references if curating else []
            done, _ = ray.wait([*busy, *scenes], num_returns=1, timeout=1.0)
            for reference in done:
                result: int | ShardResult | None
                if reference in busy:
                    result = _made(job, reference, busy, idle, waiting)
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
        for actor in [*idle, *(actor for actor, _, _ in busy.values())]:
            ray.kill(actor)


def _made(
    job: Job, reference: Any, busy: dict[Any, tuple[Any, int, int]], idle: list[Any], waiting: deque[tuple[int, int]]
) -> ShardResult | None:
    """What became of a shard; None when its worker died and it waits for another."""
    actor, shard, attempt = busy.pop(reference)
    try:
        result: ShardResult = ray.get(reference)
    except RayError as error:
        ray.kill(actor)  # dead already, but for the rarest errors
        idle.append(_Actor.remote(job))  # type: ignore[attr-defined]
        if attempt < ATTEMPTS:
            waiting.appendleft((shard, attempt + 1))
            return None
        why = " ".join(str(error).split())[:500]
        return ShardResult(shard, None, f"its worker died {attempt} times: {why}", attempts=attempt)
    idle.append(actor)
    return result
