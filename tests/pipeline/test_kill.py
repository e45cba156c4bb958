"""Kills at any moment: SIGKILL and resume give the identical corpus, SIGTERM and Ctrl-C leave cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
def large(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A recipe of 16 shards, its undisturbed build, and how long the building part of that took."""
    root = tmp_path_factory.mktemp("large")
    recipe = write_recipe(root / "recipe.yaml", clips_dir, streams=480, shards=16, scene={"events": [3, 8]})
    begun = time.monotonic()
    build(recipe, root / "out", executor="inline")
    return recipe, root / "out", time.monotonic() - begun


def wait_for_build(out: Path) -> None:
    deadline = time.monotonic() + 60
    while not (out / "build.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_ten_sigkills_at_seeded_moments_then_resume_give_the_identical_corpus(
    large: tuple[Path, Path, float], tmp_path: Path
) -> None:
    recipe, undisturbed, seconds = large
    out = tmp_path / "out"
    killed = 0
    for share in np.random.default_rng(2026).uniform(0.02, 0.6, 10):
        process = start(recipe, out, "--executor", "inline")
        wait_for_build(out)
        time.sleep(share * seconds)
        killed += process.poll() is None
        process.kill()
        process.communicate()
        for manifest in BuildDir(out).manifests():
            assert (out / "data" / manifest.tar).stat().st_size == manifest.bytes
        if killed and len(BuildDir(out).manifests()) >= 12:  # nearly done: begin again, so that all kills hit a build at work
            out.rename(tmp_path / f"old-{share:.6f}")
    assert killed == 10
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)
    assert verify(out).ok
    assert list((out / "_tmp").iterdir()) == []
    for old in tmp_path.glob("old-*"):
        build(recipe, old, executor="inline")
        assert corpus(old) == corpus(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_exits_130_within_ten_seconds_and_resumes(
    large: tuple[Path, Path, float], tmp_path: Path, number: signal.Signals
) -> None:
    recipe, undisturbed, seconds = large
    out = tmp_path / "out"
    process = start(recipe, out, "--executor", "inline")
    wait_for_build(out)
    time.sleep(0.3 * seconds)
    process.send_signal(number)
    begun = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - begun < 10
    assert "interrupted" in told and "Traceback" not in told
    assert list((out / "_tmp").iterdir()) == []
    build(recipe, out, executor="inline")
    assert corpus(out) == corpus(undisturbed)
