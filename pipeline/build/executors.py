"""Executors make the shards of a build: in this process (`InlineExecutor`) or on Ray actors (`pipeline.build.ray_executor`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

from soundflow.pipeline.build.produce import Sample
from soundflow.pipeline.build.worker import Job, ShardResult, Worker
from soundflow.schemas.llm import Halted

PULSE_SECONDS: Final = 0.5
T = TypeVar("T")


class Watcher(Protocol):
    """Receives the results of a run. Its methods may raise to stop the run."""

    def sample(self, sample: Sample | None) -> None:
        """A sample was made in this process; None if it was rejected or failed."""
        ...

    def result(self, result: ShardResult) -> None:
        """A shard was committed or failed. Called once per shard."""
        ...

    def curated(self, samples: int) -> None:
        """This many more samples have been curated. Does not raise."""
        ...

    def halted(self, why: Halted) -> None:
        """Curation has ended because a budget is spent or a service is broken. Scenes curated before are still rendered."""
        ...

    def warning(self, text: str) -> None:
        """A worker died, hung or could not load the job. The build continues with the others. Does not raise."""
        ...

    def pulse(self) -> None:
        """Called at least once a second while there are no results."""
        ...


class Executor(Protocol):
    """Makes the shards of a job."""

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """Make `shards`; stop early after a fatal result. If the watcher raises, all workers are ended."""
        ...


class InlineExecutor:
    """Makes shards one after another in this process, without Ray: for tests, notebooks, debugging and small corpora."""

    def run(self, job: Job, shards: Sequence[int], watcher: Watcher) -> None:
        """See `Executor.run`."""
        worker = Worker(job)
        with inline_curation(job, watcher) as curate:
            for shard in shards:
                watcher.pulse()
                try:
                    result = curate(shard) or worker.run(shard, watcher.sample)
                except Halted as error:
                    watcher.halted(error)
                    return
                watcher.result(result)
                if result.fatal:
                    return


@contextlib.contextmanager
def inline_curation(job: Job, watcher: Watcher) -> Iterator[Callable[[int], ShardResult | None]]:
    """Yield a function that commits the scenes of a shard in this process; see `curator.scenes_or_failure`.

    For recipes that are not curated it does nothing. It raises Halted and what the watcher raises.
    """
    if not job.recipe.curates:
        yield lambda shard: None
        return
    from soundflow.pipeline.build.curator import curating, scenes_or_failure

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            curator = runner.run(stack.enter_async_context(curating(job, on_sample=lambda: watcher.curated(1))))
            yield lambda shard: runner.run(_with_pulses(scenes_or_failure(curator, shard), watcher))
        finally:
            runner.run(stack.aclose())


async def _with_pulses(work: Coroutine[Any, Any, T], watcher: Watcher) -> T:
    """Return the result of `work`. If the watcher raises, the work is cancelled."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=PULSE_SECONDS))[0]:
            watcher.pulse()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
