"""A run on disk: `run.json` identifies the run, `predictions.jsonl` has one line per answer.

Each answer is written and synced as soon as it arrives, so kill -9 loses at most the requests in progress. The next run truncates
an incomplete last line and requests only the missing answers. A directory that holds a run of another model or set is rejected.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from soundflow.bench.harness.rows import read_rows
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.documents import parse_json
from soundflow.schemas.file_lock import lock

RECORD: Final = "run.json"
PREDICTIONS: Final = "predictions.jsonl"
RECORD_VERSION: Final = 1


class Predictions:
    """The predictions of one run. Use as a context manager; one process at a time."""

    def __init__(self, directory: Path, record: Mapping[str, Any]):
        """`record` holds all that the answers depend on (JSON). Entering raises InputError if the directory holds another run."""
        self.directory = directory
        self._record = {"version": RECORD_VERSION, **record}
        self._file: BinaryIO | None = None
        self.done: dict[str, dict[str, Any]] = {}
        """Id → row."""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / PREDICTIONS
        self._file = path.open("a+b")
        try:
            if not lock(self._file, wait=False):
                remedy = "Wait until it ends, or stop it"
                raise InputError("another process is writing this run", file=self.directory, remedy=remedy)
            self._check_record()
            self._truncate_incomplete_line(path)
            self.done = {row.text("id"): dict(row.values) for row in read_rows(path)}
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of one group. Rows with a known id are skipped: after a kill, part of a group may be on disk.

        Raises OSError if the disk is full; then none of the rows is stored.
        """
        if self._file is None:
            raise RuntimeError("Predictions is not open: use it in a `with` block")
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

    def _check_record(self) -> None:
        path = self.directory / RECORD
        if not path.is_file():
            if self._file is not None and self._file.seek(0, os.SEEK_END):
                raise InputError("contains predictions but no run.json", file=self.directory, remedy="Choose a new directory")
            write_atomic(path, json.dumps(self._record, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
            return
        before = read_record(self.directory)
        if canonical_json(before) != canonical_json(self._record):
            names = sorted(name for name in before.keys() | self._record.keys() if before.get(name) != self._record.get(name))
            remedy = "Choose a new directory with -o, or repeat the options of the first run"
            raise InputError(f"contains a run with another {', '.join(names)}", file=self.directory, remedy=remedy)

    def _truncate_incomplete_line(self, path: Path) -> None:
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if self._file is not None and end < len(data):
            self._file.truncate(end)


def read_record(directory: Path) -> dict[str, Any]:
    """Read run.json of a run; raises InputError if it is missing or damaged."""
    path = directory / RECORD
    try:
        document = parse_json(path.read_bytes(), file=path, remedy="Run again with a new directory")
    except FileNotFoundError:
        raise InputError("contains no run.json", file=directory, remedy="Name a directory that `soundflow bench` wrote") from None
    if not isinstance(document, dict):
        raise InputError("is not a JSON object", file=path, remedy="Run again with a new directory")
    return document
