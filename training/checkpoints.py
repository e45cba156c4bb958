"""Atomic checkpoints: written to a temporary directory, synced, renamed. Each process writes its own part."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from soundflow.schemas.atomic_file import atomic_folder, sync
from soundflow.schemas.base import InputError, Schema
from soundflow.training.distributed import Processes
from soundflow.training.loader import Position
from soundflow.training.objective import DualLoss

STATE: Final = "state.json"


class TrainState(Schema):
    """The state of training besides the tensors."""

    format: str = "soundflow.train/1"
    step: int = Field(ge=0)
    """Completed optimizer steps."""
    position: Position
    """Position of the loader after them."""
    tokens: int = 0
    """Tokens so far, without padding."""
    windows: int = 0
    """Windows so far."""
    since_line: tuple[float, ...] = ()
    """`Sums.values` of the steps since the last line of the log."""
    files: dict[str, int] = Field(default_factory=dict)
    """Size in bytes of every file of the checkpoint, by name."""


class Checkpoints:
    """The newest `keep` checkpoints of a run, `RUN/checkpoints/step-NNNNNN`."""

    def __init__(self, folder: Path, keep: int, processes: Processes):
        self.folder, self.keep, self.processes = folder, keep, processes

    def steps(self) -> list[int]:
        """Return the steps with a complete checkpoint, increasing. A damaged one is logged and skipped."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*") if _is_complete(path))

    def save(self, objective: DualLoss, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        """Write a checkpoint atomically and delete old ones. Raises OSError if it cannot be written."""
        place = self.folder / f"step-{state.step:06d}"
        aside = self.folder / f"_tmp-step-{state.step:06d}"
        if self.processes.is_first:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.processes.barrier()
        try:
            with _without_warning():
                tensors = self._tensors(objective, optimizer)
                state_dict_saver.save(tensors, checkpoint_id=aside, no_dist=self.processes.count == 1)
        except CheckpointException as error:  # whatever went wrong in any process
            free = shutil.disk_usage(self.folder).free
            shutil.rmtree(aside, ignore_errors=True)
            why = f"the checkpoint could not be written ({free:,} bytes are free): {_reason(error)}"
            raise OSError(errno.EIO, why, str(place)) from None
        if self.processes.is_first:
            files = {path.name: path.stat().st_size for path in aside.iterdir()}
            (aside / STATE).write_bytes(state.model_copy(update={"files": files}).canonical_json())
            for path in aside.iterdir():
                sync(path)
            shutil.rmtree(place, ignore_errors=True)
            aside.replace(place)
            sync(self.folder)
            for step in self.steps()[: -self.keep]:
                shutil.rmtree(self.folder / f"step-{step:06d}")
        self.processes.barrier()

    def load(self, objective: DualLoss, optimizer: torch.optim.Optimizer) -> TrainState | None:
        """Restore model, optimizer and random generator from the newest checkpoint; return None if there is none."""
        steps = self.steps()
        if not steps:
            return None
        place = self.folder / f"step-{steps[-1]:06d}"
        state = TrainState.from_json((place / STATE).read_bytes(), file=place / STATE)
        tensors = self._tensors(objective, optimizer)
        try:
            with _without_warning():
                state_dict_loader.load(tensors, checkpoint_id=place, no_dist=self.processes.count == 1)
        except (CheckpointException, RuntimeError, KeyError) as error:
            remedy = "Delete it to resume from the previous checkpoint, or choose another directory with -o"
            raise InputError(f"is damaged or belongs to another model: {_reason(error)}", file=place, remedy=remedy) from None
        set_model_state_dict(objective, tensors["model"])
        set_optimizer_state_dict(objective, optimizer, tensors["optimizer"])
        torch.set_rng_state(tensors["rng"][f"{self.processes.rank}"])
        return state

    def _tensors(self, objective: DualLoss, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        return {
            "model": get_model_state_dict(objective),
            "optimizer": get_optimizer_state_dict(objective, optimizer),
            "rng": {f"{self.processes.rank}": torch.get_rng_state()},
        }


def export(objective: DualLoss, directory: Path, processes: Processes) -> None:
    """Gather the model from all processes and write it as a transformers directory."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    gathered: dict[str, Any] = get_model_state_dict(objective, options=options)
    state = {name.removeprefix("model."): value for name, value in gathered.items()}
    if processes.is_first:
        with atomic_folder(directory, replace=True, durable=True) as aside:
            objective.model.save(aside, state)
    processes.barrier()


def _is_complete(checkpoint: Path) -> bool:
    path = checkpoint / STATE
    if not path.is_file():
        return False
    try:
        files = TrainState.from_json(path.read_bytes(), file=path).files
        short = [name for name, size in files.items() if (checkpoint / name).stat().st_size != size]
    except (InputError, OSError) as error:
        short = [str(error)]
    if short:
        logging.getLogger(__name__).warning("checkpoint %s is damaged and skipped: %s", checkpoint, short[0])
    return not short


def _reason(error: BaseException) -> str:
    """Return the first line of the cause, without the tracebacks that torch adds."""
    causes = [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
    return str(causes[0]).strip().split("\n")[0] or type(causes[0]).__name__


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Suppress torch's warning that a single process saves without torch.distributed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
