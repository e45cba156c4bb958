"""`soundflow model`, `train` and `evaluate` as a user types them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from soundflow.cli import app
from tests.support import ROOT

STAGE = {
    "name": "quick",
    "trainable": ["adapter", "lm"],
    "learning_rate": 1e-3,
    "steps": 4,
    "effective_batch": 2,
    "micro_batch": 2,
    "window_chunks": 8,
    "save_every": 100,
    "log_every": 1,
}


def run(*arguments: object, code: int = 0) -> str:
    """A command in this process (torch need not be loaded again): its stdout, or what it complains about."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        app.main([str(argument) for argument in arguments])
    assert stopped.value.code == code, err.getvalue()
    return err.getvalue() if code else out.getvalue()


@pytest.fixture(scope="module")
def world(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/ and stage.yaml."""
    root = tmp_path_factory.mktemp("train")
    (root / "stage.yaml").write_text(yaml.safe_dump(STAGE))
    made = json.loads(run("model", "init", "nano", "--corpus", built, "-o", root / "model", "--json"))
    assert 1e6 < made["parameters"] < 1.4e6 and made["layout"] == "soundflow/1"
    return root


def train(world: Path, built: Path, out: str) -> list[object]:
    return ["train", built, "--stage", world / "stage.yaml", "--model", world / "model", "-o", world / out, "--json"]


def test_a_stage_that_is_told_to_stop_resumes_and_its_model_is_evaluated(world: Path, built: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "soundflow", *map(str, train(world, built, "run"))],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = world / "run" / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "same command again to resume" in stderr
    stopped = log.read_bytes().count(b"\n")
    assert 1 <= stopped < 4 and (world / "run" / "report.html").is_file()
    result: dict[str, Any] = json.loads(run(*train(world, built, "run")))
    assert result["steps"] == 4 and result["log"]["step"] == 4
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4]
    page = json.loads(run("report", world / "run", "-o", world / "page.html", "--json"))["report"]
    assert "quick" in Path(page).read_text(encoding="utf-8")
    figures = json.loads(run("evaluate", result["model"], built, "--streams", 1, "--threshold", 99, "--json"))
    assert (figures["recall"], figures["triggers"], figures["streams"], figures["within"]) == (0.0, 0, 1, 2)


def test_mistakes_are_told_in_a_sentence(world: Path, built: Path, tmp_path: Path) -> None:
    assert "unknown preset" in run("train", built, "--stage", "7", "--model", world / "model", "-o", tmp_path / "run", code=2)
    assert "is not a checkpoint" in run("train", built, "--stage", "cpu/1", "--model", tmp_path, "-o", tmp_path / "run", code=2)
    assert "exists already" in run("model", "init", "nano", "--corpus", built, "-o", world / "model", code=2)
    assert "takes its vocabulary from corpora" in run("model", "init", "nano", "-o", tmp_path / "m", code=2)


def test_the_real_shapes_are_estimated_without_a_gpu() -> None:
    stages = json.loads(run("model", "estimate", "3b", "--processes", 32, "--json"))
    assert [stage["stage"] for stage in stages] == ["stage-1", "stage-2", "stage-3", "stage-4"]
    assert stages[1]["moving"] == 2_623_488


@pytest.mark.parametrize(("dtype", "precision"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_the_type_that_is_chosen_is_the_precision_of_the_run(
    world: Path, built: Path, dtype: str, precision: str, tmp_path: Path
) -> None:
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(STAGE | {"steps": 1, "precision": "fp32"}))
    start = ["train", built, "--stage", tmp_path / "stage.yaml", "--model", world / "model", "-o", tmp_path / "run"]
    run(*start, "--device", "cpu", "--dtype", dtype)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stage"]["precision"] == precision
    figures = json.loads(run("evaluate", tmp_path / "run" / "model", built, "--streams", 1, "--dtype", dtype, "--json"))
    assert figures["streams"] == 1


MISSING = [("--device", "cuda:99", "there is no such GPU"), ("--device", "gpu", "unknown device"), ("--dtype", "fp16", "unknown")]


@pytest.mark.parametrize(("option", "value", "why"), MISSING)
def test_a_device_or_type_that_is_not_there_is_named(world: Path, built: Path, option: str, value: str, why: str) -> None:
    commands = (train(world, built, "never"), ["evaluate", world / "model", built], ["bench", "analyse", world / "model", built])
    for command in commands:
        assert f"{option}: {why}" in run(*command, option, value, code=2)
    assert not (world / "never").exists()
