"""Atomic checkpoints of safetensors and JSON: written to a temporary directory, synced, renamed.

Each process writes its own part of the tensors. Nothing in a checkpoint is executed when it is read, and every file is compared
with its SHA-256 first, so that a damaged checkpoint is never resumed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from soundflow.schemas.atomic_file import atomic_folder, reset_mode, sync
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.checksums import check_sha256, sha256_of
from soundflow.schemas.documents import parse_json
from soundflow.schemas.regular_file import read_regular
from soundflow.training.distributed import Processes
from soundflow.training.loader import Position
from soundflow.training.objective import DualLoss

STATE: Final = "state.json"
DAMAGED_REMEDY: Final = "Delete the directory of this checkpoint to resume from the previous one, or start another run with -o"


class CheckpointFile(Schema):
    """A file of a checkpoint."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class TrainState(Schema):
    """The state of training besides the tensors."""

    format: Literal["soundflow.train/2"] = "soundflow.train/2"
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
    files: dict[str, CheckpointFile] = Field(default_factory=dict)
    """Every other file of the checkpoint, by name."""
    sha256: str = ""
    """SHA-256 (hex) of the canonical JSON of this state, where this field is empty."""

    def digest(self) -> str:
        """Return the value that `sha256` must have."""
        return hashlib.sha256(self.model_copy(update={"sha256": ""}).canonical_json()).hexdigest()


class Checkpoints:
    """The newest `keep` checkpoints of a run, `RUN/checkpoints/step-NNNNNN`."""

    def __init__(self, folder: Path, keep: int, processes: Processes):
        self.folder, self.keep, self.processes = folder, keep, processes

    def steps(self) -> list[int]:
        """Return the steps with a complete checkpoint, increasing. One with missing or short files is logged and skipped.

        Raises InputError for a state.json that is damaged or of a format that this version does not read.
        """
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*") if _is_complete(path))

    def save(self, objective: DualLoss, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        """Write a checkpoint atomically and delete old ones. Raises OSError, in every process, if it cannot be written."""
        place = self.folder / f"step-{state.step:06d}"
        aside = self.folder / f"_tmp-step-{state.step:06d}"
        if self.processes.is_first:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.processes.barrier()
        self._check_written(aside, place, _write_tensors(aside / self._part(), objective, optimizer))
        self._check_written(aside, place, _write_state(aside, state) if self.processes.is_first else "")
        if self.processes.is_first:
            _remove(place)
            aside.replace(place)
            sync(self.folder)
            for step in self.steps()[: -self.keep]:
                _remove(self.folder / f"step-{step:06d}")
        self.processes.barrier()

    def load(self, objective: DualLoss, optimizer: torch.optim.Optimizer) -> TrainState | None:
        """Restore model, optimizer and random generator from the newest checkpoint; return None if there is none.

        Raises InputError, with the name of the file, for a checkpoint that is damaged or belongs to another model.
        """
        steps = self.steps()
        if not steps:
            return None
        place = self.folder / f"step-{steps[-1]:06d}"
        state = _read_state(place / STATE)
        path = place / self._part()
        if path.name not in state.files:
            raise InputError("is not listed in state.json", file=path, remedy=DAMAGED_REMEDY)
        check_sha256(path, state.files[path.name].sha256, DAMAGED_REMEDY)
        tensors = _tensors(objective, optimizer)
        try:
            _fill(_flat(tensors), load_file(path))
        except (SafetensorError, ValueError) as error:
            raise InputError(f"is damaged or belongs to another model: {error}", file=path, remedy=DAMAGED_REMEDY) from None
        set_model_state_dict(objective, tensors["model"])
        set_optimizer_state_dict(objective, optimizer, tensors["optimizer"])
        torch.set_rng_state(tensors["rng"])
        return state

    def _part(self) -> str:
        return f"tensors-{self.processes.rank:05d}.safetensors"

    def _check_written(self, aside: Path, place: Path, failure: str) -> None:
        """Raise OSError in every process if one reports a failure."""
        if self.processes.sums([float(bool(failure))])[0]:
            free = shutil.disk_usage(self.folder).free
            shutil.rmtree(aside, ignore_errors=True)
            why = failure or "another process could not write its part"
            raise OSError(errno.EIO, f"the checkpoint could not be written ({free:,} bytes are free): {why}", str(place))


def export(objective: DualLoss, directory: Path, processes: Processes) -> None:
    """Gather the model from all processes and write it as a transformers directory."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    gathered: dict[str, Any] = get_model_state_dict(objective, options=options)
    state = {name.removeprefix("model."): value for name, value in gathered.items()}
    if processes.is_first:
        with atomic_folder(directory, replace=True, durable=True) as aside:
            objective.model.save(aside, state)
    processes.barrier()


def _tensors(objective: DualLoss, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return everything that training changes; the settings of the optimizer come from the stage."""
    return {
        "model": get_model_state_dict(objective),
        "optimizer": get_optimizer_state_dict(objective, optimizer),
        "rng": torch.get_rng_state(),
    }


def _flat(tensors: dict[str, Any]) -> dict[str, Tensor]:
    """Return the part of each tensor that this process holds, by a name that is unique in the checkpoint."""
    flat: dict[str, Any] = {f"model/{name}": value for name, value in tensors["model"].items()}
    for parameter, values in tensors["optimizer"]["state"].items():
        flat |= {f"optimizer/{parameter}/{name}": value for name, value in values.items()}
    flat["rng"] = tensors["rng"]
    return {name: value.to_local() if isinstance(value, DTensor) else value for name, value in flat.items()}


def _fill(tensors: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    """Copy saved tensors into `tensors`. Raises ValueError unless names, shapes and dtypes are equal."""
    if different := sorted(tensors.keys() ^ saved.keys()):
        raise ValueError(f"{different[0]} is {'missing' if different[0] in tensors else 'unknown'}")
    for name, value in tensors.items():
        if (value.shape, value.dtype) != (saved[name].shape, saved[name].dtype):
            found, due = (f"{one.dtype} {tuple(one.shape)}" for one in (saved[name], value))
            raise ValueError(f"{name} is {found} instead of {due}")
    with torch.no_grad():
        for name, value in tensors.items():
            value.copy_(saved[name])


def _write_tensors(path: Path, objective: DualLoss, optimizer: torch.optim.Optimizer) -> str:
    """Write the tensors of this process; return why that failed, or nothing."""
    try:
        save_file({name: value.contiguous() for name, value in _flat(_tensors(objective, optimizer)).items()}, path)
        reset_mode(path)
        sync(path)
    except (SafetensorError, OSError) as error:  # its own type for errors of the system such as a full disk
        return str(error).strip().split("\n")[0] or type(error).__name__
    return ""


def _write_state(folder: Path, state: TrainState) -> str:
    """Write state.json about the other files of `folder`; return why that failed, or nothing."""
    try:
        files = {path.name: CheckpointFile(bytes=path.stat().st_size, sha256=sha256_of(path)) for path in folder.iterdir()}
        state = state.model_copy(update={"files": files})
        (folder / STATE).write_bytes(state.model_copy(update={"sha256": state.digest()}).canonical_json())
        for path in (folder / STATE, folder):
            sync(path)
    except OSError as error:
        return str(error)
    return ""


def _remove(checkpoint: Path) -> None:
    """Delete a checkpoint. Its state goes first, so that the remains of an interrupted deletion do not count."""
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def _read_state(path: Path) -> TrainState:
    """Read state.json. Raises InputError if a byte of it has changed, and OSError."""
    data = read_regular(path)
    document = parse_json(data, file=path, remedy=DAMAGED_REMEDY)
    if isinstance(document, dict) and document.get("format") == "soundflow.train/1":
        why = "was written by an earlier version as Python pickles, which can execute code and are no longer read"
        remedy = "Finish the run with that version, or start another run (-o) from the weights in RUN/model"
        raise InputError(why, file=path.parent, remedy=remedy)
    try:
        state = TrainState.from_json(data, file=path)
    except InputError as error:
        raise InputError(f"the checkpoint is damaged: {error.why}", file=path, field=error.field, remedy=DAMAGED_REMEDY) from None
    if state.digest() != state.sha256 or state.canonical_json() != data:
        why = "the checkpoint is damaged: the SHA-256 of this file differs from the recorded one"
        raise InputError(why, file=path, remedy=DAMAGED_REMEDY)
    return state


def _is_complete(checkpoint: Path) -> bool:
    path = checkpoint / STATE
    if not path.is_file():
        return False
    try:
        sizes = {name: described.bytes for name, described in _read_state(path).files.items()}
        short = [name for name, size in sizes.items() if (checkpoint / name).stat().st_size != size]
    except OSError as error:
        short = [str(error)]
    if short:
        logging.getLogger(__name__).warning("checkpoint %s is damaged and skipped: %s", checkpoint, short[0])
    return not short
