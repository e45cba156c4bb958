"""What all benchmarks share: an item that can be asked in words or by voice, figures, recordings inside parquet files."""

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
NO_FILES: Final = "holds none of this benchmark's files"


class Mode(StrEnum):
    """How a model is told what to do."""

    TEXT = "text"
    """In writing; a question that is a recording is not heard but read."""
    AUDIO = "audio"
    """By voice."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A recording in a cell of a parquet file, as Hugging Face keeps them: {bytes, path}."""

    file: Path
    row: int
    """From 1."""
    column: str

    def read(self) -> bytes:
        """The audio file's bytes; InputError with file and row when there are none."""
        group, place = _place(self.file, self.row)
        cell = _group(self.file, group, self.column)[place]
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            remedy = "Fetch the parquet file that holds the recordings, not one that only names them"
            raise InputError("holds no audio", file=f"{self.file}, row {self.row}", field=self.column, remedy=remedy)
        return data


Recording = Path | Embedded


@dataclass(frozen=True, slots=True)
class Spoken:
    """Words that a voice says to the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a benchmark."""

    id: str
    text: str
    """The question or instruction in words."""
    references: tuple[str, ...]
    recording: Recording
    where: str
    """File and row."""
    group: str = ""
    """What figures are broken down by: sound, music, speech; a region; a split."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemPrompt:
    """How an item is put to a model: written text, and what is heard in order."""

    text: str
    audio: tuple[Recording | Spoken, ...] = ()
    instruction: str = ""
    """What a model that always listens is told instead, at the beginning of its stream: the words it was trained with."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a set of answers is worth. Every item counts; a missing answer is wrong."""

    values: Mapping[str, float | None]
    """By name; None where it could not be computed, which a note explains."""
    n: int
    missing: int
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 %, bootstrap over items."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "figures": {name: None if value is None else round(value, 4) for name, value in self.values.items()},
            "n": self.n,
            "missing": self.missing,
            "intervals": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{name:<16}{'not run' if value is None else format(value, '.2f'):>10}" for name, value in self.values.items()]
        lines += [f"{name:<16}{low:.2f} … {high:.2f} (95 %)" for name, (low, high) in self.intervals.items()]
        return [*lines, f"{self.n} items, {self.missing} missing (they count as wrong)", *self.notes]


class Benchmark(Protocol):
    """One benchmark."""

    name: str
    """As it is called in commands."""
    title: str
    mode: Mode
    """How it is asked in the paper unless somebody says otherwise."""
    rubric: str
    """What a judge is asked, by name; empty where the metric asks none."""

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """Items of a file or folder in the published format; InputError with file, row and remedy.

        `audio`: where recordings are that the rows only name, when that is not beside them.
        """
        ...

    def prompt(self, item: Item, mode: Mode) -> ItemPrompt:
        """How the item is put."""
        ...

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Figures of answers (id → text). `verdicts`: a judge's raw votes, for those that ask one."""
        ...


def find_files(source: Path, *suffixes: str, inside: str = "") -> list[Path]:
    """`source` when it is a file, else the files below it with one of these suffixes, sorted; InputError when there are none.

    A whole data set may be named: of it `inside` is read where there is such a file or folder, and no part for training.
    """
    source = source / inside if inside and (source / inside).exists() else source
    if source.is_file():
        return [source]
    below = source.rglob("*") if source.is_dir() else ()
    found = sorted(path for path in below if path.suffix.lower() in suffixes and not _for_training(path.relative_to(source)))
    if not found:
        why = NO_FILES if source.is_dir() else "no such file or folder"
        raise InputError(why, file=source, remedy=f"It reads {', '.join(suffixes)}; see --help for the published layout")
    return found


def numbered_rows(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """(row number in its file from 1, row) of several files; InputError for a file without rows."""
    for path in paths:
        number = 0
        for number, row in enumerate(read_rows(path, columns), 1):
            yield number, row
        if not number:
            raise no_rows(path)


def no_rows(path: Path) -> InputError:
    """What to raise about a file that holds nothing: half a download would make a benchmark smaller, and nobody notice."""
    return InputError("holds no rows", file=path, remedy="Fetch it again, or take it out of the folder")


def unique_items(items: Iterable[tuple[Item, Row]], source: Path) -> list[Item]:
    """The items, no id twice and at least one."""
    found: list[Item] = []

    def named() -> Iterator[tuple[str, Row]]:
        for item, row in items:
            found.append(item)
            yield item.id, row

    for _ in unique_rows(named()):
        pass
    if not found:
        raise InputError("holds no rows", file=source, remedy="Name the published files")
    return found


def recording_of(row: Row, number: int, audio: Path | None, folders: Sequence[str], *names: str) -> Recording:
    """The recording a row holds (parquet) or names; whether it is there is `check_recordings`' question."""
    if row.file.suffix.lower() == ".parquet":
        return Embedded(row.file, number, "audio")
    name = row.text(*names)
    bases = [audio] if audio is not None else [row.file.parent / folder for folder in folders]
    tried = [base / name for base in bases]
    return next((path for path in tried if path.is_file()), tried[0])


def check_recordings(items: Sequence[Item]) -> None:
    """InputError at the first item whose recording is not there: told before anything is asked."""
    for item in items:
        if isinstance(item.recording, Path) and not item.recording.is_file():
            remedy = "Name the recordings' folder with --audio"
            raise InputError("its recording is missing", file=item.where, field="audio", value=str(item.recording), remedy=remedy)
        if isinstance(item.recording, Embedded) and "audio" not in _columns(item.recording.file):
            remedy = "Fetch the parquet files that hold recordings"
            raise InputError("the column is missing", file=item.recording.file, field="audio", remedy=remedy)


def mean_and_interval(values: Sequence[float], name: str) -> tuple[float, tuple[float, float]]:
    """Mean of values and its 95 % bootstrap interval over items."""
    right = np.asarray(values, dtype=np.float64)
    rng = rng_for("0" * 64, 0, 0, f"bootstrap {name}")
    spread = [float(right[rng.integers(right.size, size=right.size)].mean()) for _ in range(RESAMPLES)]
    return float(right.mean()), (float(np.quantile(spread, 0.025)), float(np.quantile(spread, 0.975)))


def _for_training(path: Path) -> bool:
    return any(re.match(r"(train|dev|valid)", part, re.IGNORECASE) for part in path.parts)


@functools.lru_cache(maxsize=256)
def _columns(path: Path) -> tuple[str, ...]:
    from pyarrow import parquet

    return tuple(parquet.read_schema(path).names)


def _place(path: Path, row: int) -> tuple[int, int]:
    """(row group, place in it) of a row counted from 1."""
    place = row - 1
    for group, size in enumerate(_sizes(path)):
        if place < size:
            return group, place
        place -= size
    raise InputError("the file has become shorter", file=path, remedy="Fetch it again")


@functools.lru_cache(maxsize=256)
def _sizes(path: Path) -> tuple[int, ...]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return tuple(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))


@functools.lru_cache(maxsize=2)
def _group(path: Path, group: int, column: str) -> list[Any]:
    """One column of a row group: recordings are asked for in order, so the last two groups are enough."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read_row_group(group, columns=[column])
    except (pyarrow.ArrowException, OSError) as error:
        raise unreadable_parquet(path, error) from None
    if column not in table.column_names:
        raise InputError("the column is missing", file=path, field=column, remedy="Fetch the files that hold recordings")
    values: list[Any] = table.column(column).to_pylist()
    return values
