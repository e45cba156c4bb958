"""Who makes the shards: this process (`InlineExecutor`), or Ray actors (`pipeline.ray_executor`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.produce import Sample
from pipeline.worker import Job, ShardResult, Worker

OnResult = Callable[[ShardResult], None]
OnSample = Callable[[Sample], None]


class Executor(Protocol):
    """Makes shards of a job."""

    def run(self, job: Job, shards: Sequence[int], on_result: OnResult, on_sample: OnSample) -> None:
        """Make every shard and tell each result once; stops early after a fatal one. `on_sample` is called for samples made
        in this process. What is interrupted (an exception from a callback or a signal) leaves no worker behind."""
        ...


class InlineExecutor:
    """Shards one after the other in this process, without Ray: tests, notebooks, debugging, small corpora."""

    def run(self, job: Job, shards: Sequence[int], on_result: OnResult, on_sample: OnSample) -> None:
        """See `Executor.run`."""
        worker = Worker(job)
        for shard in shards:
            result = worker.run(shard, on_sample)
            on_result(result)
            if result.fatal:
                return
