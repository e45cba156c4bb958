"""A run on disk: `run.json` says what is being asked of whom, `predictions.jsonl` has a line for every answer.

A line is written and synced when its answer is there, so kill -9 loses at most what was under way; half a line at the end is
cut off by the next run, which asks only what is not there. A run of another model or set is refused, not mixed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from soundflow.bench.harness.rows import read_rows
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, canonical_json

RECORD: Final = "run.json"
PREDICTIONS: Final = "predictions.jsonl"
RECORD_VERSION: Final = 1


class Predictions:
    """The predictions of one run. Use as a context manager; one process at a time."""

    def __init__(self, directory: Path, about: Mapping[str, Any]):
        """`about`: what the answers depend on; JSON. Raises InputError when the directory holds another run."""
        self.directory = directory
        self._about = {"version": RECORD_VERSION, **about}
        self._file: BinaryIO | None = None
        self.done: dict[str, dict[str, Any]] = {}
        """Id → row."""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / PREDICTIONS
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InputError(
                "another process is writing this run", file=self.directory, remedy="Wait for it, or stop it"
            ) from None
        try:
            self._same_run()
            self._cut_torn_line(path)
            self.done = {row.text("id"): dict(row.values) for row in read_rows(path)}
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows that belong together. OSError when the disk is full: none of them is kept then.

        Killed in mid-write some may be there and others not; asked again, those that are there stay as they are.
        """
        if self._file is None:
            raise RuntimeError("Predictions is used inside `with`")
        fresh = [dict(row) for row in rows if row["id"] not in self.done]
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in fresh))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise
        self.done |= {row["id"]: row for row in fresh}

    def _same_run(self) -> None:
        path = self.directory / RECORD
        if not path.is_file():
            if self._file is not None and self._file.seek(0, os.SEEK_END):
                raise InputError("has predictions but no run.json", file=self.directory, remedy="Name a new directory")
            write_atomic(path, json.dumps(self._about, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
            return
        before = read_record(self.directory)
        if canonical_json(before) != canonical_json(self._about):
            names = sorted(name for name in before.keys() | self._about.keys() if before.get(name) != self._about.get(name))
            remedy = "Name a new directory with -o, or repeat the first run's options"
            raise InputError(f"holds a run with another {', '.join(names)}", file=self.directory, remedy=remedy)

    def _cut_torn_line(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if self._file is not None and whole < len(data):
            self._file.truncate(whole)


def read_record(directory: Path) -> dict[str, Any]:
    """A run's run.json; InputError when there is none or it is damaged."""
    path = directory / RECORD
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("is no run (no run.json)", file=directory, remedy="Name a directory `soundflow bench` made") from None
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", file=path, remedy="Run again into a new directory") from None
    if not isinstance(document, dict):
        raise InputError("is not a JSON object", file=path, remedy="Run again into a new directory")
    return document
