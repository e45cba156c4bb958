"""Shared parts of the public benchmarks: items, prompts in text or speech, figures, recordings inside parquet files."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from soundflow.bench.harness.rows import Row, read_rows, unique_rows, unreadable_parquet
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import rng_for

RESAMPLES: Final = 1000
NO_FILES: Final = "contains no file of this benchmark"


class Mode(StrEnum):
    """Form of the instruction and of questions."""

    TEXT = "text"
    """In text; a question that is a recording is replaced by its text."""
    AUDIO = "audio"
    """In speech."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A recording in a cell of a parquet file, in the form of Hugging Face: {bytes, path}."""

    file: Path
    row: int
    """From 1."""
    column: str

    def read(self) -> bytes:
        """Read the bytes of the audio file; raises InputError if there are none."""
        group, place = _place(self.file, self.row)
        cell = _group(self.file, group, self.column)[place]
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            remedy = "Download the parquet file that contains the recordings"
            raise InputError("contains no audio", file=f"{self.file}, row {self.row}", field=self.column, remedy=remedy)
        return data


Recording = Path | Embedded


@dataclass(frozen=True, slots=True)
class Spoken:
    """Text that is rendered by a voice."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a benchmark."""

    id: str
    text: str
    """The question or instruction."""
    references: tuple[str, ...]
    recording: Recording
    where: str
    """File and row."""
    group: str = ""
    """Category of the figures: sound, music or speech; a region; a split."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemPrompt:
    """Prompt of an item: text, and audio in order."""

    text: str
    audio: tuple[Recording | Spoken, ...] = ()
    instruction: str = ""
    """Instruction at the start of a stream, in the words of training; it replaces `text` for streaming models."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a set of answers. Every item counts; a missing answer is wrong."""

    values: Mapping[str, float | None]
    """Name → figure; None if it could not be computed, which a note explains."""
    n: int
    missing: int
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % bootstrap intervals over items."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        return {
            "figures": {name: None if value is None else round(value, 4) for name, value in self.values.items()},
            "n": self.n,
            "missing": self.missing,
            "intervals": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return the lines to print in a terminal."""
        lines = [f"{name:<16}{'not run' if value is None else format(value, '.2f'):>10}" for name, value in self.values.items()]
        lines += [f"{name:<16}{low:.2f} … {high:.2f} (95 %)" for name, (low, high) in self.intervals.items()]
        return [*lines, f"{self.n} items, {self.missing} missing (counted as wrong)", *self.notes]


class Benchmark(Protocol):
    """One benchmark."""

    name: str
    """Name in commands."""
    title: str
    mode: Mode
    """Default mode: that of the paper."""
    rubric: str
    """Name of the judge's rubric; empty if the metric needs no judge."""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """Read the items of a file or folder in the published format; raises InputError for an invalid row.

        `audio` is the folder of recordings that the rows only name (default: next to the file).
        """
        ...

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """Return the prompt of an item."""
        ...

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Score answers (id → text). `verdicts` are the raw votes of a judge (id → votes), if the metric needs one."""
        ...


def find_files(source: Path, *suffixes: str, inside: str = "") -> list[Path]:
    """Return `source` if it is a file, else the files below it that have one of the suffixes, sorted.

    In a folder with a file or folder `inside`, only that one is searched. Training and validation parts are skipped. Raises
    InputError if there is no file.
    """
    source = source / inside if inside and (source / inside).exists() else source
    if source.is_file():
        return [source]
    below = source.rglob("*") if source.is_dir() else ()
    found = sorted(path for path in below if path.suffix.lower() in suffixes and not _for_training(path.relative_to(source)))
    if not found:
        why = NO_FILES if source.is_dir() else "no such file or folder"
        raise InputError(why, file=source, remedy=f"Name a file or folder with the published {', '.join(suffixes)} files")
    return found


def numbered_rows(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield (row number in its file from 1, row) of all files; raises InputError for a file without rows."""
    for path in paths:
        number = 0
        for number, row in enumerate(read_rows(path, columns), 1):
            yield number, row
        if not number:
            raise no_rows(path)


def no_rows(path: Path) -> InputError:
    """Return the error about an empty file: ignoring an incomplete download would shrink the benchmark silently."""
    return InputError("contains no rows", file=path, remedy="Download it again, or remove it from the folder")


def unique_items(items: Iterable[tuple[Item, Row]], source: Path) -> list[Item]:
    """Return the items; raises InputError for a duplicate id or if there is no item."""
    found: list[Item] = []

    def named() -> Iterator[tuple[str, Row]]:
        for item, row in items:
            found.append(item)
            yield item.id, row

    for _ in unique_rows(named()):
        pass
    if not found:
        raise InputError("contains no rows", file=source, remedy="Name the published files")
    return found


def recording_of(row: Row, number: int, audio: Path | None, folders: Sequence[str], *names: str) -> Recording:
    """Return the recording that a row contains (parquet) or names. `check_recordings` checks that it exists."""
    if row.file.suffix.lower() == ".parquet":
        return Embedded(row.file, number, "audio")
    name = row.text(*names)
    bases = [audio] if audio is not None else [row.file.parent / folder for folder in folders]
    candidates = [base / name for base in bases]
    return next((path for path in candidates if path.is_file()), candidates[0])


def check_recordings(items: Sequence[Item]) -> None:
    """Raise InputError at the first item whose recording is missing."""
    for item in items:
        if isinstance(item.recording, Path) and not item.recording.is_file():
            remedy = "Name the folder of the recordings with --audio"
            raise InputError("recording not found", file=item.where, field="audio", value=str(item.recording), remedy=remedy)
        if isinstance(item.recording, Embedded) and "audio" not in _columns(item.recording.file):
            remedy = "Download the parquet files that contain recordings"
            raise InputError("missing column", file=item.recording.file, field="audio", remedy=remedy)


def mean_and_interval(values: Sequence[float], name: str) -> tuple[float, tuple[float, float]]:
    """Return the mean of values and its 95 % bootstrap interval over items."""
    scores = np.asarray(values, dtype=np.float64)
    rng = rng_for("0" * 64, 0, 0, f"bootstrap {name}")
    means = [float(scores[rng.integers(scores.size, size=scores.size)].mean()) for _ in range(RESAMPLES)]
    return float(scores.mean()), (float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975)))


def _for_training(path: Path) -> bool:
    return any(re.match(r"(train|dev|valid)", part, re.IGNORECASE) for part in path.parts)


@functools.lru_cache(maxsize=256)
def _columns(path: Path) -> tuple[str, ...]:
    from pyarrow import parquet

    return tuple(parquet.read_schema(path).names)


def _place(path: Path, row: int) -> tuple[int, int]:
    """Return (row group, index in it) of a row, counted from 1."""
    place = row - 1
    for group, size in enumerate(_sizes(path)):
        if place < size:
            return group, place
        place -= size
    raise InputError("the file became shorter while it was read", file=path, remedy="Download it again")


@functools.lru_cache(maxsize=256)
def _sizes(path: Path) -> tuple[int, ...]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return tuple(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))


@functools.lru_cache(maxsize=2)
def _group(path: Path, group: int, column: str) -> list[Any]:
    """Read one column of a row group. Recordings are read in order, so a cache of two groups is enough."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read_row_group(group, columns=[column])
    except (pyarrow.ArrowException, OSError) as error:
        raise unreadable_parquet(path, error) from None
    if column not in table.column_names:
        raise InputError("missing column", file=path, field=column, remedy="Download the files that contain recordings")
    values: list[Any] = table.column(column).to_pylist()
    return values
