"""Kills at any moment: SIGKILL and resume give the identical corpus, SIGTERM and Ctrl-C leave cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.build_dir import BuildDir
from pipeline.run import build
from pipeline.verify import verify
from tests.corpus import corpus, write_recipe

ROOT = Path(__file__).parent.parent.parent


def start(recipe: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "soundflow", "build", str(recipe), "-o", str(out), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


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
def test_a_polite_stop_exits_130_within_ten_seconds_and_resumes(
    large: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    recipe, undisturbed = large
    out = tmp_path / "out"
    process = start(recipe, out, "--executor", "inline")
    wait_for(process, lambda: commits(out) >= 2)
    process.send_signal(number)
    begun = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - begun < 10
    assert "interrupted" in told and "Traceback" not in told
    assert list((out / "_tmp").iterdir()) == []
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)
