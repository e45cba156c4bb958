"""Kills at any moment: a resumed build gives the identical corpus; SIGTERM and Ctrl-C end cleanly."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from tests.support import ROOT
from tests.support.corpus import corpus, write_recipe


def start(recipe: Path, out: Path, *more: str, file_limit: int | None = None) -> subprocess.Popen[str]:
    """A build in a process of its own; `file_limit`: bytes no file of it can pass, as on a full disk."""
    command = [sys.executable, "-m", "soundflow", "build", str(recipe), "-o", str(out), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    if file_limit is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return process


@pytest.fixture(scope="module")
def large(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe of 32 shards and its undisturbed build."""
    root = tmp_path_factory.mktemp("large")
    recipe = write_recipe(root / "recipe.yaml", clips_dir, streams=960, shards=32, scene={"events": [3, 8]})
    build(recipe, root / "out", executor="inline")
    return recipe, root / "out"


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def commits(out: Path) -> int:
    return len(list((out / "manifest").glob("0*.json")))


def test_ten_sigkills_at_seeded_moments_then_resume_give_the_identical_corpus(large: tuple[Path, Path], tmp_path: Path) -> None:
    """Moments are counted in commits plus a fraction of a shard, so that they hit a build at work on any machine."""
    recipe, undisturbed = large
    out = tmp_path / "out"
    rng = np.random.default_rng(2026)
    for further, pause in zip(rng.integers(0, 3, 10).tolist(), rng.uniform(0.0, 0.1, 10).tolist(), strict=True):
        goal = commits(out) + further
        process = start(recipe, out, "--executor", "inline")
        wait_for(process, lambda goal=goal: (out / "build.json").exists() and commits(out) >= goal)
        time.sleep(pause)
        assert process.poll() is None
        process.kill()
        process.communicate()
        for manifest in BuildDir(out).manifests():
            assert (out / "data" / manifest.tar).stat().st_size == manifest.bytes
    assert 0 < commits(out) < 32
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)
    assert verify(out).ok
    assert list((out / "_tmp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigint_and_sigterm_exit_130_within_ten_seconds_and_the_build_resumes(
    large: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    recipe, undisturbed = large
    out = tmp_path / "out"
    process = start(recipe, out, "--executor", "inline")
    wait_for(process, lambda: commits(out) >= 2)
    process.send_signal(number)
    begun = time.monotonic()
    _, output = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - begun < 10
    assert "interrupted" in output and "Traceback" not in output
    assert list((out / "_tmp").iterdir()) == []
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)


def test_a_kill_between_any_two_file_operations_loses_and_damages_nothing(clips_dir: Path, tmp_path: Path) -> None:
    """What a kill leaves is the directory as it is at that moment: every such state is kept, and resumed from."""
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=4, shards=2)
    out = tmp_path / "out"
    states: list[Path] = []
    watching = [True]

    def keep(event: str, arguments: tuple[object, ...]) -> None:
        changes = event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir")
        if watching[0] and changes and out.exists() and str(arguments[0]).startswith(str(out)):
            watching[0] = False
            states.append(Path(shutil.copytree(out, tmp_path / f"state-{len(states):02d}")))
            watching[0] = True

    sys.addaudithook(keep)
    build(recipe, out, executor="inline")
    watching[0] = False
    whole = corpus(out)
    assert len(states) > 20 and {len(corpus(state)) for state in states} == {0, 1, 2}
    for state in states:
        assert set(corpus(state).items()) <= set(whole.items())
        assert not (state / "build.json").exists() or all(problem.check != "sha256" for problem in verify(state).problems)
        build(recipe, state, executor="inline")
        assert corpus(state) == whole
    assert verify(states[len(states) // 2], sample=2).ok


def test_two_builds_racing_in_one_directory_make_one_corpus(large: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, undisturbed = large
    out = tmp_path / "out"
    racers = [start(recipe, out, "--executor", "inline") for _ in range(2)]
    outputs = [racer.communicate(timeout=120)[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], outputs
    assert corpus(out) == corpus(undisturbed) and verify(out).ok
    assert list((out / "_tmp").iterdir()) == []


def test_a_full_disk_ends_with_exit_code_3_and_a_message_and_the_build_resumes(large: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, undisturbed = large
    out = tmp_path / "out"
    sizes = [manifest.bytes for manifest in BuildDir(undisturbed).manifests()]
    assert sizes[0] < max(sizes), "the first shard must fit where a later one does not: take another seed"
    process = start(recipe, out, "--executor", "inline", file_limit=sizes[0])
    _, output = process.communicate(timeout=120)
    assert process.returncode == 3 and "File too large" in output and "Traceback" not in output
    assert 0 < len(corpus(out)) < 32 and set(corpus(out).items()) <= set(corpus(undisturbed).items())
    assert list((out / "_tmp").iterdir()) == []
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)
