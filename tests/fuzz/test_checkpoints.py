"""Checkpoints of runs and of models: a changed byte is refused, whatever it is in."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import InputError
from soundflow.training.distributed import Processes
from soundflow.training.trainer import Trainer
from tests.fuzz.harness import throw
from tests.fuzz.mutations import damaged_bytes
from tests.training.made import MadeCorpus, some_corpus
from tests.training.world import save_pico, stage

pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm
CPU = Processes(torch.device("cpu"))


@pytest.fixture(scope="module")
def source() -> MadeCorpus:
    return some_corpus(shards=1, streams=2, longest=3)


@pytest.fixture(scope="module")
def run(source: MadeCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    Trainer(stage(steps=2), source, save_pico(folder / "start", source), folder / "run", CPU).train()
    return folder


def _damage(folder: Path, rng: random.Random) -> tuple[Path, bytes]:
    """Damage one file of a folder; return its path and its bytes before."""
    path = rng.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    whole = path.read_bytes()
    damaged = damaged_bytes(whole, rng, header=rng.choice((100, len(whole))))
    path.write_bytes(damaged if damaged != whole else whole[:-1])
    return path, whole


def test_checkpoints_of_models(run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(run / "run" / "model", tmp_path / "model"))

    def attempt(rng: random.Random) -> str:
        path, whole = _damage(model, rng)
        try:
            with pytest.raises(InputError) as refused:
                StreamingThinker.load(model)
            assert str(model) in str(refused.value)
            return "named error"
        finally:
            path.write_bytes(whole)

    throw("checkpoints of models", 40, attempt)
    StreamingThinker.load(model)


def test_checkpoints_of_runs(source: MadeCorpus, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run / "run", tmp_path / "run"))

    def resume() -> int:
        """Return the step that a run would continue from."""
        trainer = Trainer(stage(steps=2), source, run / "start", copy, CPU)
        assert trainer._lock is not None
        trainer._lock.close()
        return trainer.state.step

    def attempt(rng: random.Random) -> str:
        path, whole = _damage(copy / "checkpoints" / "step-000002", rng)
        try:
            assert resume() == 0
            return "skipped with a warning"  # a file that has lost its end: an earlier checkpoint would be resumed
        except InputError as refused:
            assert str(copy) in str(refused)
            return "named error"
        finally:
            path.write_bytes(whole)

    assert throw("checkpoints of runs", 40, attempt)["named error"] > 20
    assert resume() == 2
