"""A run resumes bit for bit, however it ended."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from soundflow.schemas.atomic_file import TEMPORARY
from soundflow.schemas.base import InputError, Interrupted
from soundflow.training.config import StageConfig, load_stage
from soundflow.training.corpus import text_ids
from soundflow.training.distributed import Processes
from soundflow.training.logs import read_log
from soundflow.training.metrics import StepLog
from soundflow.training.trainer import Trainer, learning_rate
from tests.support import ROOT
from tests.training.made import MadeCorpus, some_corpus
from tests.training.world import pico, save_pico, stage

CPU = Processes(torch.device("cpu"))
TIMES = {"tokens_per_second", "mfu", "seconds"}


@pytest.fixture(scope="module")
def source() -> MadeCorpus:
    return some_corpus(shards=2, streams=3, longest=4)


@pytest.fixture(scope="module")
def start(source: MadeCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pico(tmp_path_factory.mktemp("start") / "model", source)


@pytest.fixture(scope="module")
def finished(source: MadeCorpus, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run nothing disturbed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    Trainer(stage(), source, start, run, CPU, seed=3).train()
    return run


def curve(run: Path) -> list[dict[str, object]]:
    return [line.model_dump(exclude=TIMES) for line in read_log(run)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def assert_same(left: Path, right: Path) -> None:
    assert curve(left) == curve(right)
    one, two = weights(left), weights(right)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_learns_and_leaves_a_model_and_a_log(finished: Path) -> None:
    lines = read_log(finished)
    assert [line.step for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1].l_stream is not None and lines[0].l_stream is not None and lines[-1].l_stream < lines[0].l_stream
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"step-000004", "step-000006"}
    assert (finished / "model" / "config.json").is_file() and list((finished / "tensorboard").iterdir())


@pytest.mark.parametrize("stopped_after", [1, 2, 5])
def test_a_stopped_run_resumes_as_if_it_had_not_been_stopped(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path, stopped_after: int
) -> None:
    seen: list[StepLog] = []
    run = tmp_path / "run"
    trainer = Trainer(
        stage(), source, start, run, CPU, seed=3, on_step=seen.append, should_stop=lambda: len(seen) >= stopped_after
    )
    with pytest.raises(Interrupted):
        trainer.train()
    assert len(read_log(run)) == stopped_after
    Trainer(stage(), source, start, run, CPU, seed=3).train()
    assert_same(run, finished)


def test_a_checkpoint_between_two_lines_of_the_log_loses_no_figures(source: MadeCorpus, start: Path, tmp_path: Path) -> None:
    """A checkpoint between two lines keeps the sums of the line to come."""
    config = stage(log_every=3, save_every=2, steps=6)
    Trainer(config, source, start, tmp_path / "whole", CPU).train()
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        Trainer(config, source, start, tmp_path / "cut", CPU, should_stop=lambda: next(asked)).train()
    Trainer(config, source, start, tmp_path / "cut", CPU).train()
    assert_same(tmp_path / "cut", tmp_path / "whole")


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_on_two_threads_too_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Batches of more than a thousand tokens: torch adds up smaller ones on one thread anyway."""
    long = some_corpus(shards=1, streams=8, longest=40)
    start = save_pico(tmp_path / "start", long)
    config = stage(steps=2, effective_batch=8, micro_batch=8)
    Trainer(config, long, start, tmp_path / "whole", CPU).train()
    assert read_log(tmp_path / "whole")[0].tokens > 1024
    asked = iter([True])
    with pytest.raises(Interrupted):
        Trainer(config, long, start, tmp_path / "cut", CPU, should_stop=lambda: next(asked)).train()
    Trainer(config, long, start, tmp_path / "cut", CPU).train()
    assert_same(tmp_path / "cut", tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
import torch
from tests.training.made import some_corpus
from tests.training.world import stage
from soundflow.training.distributed import Processes
from soundflow.training.trainer import Trainer
start, run = map(Path, sys.argv[1:])
def on_step(line):
    print(line.step, flush=True)
    time.sleep(0.1)
source = some_corpus(shards=2, streams=3, longest=4)
Trainer(stage(), source, start, run, Processes(torch.device("cpu")), seed=3, on_step=on_step).train()
"""


def test_a_run_killed_again_and_again_gives_the_same_losses_and_weights(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path
) -> None:
    """At any moment, also while a checkpoint is written: where the kill falls may differ, what comes out may not."""
    run = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, str(start), str(run)]
    for delay in np.random.default_rng(1).uniform(0, 0.5, 2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        assert process.stdout is not None and process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    Trainer(stage(), source, start, run, CPU, seed=3).train()
    assert_same(run, finished)


def test_half_a_checkpoint_does_not_count(source: MadeCorpus, start: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        Trainer(stage(), source, start, run, CPU, seed=3, should_stop=lambda: next(asked)).train()
    (run / "checkpoints" / "step-000003" / "state.json").unlink()
    (run / "checkpoints" / "_tmp-step-000004").mkdir()
    with (run / "log.jsonl").open("ab") as log:
        log.write(b'{"step":4,"l_lm"')
    Trainer(stage(), source, start, run, CPU, seed=3).train()
    assert_same(run, finished)


def test_a_truncated_checkpoint_is_logged_and_the_previous_one_is_used(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "model")
    tensors = run / "checkpoints" / "step-000006" / "tensors-00000.safetensors"
    tensors.write_bytes(tensors.read_bytes()[: tensors.stat().st_size // 2])
    result = Trainer(stage(), source, start, run, CPU, seed=3).train()
    assert result.log is not None and "step-000006 is damaged and skipped" in caplog.text
    assert_same(run, finished)


def test_an_unreadable_checkpoint_is_reported_without_a_traceback(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    tensors = run / "checkpoints" / "step-000006" / "tensors-00000.safetensors"
    tensors.write_bytes(bytes(tensors.stat().st_size))
    with pytest.raises(InputError, match=r"step-000006/tensors-00000.safetensors: the checkpoint is damaged: .*Delete") as caught:
        Trainer(stage(), source, start, run, CPU, seed=3)
    assert "Traceback" not in str(caught.value)


def test_a_full_disk_ends_a_run_that_resumes_when_there_is_space(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path
) -> None:
    """A limit on the size of a file is a disk that is full in the middle of a checkpoint."""
    run = tmp_path / "run"
    largest = (finished / "checkpoints" / "step-000006" / "tensors-00000.safetensors").stat().st_size // 2
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        trainer = Trainer(stage(), source, start, run, CPU, seed=3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
        with pytest.raises(OSError, match="the checkpoint could not be written") as caught:
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "step-000002" in str(caught.value) and not list((run / "checkpoints").iterdir())
    Trainer(stage(), source, start, run, CPU, seed=3).train()
    assert_same(run, finished)


def test_a_second_training_in_the_same_directory_is_refused(
    source: MadeCorpus, start: Path, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = Trainer(stage(), source, start, run, CPU, seed=3)
    with pytest.raises(InputError, match="another process is training here"):
        Trainer(stage(), source, start, run, CPU, seed=3)
    first.train()
    assert_same(run, finished)
    Trainer(stage(), source, start, run, CPU, seed=3).train()


def test_a_run_that_was_killed_before_it_said_what_it_is_begins_again(source: MadeCorpus, start: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / f"{TEMPORARY}0").write_bytes(b'{"corp')
    assert Trainer(stage(steps=1), source, start, run, CPU).train().steps == 1


def test_a_finished_run_is_not_trained_again(source: MadeCorpus, start: Path, finished: Path) -> None:
    before = curve(finished)
    result = Trainer(stage(), source, start, finished, CPU, seed=3).train()
    assert result.steps == 6 and result.log is None and curve(finished) == before


@pytest.mark.parametrize(
    ("change", "message"), [({"steps": 7}, "stage"), ({"learning_rate": 0.5}, "stage"), ({"loss_weight": 2.0}, "stage")]
)
def test_a_directory_of_another_run_is_refused(
    source: MadeCorpus, start: Path, finished: Path, change: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=rf"contains another run; {message}: .*-o"):
        Trainer(stage(**change), source, start, finished, CPU, seed=3)


def test_an_invalid_model_leaves_no_run_directory_behind(source: MadeCorpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint"):
        Trainer(stage(), source, tmp_path, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_directory_with_other_files_is_left_alone(source: MadeCorpus, start: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and not a run"):
        Trainer(stage(), source, start, tmp_path, CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_gradient_that_is_not_finite_ends_the_run_before_a_checkpoint(source: MadeCorpus, tmp_path: Path) -> None:
    broken = pico(text_ids(source))
    with torch.no_grad():
        broken.lm_head.weight[3] = torch.inf
    broken.save(tmp_path / "model")
    with pytest.raises(InputError, match="learning_rate: the gradient of step 1 is not finite"):
        Trainer(stage(), source, tmp_path / "model", tmp_path / "run", CPU).train()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_accumulated_steps_are_the_steps_of_one_large_batch(start: Path, tmp_path: Path) -> None:
    four = some_corpus(shards=1, streams=4, longest=4)
    lines = []
    for micro_batch in (4, 2, 1):
        config = stage(effective_batch=4, micro_batch=micro_batch, steps=1)
        run = tmp_path / str(micro_batch)
        Trainer(config, four, start, run, CPU).train()
        lines += read_log(run)
    for line in lines:
        assert (line.windows, line.tokens) == (4, lines[0].tokens)
        for name in ("l_lm", "l_stream", "grad_norm"):
            assert getattr(line, name) == pytest.approx(getattr(lines[0], name), rel=1e-4)


def test_packed_and_padded_steps_are_the_same(source: MadeCorpus, start: Path, tmp_path: Path) -> None:
    for name in ("pad", "pack"):
        Trainer(stage(steps=2, packing=name == "pack"), source, start, tmp_path / name, CPU).train()
    for left, right in zip(read_log(tmp_path / "pad"), read_log(tmp_path / "pack"), strict=True):
        assert left.l_stream == pytest.approx(right.l_stream, rel=1e-4) and left.l_lm == pytest.approx(right.l_lm, rel=1e-4)


def test_bf16_trains_with_similar_losses(source: MadeCorpus, start: Path, finished: Path, tmp_path: Path) -> None:
    Trainer(stage(precision="bf16", checkpointing=True), source, start, tmp_path / "run", CPU, seed=3).train()
    for half, whole in zip(read_log(tmp_path / "run")[:3], read_log(finished), strict=False):
        assert half.l_stream == pytest.approx(whole.l_stream, rel=0.05)


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    config = stage(steps=100, warmup_ratio=0.1, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and rates[99] < 1e-3
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)


PAPER = {  # Tab. hyper: trainable modules, steps, batch per GPU, accumulation, effective batch, learning rate
    "1": (("lm_head", "new_tokens"), 5_000, 8, 2, 512, 1e-4),
    "2": (("adapter",), 20_000, 8, 4, 1024, 1e-4),
    "3": (("adapter", "lm"), 80_000, 4, 8, 1024, 5e-5),
    "4": (("adapter", "lm"), 15_000, 2, 16, 1024, 1e-5),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_presets_are_the_papers_table(name: str) -> None:
    preset = load_stage(name)
    found = (
        preset.trainable,
        preset.steps,
        preset.micro_batch,
        preset.accumulation(32),
        preset.effective_batch,
        preset.learning_rate,
    )
    assert found == PAPER[name]
    common = (preset.loss_weight, preset.warmup_ratio, preset.betas, preset.epsilon, preset.weight_decay, preset.max_grad_norm)
    assert common == (1.0, 0.03, (0.9, 0.95), 1e-8, 0.01, 1.0)
    assert (preset.precision, preset.checkpointing, preset.window_chunks) == ("bf16", True, 60)


def test_the_deepspeed_configuration_is_stage_3_of_the_same_table() -> None:
    config = json.loads((ROOT / "deploy" / "deepspeed_zero2.json").read_bytes())
    preset = load_stage("3")
    assert config["zero_optimization"]["stage"] == 2 and config["bf16"]["enabled"]
    assert config["train_micro_batch_size_per_gpu"] == preset.micro_batch
    assert (
        config["gradient_accumulation_steps"] == preset.accumulation(32) and config["gradient_clipping"] == preset.max_grad_norm
    )
    expected = {"lr": preset.learning_rate, "betas": [*preset.betas], "eps": preset.epsilon, "weight_decay": preset.weight_decay}
    assert config["optimizer"] == {"type": "AdamW", "params": expected}
    steps = config["scheduler"]["params"]
    assert (steps["total_num_steps"], steps["warmup_num_steps"]) == (preset.steps, round(preset.warmup_ratio * preset.steps))


def test_a_batch_that_cannot_be_divided_is_reported() -> None:
    with pytest.raises(InputError, match=r"effective_batch: is not a multiple of 2 \(micro_batch\) x 3 \(processes\)"):
        StageConfig.model_validate(stage().model_dump() | {"effective_batch": 8}).accumulation(3)


@pytest.mark.parametrize("betas", [[1.5, 0.9], [0.9, 1], [-0.1, 0.9], [math.nan, 0.9], [0.9]])
def test_invalid_betas_are_reported_with_the_file(tmp_path: Path, betas: list[float]) -> None:
    path = tmp_path / "stage.yaml"
    path.write_text(yaml.safe_dump(stage().model_dump(mode="json") | {"betas": betas}))
    with pytest.raises(InputError, match="betas"):
        load_stage(path)


def test_an_unknown_stage_is_reported() -> None:
    with pytest.raises(InputError, match=r"unknown preset .*Presets: .*1, .*cpu"):
        load_stage("9")
