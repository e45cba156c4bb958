"""Label maps: tables of two columns, `old` and `new`, that rename labels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final, Self

from soundflow.operators.labels.words import has_no_name
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import csv_rows
from soundflow.schemas.suggest import did_you_mean
from soundflow.schemas.taxonomy import label_words
from soundflow.schemas.text import one_line

SHIPPED: Final = ("audioset", "esc50", "fsd50k")
"""Names of the maps in this package: AudioSet (ids and names), ESC-50 (numbers and names) and FSD50K (names).

The ids and names of AudioSet are from its ontology (Gemmeke et al., ICASSP 2017; CC BY-SA 4.0, as is `audioset.csv`), those of
ESC-50 from Piczak (ACM Multimedia 2015), those of FSD50K from Fonseca et al. (2022; CC BY 4.0)."""
_COLUMNS: Final = ("old", "new")
_ID: Final = re.compile(r"[/_]?([mtg])[/_.]([0-9a-z][0-9a-z_]+)")
"""An id of AudioSet; in names of folders and files, the slashes are written otherwise."""


class LabelMap:
    """Renames labels. Labels are compared without case; spaces, hyphens and underscores count as equal."""

    def __init__(self, renamed: Mapping[str, str], name: str = "") -> None:
        self.name = name
        self._renamed = {_key(old): new for old, new in renamed.items()}
        self._unused = {_key(old): old for old in renamed}

    @classmethod
    def open(cls, name: str | Path) -> Self:
        """Open a shipped map by its name, or read a file. Raises InputError that names file and row."""
        if str(name).lower() in SHIPPED:
            return cls(_shipped(str(name).lower()), str(name).lower())
        return cls(read_label_map(Path(name)), str(name))

    def find(self, label: str) -> str | None:
        """Return the new label, or None if the map does not have this one."""
        key = _key(label)
        self._unused.pop(key, None)
        return self._renamed.get(key)

    @property
    def unused(self) -> list[str]:
        """The labels of the map that were never looked up; empty for a shipped map."""
        return [] if self.name in SHIPPED else list(self._unused.values())


_ESC50_FILE: Final = re.compile(r"[1-5]-\d+-[A-Z]-([0-9]|[1-4][0-9])")


def label_of_esc50_file(stem: str) -> str | None:
    """Return the label of a file of ESC-50, whose name ends in the number of its class (`1-100032-A-0`), or None."""
    found = _ESC50_FILE.fullmatch(stem)
    return _shipped("esc50")[found[1]] if found else None


@lru_cache(maxsize=1)
def _ids() -> Mapping[str, str]:
    return {old: new for old, new in _shipped("audioset").items() if _ID.fullmatch(old)}


def label_of_id(label: str) -> str | None:
    """Return the label of an id of AudioSet (`/m/0bt9lr`, as a folder `m_0bt9lr`), or None if it is not one."""
    found = _ID.fullmatch(label)
    return _ids().get(f"/{found[1]}/{found[2]}") if found else None


@lru_cache(maxsize=1)
def _class_words() -> frozenset[str]:
    return frozenset(word for name in SHIPPED for label in _shipped(name).values() for word in label_words(label))


def is_class_name(name: str) -> bool:
    """Whether a name consists of words of the classes of AudioSet, ESC-50 and FSD50K (`dog_bark`, but not `freesound`)."""
    words = label_words(name)
    return bool(words) and _class_words().issuperset(words)


def _key(label: str) -> str:
    return label if _ID.fullmatch(label) else " ".join(re.sub(r"[\s_-]+", " ", one_line(label)).casefold().split())


@lru_cache(maxsize=len(SHIPPED))
def _shipped(name: str) -> Mapping[str, str]:
    text = resources.files("soundflow.operators.labels").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return {row["old"]: row["new"] for row in csv.DictReader(text.splitlines())}


def read_label_map(path: Path) -> dict[str, str]:
    """Return old → new of a CSV file with the columns `old` and `new`. Raises InputError that names file and row (from 1)."""
    if not os.path.lexists(path):
        known = f"Give a CSV file with the columns old and new, or one of {', '.join(SHIPPED)}"
        raise InputError("no such label map", file=path, remedy=did_you_mean(str(path), SHIPPED) or known)
    rows = [cells for _, cells in csv_rows(path)]
    header = [name.lower() for name in rows[0]] if rows else []
    if sorted(header) != sorted(_COLUMNS):
        separator = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), "")
        remedy = "Separate the columns by commas" if separator else "The first line must be: old,new"
        raise InputError("a label map has the columns old and new", file=path, value=",".join(header), remedy=remedy)
    return _read_pairs(path, header.index("old"), rows[1:])


def _read_pairs(path: Path, old_at: int, rows: list[list[str]]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    seen: dict[str, tuple[int, str]] = {}
    for number, cells in enumerate(rows, start=1):
        field = f"row {number}"
        if len(cells) != 2:
            remedy = "Quote labels that contain commas"
            raise InputError(f"expected 2 cells, found {len(cells)}", file=path, field=field, remedy=remedy)
        old, new = one_line(cells[old_at]), one_line(cells[1 - old_at])
        if not old or not new:
            remedy = "Leave the row out to keep a label as it is"
            raise InputError(f"column {'new' if old else 'old'} is empty", file=path, field=field, remedy=remedy)
        if has_no_name(new):
            raise InputError("column new: not a name", file=path, field=field, value=new, remedy="Write words, such as dog bark")
        first, other = seen.setdefault(_key(old), (number, new))
        if other != new:
            why = f"{old!r} is renamed to {new!r}, and to {other!r} in row {first}"
            raise InputError(why, file=path, field=field, remedy="Keep one of the rows")
        pairs[old] = new
    if not pairs:
        raise InputError("has no rows", file=path, remedy="Write one row per label to rename")
    return pairs
