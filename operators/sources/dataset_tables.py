"""Labels of recordings in the tables that datasets are published with, such as `meta/esc50.csv`.

A table is a CSV or TSV file with a column of file names and one of labels or captions: those of ESC-50, UrbanSound8K, FSD50K,
FSDKaggle, TAU Urban Acoustic Scenes, Clotho and others, and AudioSet's segments. It lies in the source folder, in a folder of it,
or, for ESC-50, FSD50K and UrbanSound8K, beside it. Ids and names of AudioSet, ESC-50 and FSD50K become plain labels.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from soundflow.operators.labels.maps import LabelMap, label_of_id
from soundflow.operators.sources.rows import LabelSource, SourceRow, is_storable, tidy
from soundflow.schemas.taxonomy import Urgency, label_words, urgency

_FILES: Final = ("filename", "file_name", "fname", "slice_file_name", "file", "audio_file", "audio_filename", "audio_id")
_LABELS: Final = ("category", "class", "class_name", "label", "labels", "scene_label", "event_label", "tag", "tags")
_CAPTIONS: Final = ("caption", "caption_1", "captions", "description")
_LISTS: Final = frozenset({"labels", "tags"})
"""Columns with several labels in a cell."""
_BESIDE: Final = ("meta/esc50.csv", "metadata/UrbanSound8K.csv", "FSD50K.ground_truth/dev.csv", "FSD50K.ground_truth/eval.csv")
_SEGMENTS: Final = re.compile(r"#?\s*YTID\s*,", re.I)
_YOUTUBE: Final = re.compile(r"Y?([\w-]{11})(?:_\d+(?:\.\d+)?){0,2}", re.ASCII)
_AUDIO_SUFFIX: Final = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_SPLITS: Final = frozenset("train dev valid validation val test eval".split())
_CLIP: Final = "youtube:"
"""Prefix of the ids of AudioSet among names of files."""


class Described(NamedTuple):
    """What a table says about a recording."""

    label: str
    caption: str
    split: str


_AMBIGUOUS: Final = Described("", "", "")


class DatasetTables:
    """The tables of a source folder, read once. `matched` counts the recordings they describe."""

    def __init__(self, root: Path) -> None:
        self._by_name: dict[str, Described] = {}
        self.matched = 0
        self.paths = [path for path in _candidates(root) if self._read(path)]

    def apply(self, row: SourceRow) -> SourceRow:
        """Return a row with label, caption and split of its table; speech keeps its label."""
        found = self._find(row.path) if self._by_name else None
        if found is None or found == _AMBIGUOUS:
            return row
        self.matched += 1
        changes = {"caption": found.caption} if found.caption else {}
        changes |= {"split": found.split} if found.split else {}
        if found.label and not row.transcript:
            changes |= {"label": found.label, "label_source": LabelSource.METADATA}
        return row.model_copy(update=changes)

    def _find(self, path: str) -> Described | None:
        folder, _, name = path.rpartition("/")
        stem = name.rpartition(".")[0]
        clip = _YOUTUBE.fullmatch(stem)
        keys = (f"{folder.rpartition('/')[2]}/{stem}", stem, *((f"{_CLIP}{clip[1]}",) if clip else ()))
        return next((found for key in keys if (found := self._by_name.get(key)) is not None), None)

    def _read(self, path: Path) -> bool:
        """Add the rows of a table. Return whether the file is one."""
        shared: dict[Described, Described] = {}
        is_table = False
        try:
            with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
                for name, described in _rows(lines, path.stem):
                    is_table = True
                    for key in {name, name if name.startswith(_CLIP) else name.rpartition("/")[2]}:
                        known = self._by_name.setdefault(key, shared.setdefault(described, described))
                        if known.label != described.label:
                            self._by_name[key] = _AMBIGUOUS
        except (OSError, csv.Error):
            return False
        return is_table


def _candidates(root: Path) -> Iterator[Path]:
    """Yield the tables in a folder and in the folders of it, then those beside it."""
    for folder in (root, *_entries(root, folders=True)):
        yield from (path for path in _entries(folder, folders=False) if path.suffix.lower() in (".csv", ".tsv"))
    yield from (path for name in _BESIDE if (path := root.parent / name).is_file() and root not in path.parents)


def _entries(folder: Path, *, folders: bool) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") and is_storable(entry.name)]
            return sorted(folder / entry.name for entry in visible if entry.is_dir() == folders and (folders or entry.is_file()))
    except OSError:
        return []


def _rows(lines: Iterator[str], table: str) -> Iterator[tuple[str, Described]]:
    """Yield (name of the recording without suffix, what the table says); nothing if it is another kind of table."""
    split = next((word for word in label_words(table) if word in _SPLITS), "")
    first = next(lines, "")
    while first.startswith("#") and not _SEGMENTS.match(first):
        first = next(lines, "")
    if _SEGMENTS.match(first):
        for cells in csv.reader(lines, skipinitialspace=True):
            if len(cells) >= 4 and not cells[0].startswith("#"):
                labels = [label_of_id(name) or name for name in ",".join(cells[3:]).strip('" ').split(",")]
                yield f"{_CLIP}{cells[0]}", Described(_main_label(labels), "", split)
        return
    delimiter = "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","
    header = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    columns = {kind: next((header.index(name) for name in names if name in header), -1) for kind, names in _KINDS.items()}
    if columns["file"] < 0 or (columns["label"] < 0 and columns["caption"] < 0):
        return
    rename = _renaming(header)
    for cells in csv.reader(lines, delimiter=delimiter):
        if len(cells) != len(header) or not all(map(is_storable, cells)):
            continue
        values = {kind: tidy(cells[at]) if at >= 0 else "" for kind, at in columns.items()}
        names = [values["label"]]
        if columns["label"] >= 0 and header[columns["label"]] in _LISTS:
            names = [name.strip() for name in re.split(r"[,;|]", values["label"])]
        name = _AUDIO_SUFFIX.sub("", values["file"].replace("\\", "/"))
        if name:
            label = label_of_id(names[0]) or rename(names[0])
            yield "/".join(name.split("/")[-2:]), Described(label, values["caption"], _SPLIT_NAMES.get(values["split"], split))


_KINDS: Final[Mapping[str, Sequence[str]]] = {"file": _FILES, "label": _LABELS, "caption": _CAPTIONS, "split": ("split",)}
_SPLIT_NAMES: Final = {name: name for name in _SPLITS}


def _renaming(header: Sequence[str]) -> Callable[[str], str]:
    """Return the function that renames the labels of a known dataset; others stay."""
    name = "esc50" if {"target", "category", "esc10"} <= set(header) else "fsd50k" if {"fname", "labels"} <= set(header) else ""
    labels = LabelMap.open(name) if name else None
    return lambda label: (labels.find(label) if labels else None) or label


def _main_label(names: list[str]) -> str:
    """Return the first label that calls for a response, else the first label."""
    return next((name for name in names if urgency(name) is Urgency.RESPOND), names[0])
