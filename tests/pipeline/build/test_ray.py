"""The Ray executor: the corpus equals the inline one, dead workers are replaced, an interrupt leaves no process."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from soundflow.pipeline.build import ray_executor
from soundflow.pipeline.build.ray_executor import RayExecutor
from soundflow.pipeline.build.run import build, plan_build
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.pipeline.clips.table import IndexReplacedError
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import Halted
from tests.pipeline.build.test_kill import commits, start, wait_for
from tests.support.corpus import corpus, write_recipe

ray = pytest.importorskip("ray")


class Watch:
    """A watcher that keeps the results."""

    def __init__(self) -> None:
        self.results: dict[int, ShardResult] = {}
        self.warnings: list[str] = []

    def sample(self, sample: object) -> None:
        raise AssertionError("samples are made in other processes")

    def result(self, result: ShardResult) -> None:
        self.results[result.shard] = result

    def curated(self, samples: int) -> None:
        raise AssertionError("nothing is curated")

    def halted(self, why: Halted) -> None:
        raise AssertionError("nothing is spent")

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def pulse(self) -> None:
        pass


def test_two_ray_workers_give_the_corpus_of_one_inline_worker(cluster: None, built: Path, tmp_path: Path) -> None:
    status = build(built.parent / "recipe.yaml", tmp_path / "out", workers=2)
    assert status.shards.committed == 4
    assert corpus(tmp_path / "out") == corpus(built)


def test_more_workers_than_cores_are_refused(cluster: None, built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="64 workers need one core each, but Ray has 2"):
        build(built.parent / "recipe.yaml", tmp_path / "out", workers=64)


def test_a_killed_worker_is_replaced_and_leaves_no_half_shard(cluster: None, clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=240, shards=6)
    build(recipe, tmp_path / "inline", executor="inline")
    killed: list[int] = []

    def kill_one(event: object) -> None:
        for path in (tmp_path / "out" / "manifest").glob("0*.json") if not killed else ():
            worker = str(BuildDir(tmp_path / "out").manifests()[0].timings["worker"])
            killed.append(int(worker.rpartition(":")[2]))
            os.kill(killed[0], signal.SIGKILL)
            del path
            break

    warnings: list[str] = []
    status = build(recipe, tmp_path / "out", workers=2, on_event=kill_one, on_warning=warnings.append)
    assert len(warnings) == 1 and f":{killed[0]} died" in warnings[0]
    assert killed and status.shards.committed == 6 and status.shards.failed == 0
    assert corpus(tmp_path / "out") == corpus(tmp_path / "inline")


def test_a_shard_that_kills_every_worker_fails_and_the_others_are_made(
    cluster: None, clips_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, index = plan_build(write_recipe(tmp_path / "recipe.yaml", clips_dir))
    job = Job(tmp_path / "out", index.reference, record.recipe, record.fingerprint)

    class Poisoned:
        def __init__(self, job: Job) -> None:
            pass

        def run(self, shard: int) -> ShardResult:
            if shard == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return ShardResult(shard)

    watch = Watch()
    monkeypatch.setattr(ray_executor, "MeteredWorker", Poisoned)
    RayExecutor(2).run(job, range(4), watch)
    results = watch.results
    assert sorted(results) == [0, 1, 2, 3]
    assert results[2].attempts == ray_executor.ATTEMPTS and "died or hung 3 times" in results[2].error
    assert not any(results[shard].error for shard in (0, 1, 3))


def test_a_machine_without_the_clip_index_stops_the_build_by_name(cluster: None, clips_dir: Path, tmp_path: Path) -> None:
    clips = Path(shutil.copytree(clips_dir, tmp_path / "clips"))
    recipe = write_recipe(tmp_path / "recipe.yaml", clips)
    record, index = plan_build(recipe)
    shutil.rmtree(clips)
    watch = Watch()
    RayExecutor(2).run(Job(tmp_path / "out", index.reference, record.recipe, record.fingerprint), range(4), watch)
    (result,) = watch.results.values()
    assert result.fatal and "is not a clip index" in result.error


def test_a_machine_with_another_clip_index_ends_the_build(cluster: None, clips_dir: Path, tmp_path: Path) -> None:
    record, index = plan_build(write_recipe(tmp_path / "recipe.yaml", clips_dir))
    planned = replace(index.reference, content_hash="0" * 64)
    with pytest.raises(IndexReplacedError, match="expected content hash 000000000000, found"):
        RayExecutor(2).run(Job(tmp_path / "out", planned, record.recipe, record.fingerprint), range(4), Watch())
    assert not (tmp_path / "out" / "manifest").exists()


def test_a_driver_stopped_and_then_killed_with_its_workers_resumes_to_the_identical_corpus(
    clips_dir: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=600, shards=30)
    build(recipe, tmp_path / "inline", executor="inline")
    out = tmp_path / "out"
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = start(recipe, out, "--workers", "2")
        goal = commits(out) + 1
        wait_for(process, lambda goal=goal: commits(out) >= goal)
        process.send_signal(number)
        begun = time.monotonic()
        _, output = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == 130 and time.monotonic() - begun < 50 and "Traceback" not in output
        assert len(BuildDir(out).manifests()) < 30
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(tmp_path / "inline")
