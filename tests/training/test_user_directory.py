"""`train` in a directory with modules named like our rooms: loader processes and torchrun included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from soundflow.training.corpus import StoredCorpus, text_ids
from tests.support.user_directory import environment, user_directory
from tests.training.world import pico, stage

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1")


def test_training_runs_beside_modules_with_our_names(built: Path, tmp_path: Path) -> None:
    directory = user_directory(tmp_path / "user")
    pico(text_ids(StoredCorpus(built))).save(tmp_path / "model")
    preset = stage(steps=1, effective_batch=1, micro_batch=1).model_dump(mode="json")
    (directory / "stage.yaml").write_text(yaml.safe_dump(preset))
    train = ["-m", "soundflow", "train", str(built), "--stage", "stage.yaml", "--model", str(tmp_path / "model")]
    command = [sys.executable, *TORCHRUN, *train, "-o", "run", "--workers", "1", "--json"]
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 1
    assert (directory / "run" / "model" / "config.json").is_file()
