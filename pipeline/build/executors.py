"""Who makes the shards: this process (`InlineExecutor`), or Ray actors (`pipeline.build.ray_executor`)."""

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
    """Who asked for the shards and is told how it goes. Any of its methods may raise to stop the run."""

    def sample(self, sample: Sample | None) -> None:
        """A sample was made in this process, or (None) given up."""
        ...

    def result(self, result: ShardResult) -> None:
        """A shard was committed or failed; told once per shard."""
        ...

    def curated(self, samples: int) -> None:
        """So many more samples have a scene, or a reason why not. Does not raise."""
        ...

    def halted(self, why: Halted) -> None:
        """No more scenes are curated, since a budget is spent or a service broken; those that are will be rendered."""
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
        with curation_here(job, watcher) as curate:
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
def curation_here(job: Job, watcher: Watcher) -> Iterator[Callable[[int], ShardResult | None]]:
    """Within the block a function that commits the scenes of a shard, in this process; it returns why there are none.

    It does nothing for recipes that are not curated, raises Halted, and what the watcher raises.
    """
    if not job.recipe.curates:
        yield lambda shard: None
        return
    from soundflow.pipeline.build.curator import curating, scenes_or_failure

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            curator = runner.run(stack.enter_async_context(curating(job, on_sample=lambda: watcher.curated(1))))
            yield lambda shard: runner.run(_pulsed(scenes_or_failure(curator, shard), watcher))
        finally:
            runner.run(stack.aclose())


async def _pulsed(work: Coroutine[Any, Any, T], watcher: Watcher) -> T:
    """The result of `work`; when the watcher raises, the work is broken off."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=PULSE_SECONDS))[0]:
            watcher.pulse()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
