"""What the path of a recording says about it: role, label and split."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from soundflow.operators.labels.maps import label_of_esc50_file
from soundflow.operators.labels.words import has_no_description, without_version
from soundflow.operators.sources.rows import ROLE_NAMES, LabelSource, is_storable
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.taxonomy import label_words
from soundflow.schemas.text import one_line

_SPLITS: Final = frozenset("train dev valid validation val test eval".split())
_FOLDER_WORDS = (
    "audio wav wavs flac mp3 ogg clip clips sound sounds sample samples data dataset recording recordings media file files fold "
    "noise noises event events ambient ambience background foreground fg bg amb speech clean other extra unbalanced balanced "
    "audios wavfiles src raw download downloads"
)
_UNINFORMATIVE: Final = _SPLITS | frozenset(_FOLDER_WORDS.split())
"""Words of folder names that say nothing about the sound, unless the folder lies beside classes (`FolderClasses`)."""
_ROLE_WORDS: Final = frozenset("noise noises ambient ambience background foreground fg bg amb".split())


class PathGuess(NamedTuple):
    """What a path says about a recording."""

    role: ClipRole
    label: str
    """Empty when no name on the path has a word."""
    split: str
    label_source: LabelSource


def guess_from_path(folders: tuple[str, ...], stem: str, source: str, classes: Iterable[int] = ()) -> PathGuess:
    """Infer role, label and split from a path.

    `folders`: names of the folders between source and file; `stem`: file name without suffix; `source`: name of the source
    folder, which also determines the role (`clips index speech/ noise/`) but is no label, since it names a collection;
    `classes`: positions in `folders` of names that are labels although they are folder words (`FolderClasses`).
    """
    role, label, split = _guess_from_folders(folders, source, tuple(classes))
    if label:
        return PathGuess(role, label, split, LabelSource.FOLDER)
    name = one_line(title_of(stem))
    words = [] if has_no_description(name, is_title=True) else without_version(label_words(name))
    return PathGuess(role, " ".join(words), split, LabelSource.FILE_NAME)


_FREESOUND: Final = re.compile(r"\d+__[^_]+(?:_[^_]+)*?__(.+)")
_YOUTUBE: Final = re.compile(r"Y?([\w-]{11})(?:_\d+(?:\.\d+)?){1,2}", re.ASCII)


def title_of(stem: str) -> str:
    """Return the part of a file name that describes the sound; empty for an AudioSet name (YouTube id and times).

    Freesound's `ID__USER__TITLE` gives the title.
    """
    found = _FREESOUND.fullmatch(stem)
    if found:
        return found[1]
    clip = _YOUTUBE.fullmatch(stem)
    runs = re.findall(r"[A-Za-z]+", clip[1]) if clip else []
    is_id = clip and not all(re.fullmatch(r"[A-Z]?[a-z]+|[A-Z]+", run) and len(run) > 2 for run in runs)
    return "" if is_id else stem


@lru_cache(maxsize=4096)
def _guess_from_folders(folders: tuple[str, ...], source: str, classes: tuple[int, ...]) -> tuple[ClipRole, str, str]:
    """Return role, label (may be empty) and split, which all files of one folder share."""
    places = [at for at, name in enumerate(folders) if at in classes or is_informative(name)]
    label = folders[places[-1]] if places else ""
    other = tuple(name for at, name in enumerate(folders) if at not in classes)
    split = next((words[0] for name in reversed(other) if (words := label_words(name)) and words[0] in _SPLITS), "train")
    return _guess_role((source, *other)), one_line(label), split


def _guess_role(names: tuple[str, ...]) -> ClipRole:
    words = {word for name in names for word in label_words(name)}
    nearest = next((set(label_words(name)) for name in reversed(names) if ROLE_NAMES.keys() & set(label_words(name))), set())
    ambient = any(word == "amb" or word.startswith("ambien") for word in words)
    if nearest & {"foreground", "fg"}:
        return ClipRole.FOREGROUND
    if words & {"noise", "noises"}:
        return ClipRole.NOISE_AMBIENT if ambient else ClipRole.NOISE_EVENT
    if ambient:
        return ClipRole.AMBIENT
    return ClipRole.BACKGROUND if words & {"background", "backgrounds", "bg"} else ClipRole.FOREGROUND


def is_informative(name: str) -> bool:
    """Whether the name of a folder says something about the sounds in it."""
    return any((len(word) > 1 or not word.isascii()) and word not in _UNINFORMATIVE for word in label_words(name))


class FolderClasses:
    """Folders named with a folder word (`train`, `clips`) that hold a class, because they lie beside folders of other classes.

    Those other folders hold recordings and have other names. The folders of roles hold no class. Listings are kept as long as the
    object.

    Example: `esc50/` holds `dog/`, `rain/` and `train/`. `train` lies beside the classes `dog` and `rain`, so it is a class too,
    and `of(esc50, ("train",))` is `(0,)`. If `esc50/` holds only `train/` and `test/`, both are splits: `()`.
    """

    def __init__(self, suffixes: frozenset[str]) -> None:
        self._suffixes = suffixes
        self._neighbours: dict[Path, frozenset[str]] = {}
        self._mixed: dict[Path, bool] = {}
        self._found: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}

    def of(self, root: Path, folders: tuple[str, ...]) -> tuple[int, ...]:
        """Return the positions in `folders`, below `root`, of such folders."""
        key = (str(root), folders)
        if key not in self._found:
            if len(self._found) > 4096:
                self._found.clear()
            within = next((at for at in reversed(range(len(folders))) if is_informative(folders[at])), -1)
            places = range(within + 1, len(folders))
            self._found[key] = tuple(at for at in places if self._is_class(root.joinpath(*folders[:at]), folders[at]))
        return self._found[key]

    def is_mixed(self, directory: Path) -> bool:
        """Return whether a folder holds files of several classes of ESC-50, so that its own name is no class."""
        if directory not in self._mixed:
            stems = (name.rpartition(".")[0] for name, is_folder in _entries(directory) if not is_folder)
            self._mixed[directory] = len({label for stem in stems if (label := label_of_esc50_file(stem))}) > 1
        return self._mixed[directory]

    def _is_class(self, parent: Path, name: str) -> bool:
        words = set(label_words(name))
        if words & _ROLE_WORDS or not words:
            return False
        if parent not in self._neighbours:
            folders = [other for other, is_folder in _entries(parent) if is_folder]
            self._neighbours[parent] = frozenset(other for other in folders if self._has_recordings(parent / other, 1))
        neighbours = self._neighbours[parent]
        return name in neighbours and any(is_informative(other) for other in neighbours)

    def _has_recordings(self, directory: Path, depth: int) -> bool:
        """Return whether a folder holds recordings, directly or in folders without a label."""
        entries = _entries(directory)
        if any(not is_folder and name.rpartition(".")[2].lower() in self._suffixes for name, is_folder in entries):
            return True
        inner = [name for name, is_folder in entries if is_folder and not is_informative(name)]
        return depth > 0 and any(self._has_recordings(directory / name, depth - 1) for name in inner)


def _entries(directory: Path) -> list[tuple[str, bool]]:
    """Return (name, whether it is a folder) of the visible entries of a directory; empty when it cannot be listed."""
    try:
        with os.scandir(directory) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") and is_storable(entry.name)]
            return [(entry.name, entry.is_dir()) for entry in visible]
    except OSError:
        return []
