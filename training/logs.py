"""RUN/log.jsonl and TensorBoard. Resuming removes the lines after the checkpoint."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.training.metrics import StepLog


class RunLog:
    """Appends lines to the log. A line is complete or missing."""

    def __init__(self, run: Path, step: int):
        """Open the log of a run, keeping the lines up to `step`, the step of the checkpoint."""
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "log.jsonl"
        kept = [line for line in read_log(run) if line.step <= step]
        write_atomic(self.path, (line.canonical_json() + b"\n" for line in kept))
        self._stream = self.path.open("ab", buffering=0)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, line: StepLog) -> None:
        """Append a line and add its figures to TensorBoard. Raises OSError on a full disk."""
        data = line.canonical_json() + b"\n"
        if self._stream.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        for name, value in line.model_dump(exclude={"step"}).items():
            if value is not None:
                self._board.add_scalar(f"train/{name}", value, line.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
        self._board.close()


def read_log(run: Path) -> list[StepLog]:
    """Return the lines of a run without an incomplete last line, which a killed process leaves."""
    return list(_lines(run / "log.jsonl"))


def _lines(path: Path) -> Iterator[StepLog]:
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines):
        if line:
            try:
                yield StepLog.from_json(line, file=f"{path}:{number + 1}")
            except InputError:
                if number < len(lines) - 1:
                    raise
