"""Who makes the shards: this process (`InlineExecutor`), or Ray actors (`pipeline.ray_executor`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.produce import Sample
from pipeline.worker import Job, ShardResult, Worker


class Watcher(Protocol):
    """Who asked for the shards and is told how it goes. Any of its methods may raise to stop the run."""

    def sample(self, sample: Sample | None) -> None:
        """A sample was made in this process, or (None) given up."""
        ...

    def result(self, result: ShardResult) -> None:
        """A shard was committed or failed; told once per shard."""
        ...

    def pulse(self) -> None:
        """Called at least once a second while there is nothing else to tell."""
        ...


class Executor(Protocol):
    """Makes shards of a job."""

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """Make every shard; stops early after a fatal result. An exception from the watcher leaves no worker behind."""
        ...


class InlineExecutor:
    """Shards one after the other in this process, without Ray: tests, notebooks, debugging, small corpora."""

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """See `Executor.run`."""
        worker = Worker(job)
        for shard in shards:
            watcher.pulse()
            result = worker.run(shard, watcher.sample)
            watcher.result(result)
            if result.fatal:
                return
