"""Checkpoints execute no code, and no changed byte of them is resumed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from soundflow.model.checkpoint_files import checkpoint_files
from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import write_sums
from soundflow.training.distributed import Processes
from soundflow.training.trainer import Trainer
from tests.training.made import MadeCorpus, some_corpus
from tests.training.world import save_pico, stage

CPU = Processes(torch.device("cpu"))
TENSORS = "tensors-00000.safetensors"


@pytest.fixture(scope="module")
def source() -> MadeCorpus:
    return some_corpus(shards=1, streams=2, longest=3)


@pytest.fixture(scope="module")
def world(source: MadeCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """start/ (a model) and run/ (a run of two steps with one checkpoint)."""
    root = tmp_path_factory.mktemp("world")
    save_pico(root / "start", source)
    Trainer(stage(steps=2), source, root / "start", root / "run", CPU).train()
    return root


@pytest.fixture
def checkpoint(world: Path, tmp_path: Path) -> Path:
    """The checkpoint of a copy of the run."""
    shutil.copytree(world / "run", tmp_path / "run")
    return tmp_path / "run" / "checkpoints" / "step-000002"


def resume(world: Path, source: MadeCorpus, checkpoint: Path) -> Trainer:
    return Trainer(stage(steps=2), source, world / "start", checkpoint.parent.parent, CPU)


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=oct)
def test_files_of_a_run_honour_the_umask(world: Path, source: MadeCorpus, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Trainer(stage(steps=1), source, world / "start", tmp_path / "run", CPU).train()
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"model.safetensors", TENSORS, "state.json", "log.jsonl", "SHA256SUMS"} <= {path.name for path in files}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {path.name: oct(0o666 & ~umask) for path in files}


def test_the_state_lists_the_sha256_of_every_other_file(checkpoint: Path) -> None:
    listed = json.loads((checkpoint / "state.json").read_bytes())["files"]
    assert set(listed) == {path.name for path in checkpoint.iterdir()} - {"state.json"} == {TENSORS}
    assert listed[TENSORS]["sha256"] == hashlib.sha256((checkpoint / TENSORS).read_bytes()).hexdigest()


@pytest.mark.parametrize("at", [0.0, 0.01, 0.3, 0.6, 0.9, 1.0])
def test_a_flipped_bit_in_the_tensors_is_refused_with_their_file(
    world: Path, source: MadeCorpus, checkpoint: Path, at: float
) -> None:
    path = checkpoint / TENSORS
    flip(path, int(at * (path.stat().st_size - 1)), bit=2)
    with pytest.raises(InputError, match=f"step-000002/{TENSORS}: the checkpoint is damaged"):
        resume(world, source, checkpoint)


def test_a_flipped_bit_anywhere_in_the_state_is_refused_with_its_file(world: Path, source: MadeCorpus, checkpoint: Path) -> None:
    path = checkpoint / "state.json"
    whole, rng = path.read_bytes(), np.random.default_rng(5)
    for at in rng.choice(len(whole), 40, replace=False):
        flip(path, int(at), bit=int(rng.integers(8)))
        with pytest.raises(InputError, match=r"step-000002/(state\.json|tensors)"):
            resume(world, source, checkpoint)
        path.write_bytes(whole)
    resume(world, source, checkpoint)


def test_the_state_of_a_later_step_is_refused(world: Path, source: MadeCorpus, checkpoint: Path) -> None:
    path = checkpoint / "state.json"
    path.write_text(path.read_text().replace('"tokens":', '"tokens":1', 1))
    with pytest.raises(InputError, match=r"state\.json: the checkpoint is damaged: the SHA-256"):
        resume(world, source, checkpoint)


@pytest.mark.parametrize("change", ["lost", "added", "shape", "dtype"])
def test_tensors_of_another_model_are_refused_also_with_right_hashes(
    world: Path, source: MadeCorpus, checkpoint: Path, change: str
) -> None:
    from soundflow.training.checkpoints import CheckpointFile, TrainState

    tensors = load_file(checkpoint / TENSORS)
    name = next(name for name in tensors if name.startswith("optimizer/") and name.endswith("/exp_avg"))
    if change == "lost":
        del tensors[name]
    elif change == "added":
        tensors["evil"] = torch.zeros(3)
    else:
        tensors[name] = tensors[name][:1].clone() if change == "shape" else tensors[name].half()
    save_file(tensors, checkpoint / TENSORS)
    data = (checkpoint / TENSORS).read_bytes()
    state = TrainState.from_json((checkpoint / "state.json").read_bytes())
    files = {TENSORS: CheckpointFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())}
    state = state.model_copy(update={"files": files})
    (checkpoint / "state.json").write_bytes(state.model_copy(update={"sha256": state.digest()}).canonical_json())
    with pytest.raises(
        InputError, match=f"{TENSORS}: is damaged or belongs to another model: {'evil' if change == 'added' else name}"
    ):
        resume(world, source, checkpoint)


class Evil:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> object:
        return (Path.touch, (self.mark,))


def test_a_pickle_in_a_checkpoint_is_never_loaded(world: Path, source: MadeCorpus, checkpoint: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    evil = pickle.dumps(Evil(mark))
    pickle.loads(evil)
    assert mark.exists(), "the pickle does what this test looks for"
    mark.unlink()
    for name in (".metadata", "__0_0.distcp"):
        (checkpoint / name).write_bytes(evil)
    resume(world, source, checkpoint)
    (checkpoint / TENSORS).write_bytes(evil)
    (checkpoint / "state.json").write_text('{"format":"soundflow.train/1","step":2,"position":{},"files":{".metadata":1}}')
    with pytest.raises(InputError, match=r"step-000002: was written by an earlier version as Python pickles.*-o"):
        resume(world, source, checkpoint)
    assert not mark.exists()


def test_pickled_weights_beside_a_configuration_are_never_loaded(world: Path, tmp_path: Path) -> None:
    from soundflow.model.thinker import StreamingThinker

    model, mark = tmp_path / "model", tmp_path / "executed"
    shutil.copytree(world / "run" / "model", model)
    (model / "model.safetensors").unlink()
    write_sums(model, (path.name for path in checkpoint_files(model)))
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        StreamingThinker.load(model)
    assert not mark.exists()


@pytest.mark.parametrize("member", ["config.json", "model.safetensors", "SHA256SUMS"])
def test_a_flipped_bit_of_a_trained_model_is_refused_with_its_file(world: Path, tmp_path: Path, member: str) -> None:
    from soundflow.model.thinker import StreamingThinker
    from soundflow.streaming.engine import Engine

    model = tmp_path / "model"
    shutil.copytree(world / "run" / "model", model)
    StreamingThinker.load(model)
    whole, rng = (model / member).read_bytes(), np.random.default_rng(8)
    for at in rng.choice(len(whole), 10, replace=False):
        flip(model / member, int(at), bit=int(rng.integers(8)))
        named = "" if member == "SHA256SUMS" else member
        for load in (StreamingThinker.load, lambda path: Engine(path, sessions=1)):
            with pytest.raises(InputError, match=f"{model}/.*{named}: the checkpoint is damaged"):
                load(model)
        (model / member).write_bytes(whole)
    StreamingThinker.load(model)
