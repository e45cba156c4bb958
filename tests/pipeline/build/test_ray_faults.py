"""Workers on Ray that hang or cannot load the job: they are named, and the others make their shards."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundflow.pipeline.build import ray_executor
from soundflow.pipeline.build.ray_executor import MIN_SHARD_SECONDS, RayExecutor, TimeLimit
from soundflow.pipeline.build.run import build, plan_build
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.schemas.base import InputError
from tests.pipeline.build.test_ray import Watch
from tests.support.corpus import write_recipe

ray = pytest.importorskip("ray")

SECONDS = 4.0
"""The time limit of a shard in these tests; the workers of this file need milliseconds."""


def stopped_by_a_signal(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def blocked_in_a_system_call(folder: Path) -> None:
    held, other = (folder / "held").open("w"), (folder / "held").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    fcntl.flock(other, fcntl.LOCK_EX)


def in_an_endless_loop(folder: Path) -> None:
    while True:
        pass


def worker_that_hangs(hang: Callable[[Path], None], folder: Path, times: int) -> type:
    """A worker whose first `times` attempts at shard 1 never end."""

    class Hanging:
        def __init__(self, job: Job) -> None:
            pass

        def run(self, shard: int) -> ShardResult:
            attempts = folder / f"attempts-{shard}"
            with attempts.open("a") as file:
                file.write(f":{os.getpid()}\n")
            if shard == 1 and len(attempts.read_text().split()) <= times:
                hang(folder)
            return ShardResult(shard)

    return Hanging


@pytest.fixture
def job(clips_dir: Path, tmp_path: Path) -> Job:
    record, index = plan_build(write_recipe(tmp_path / "recipe.yaml", clips_dir))
    return Job(tmp_path / "out", index.reference, record.recipe, record.fingerprint)


@pytest.mark.parametrize("hang", [stopped_by_a_signal, blocked_in_a_system_call, in_an_endless_loop])
def test_a_worker_that_hangs_is_named_and_another_one_makes_its_shard(
    cluster: None, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(ray_executor, "MeteredWorker", worker_that_hangs(hang, tmp_path, times=1))
    watch = Watch()
    RayExecutor(2, shard_timeout=SECONDS).run(job, range(4), watch)
    assert sorted(watch.results) == [0, 1, 2, 3] and not any(result.error for result in watch.results.values())
    hung, second = (tmp_path / "attempts-1").read_text().split()
    assert hung != second
    assert (
        len(watch.warnings) == 1 and f"{hung} hung: no result after 4 s" in watch.warnings[0] and "shard 1" in watch.warnings[0]
    )


def test_a_shard_on_which_every_worker_hangs_fails_with_a_name_and_the_others_are_made(
    cluster: None, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "MeteredWorker", worker_that_hangs(in_an_endless_loop, tmp_path, times=3))
    watch = Watch()
    RayExecutor(2, shard_timeout=2.0).run(job, range(4), watch)
    pids = (tmp_path / "attempts-1").read_text().split()
    assert sorted(watch.results) == [0, 1, 2, 3] and len(pids) == 3
    assert watch.results[1].attempts == 3 and f"{pids[-1]} hung: no result after 2 s" in watch.results[1].error
    assert not any(watch.results[shard].error for shard in (0, 2, 3))


class Missing:
    """Unpickles like a worker whose module a node does not have."""

    def __call__(self, job: Job) -> Missing:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("a_library_that_this_node_lacks",)


def test_when_no_node_can_import_the_worker_the_build_ends_with_the_reason(
    cluster: None, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "MeteredWorker", Missing())
    watch = Watch()
    RayExecutor(2).run(job, range(4), watch)
    (result,) = watch.results.values()
    assert result.fatal and "no worker can load the build: node " in result.error
    assert "No module named 'a_library_that_this_node_lacks'" in result.error


def test_the_default_limit_follows_the_slowest_shard_and_grows_with_each_attempt() -> None:
    limit = TimeLimit()
    assert limit.seconds(1) == 3600.0
    limit.add(10.0)
    assert limit.seconds(1) == MIN_SHARD_SECONDS == 300.0
    limit.add(200.0)
    limit.add(20.0)
    assert [limit.seconds(attempt) for attempt in (1, 2, 3)] == [1000.0, 2000.0, 4000.0]
    assert TimeLimit(7.0).seconds(3) == 7.0


def test_the_inline_executor_takes_no_time_limit(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir)
    with pytest.raises(InputError, match="takes no --workers, --address or --shard-timeout"):
        build(recipe, tmp_path / "out", executor="inline", shard_timeout=5.0)
