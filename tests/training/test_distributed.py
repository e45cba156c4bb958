"""Two processes (gloo, FSDP2) train what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from soundflow.training.distributed import Processes
from soundflow.training.logs import read_log
from soundflow.training.trainer import Trainer
from tests.training.two_processes import ODD, SOURCE, STAGES
from tests.training.world import save_pico

TIMES = {"tokens_per_second", "mfu", "seconds"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """start/ (a model) and two/<stage> (runs of two processes)."""
    root = tmp_path_factory.mktemp("two")
    start = save_pico(root / "start", SOURCE)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "tests.training.two_processes", str(start), str(root / "two")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def alone(world: Path, name: str) -> Path:
    """The same stage by one process, whose micro-batch is as large as both's."""
    run = world / "one" / name
    config = STAGES[name].model_copy(update={"micro_batch": 2 * STAGES[name].micro_batch})
    Trainer(config, SOURCE, world / "start", run, Processes(torch.device("cpu")), seed=3).train()
    return run


@pytest.mark.parametrize("name", ["all", "head", "adapter"])
def test_two_processes_have_the_losses_and_weights_of_one(world: Path, name: str) -> None:
    one, two = alone(world, name), world / "two" / name
    lines = zip(read_log(one), read_log(two), strict=True)
    for left, right in lines:
        assert (left.step, left.windows, left.tokens) == (right.step, right.windows, right.tokens)
        for figure in ("l_lm", "l_stream", "grad_norm", "trigger_recall"):
            assert getattr(right, figure) == pytest.approx(getattr(left, figure), rel=1e-3, abs=1e-6), figure
    start, mine, theirs = (load_file(path / "model.safetensors") for path in (world / "start", one / "model", two / "model"))
    for key, value in mine.items():
        torch.testing.assert_close(theirs[key], value, rtol=0, atol=2e-3)
        assert torch.equal(theirs[key], start[key]) == torch.equal(value, start[key]), f"{key} moves in one and not in the other"


def test_two_processes_see_each_sample_exactly_once_an_epoch(world: Path) -> None:
    made = [json.loads((world / "two" / f"made-{rank}.json").read_bytes()) for rank in range(2)]
    seen = Counter(tuple(place) for mine in made for *place, epoch in mine if epoch == 0)
    assert seen == Counter((shard, index, 0) for shard, size in enumerate(ODD.shard_sizes) for index in range(size))
    assert read_log(world / "two" / "epoch")[2].windows == 5, "three steps: one had nothing for the second process"


def test_when_one_process_is_asked_to_stop_both_do_and_go_on_bit_for_bit(world: Path) -> None:
    whole, cut = world / "two" / "all", world / "two" / "cut"
    assert [line.model_dump(exclude=TIMES) for line in read_log(whole)] == [
        line.model_dump(exclude=TIMES) for line in read_log(cut)
    ]
    one, two = (load_file(run / "model" / "model.safetensors") for run in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_half_precision_and_recomputed_activations_run_sharded(world: Path) -> None:
    (line,) = read_log(world / "two" / "bf16")
    (reference, *_) = read_log(world / "two" / "all")
    assert line.l_stream == pytest.approx(reference.l_stream, rel=0.05)
