"""The interface of a corpus reader: the files it needs, the units it is read in, and the items of a unit.

The readers here implement the rows of `schemas/sources.yaml`. A corpus of your own needs none of them: write a clip manifest for
`soundflow clips index`, as `examples/python/own_source.py` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder
from soundflow.schemas.clip import ClipRejection, ClipRole
from soundflow.schemas.sources import Source
from soundflow.schemas.speech import Dialogue


class Recording(NamedTuple):
    """A recording as its corpus describes it: a row for a clip manifest, and where its audio is."""

    id: str
    """Unique within the corpus."""
    audio: str
    """Path in the corpus. With `data`, only the file name is used."""
    data: bytes | None = None
    """The encoded audio, if the corpus stores it inside a table."""
    role: ClipRole = ClipRole.FOREGROUND
    label: str = ""
    caption: str = ""
    transcript: str = ""
    language: str = ""
    voice: str = ""
    translation: str = ""
    translation_language: str = ""
    licence: str = ""
    """Licence of this recording; empty for that of the corpus."""
    attribution: str = ""
    split: str = "train"


CorpusItem = Recording | Dialogue | ClipRejection


class RequiredFiles(NamedTuple):
    """Files without which a corpus cannot be read."""

    patterns: tuple[str, ...]
    """Alternatives, as for `CorpusFolder.find`."""
    description: str
    """What the files are, and how to get them."""


class CorpusReader(ABC):
    """Reads corpora of one layout. A reader has no state."""

    required_files: Sequence[RequiredFiles]

    @abstractmethod
    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the units of the corpus in a fixed order. An interrupted import resumes at the next unit."""

    @abstractmethod
    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the items of one unit. A row that cannot be used becomes a rejection that names file and row.

        Raises InputError when the unit as a whole cannot be read.
        """


def reject(corpus: CorpusFolder, relative: str, row: int | None, reason: str, detail: str) -> ClipRejection:
    """Return a rejection that names file and row."""
    path = corpus.display_path(relative) + (f": row {row}" if row is not None else "")
    return ClipRejection(path=path, reason=reason, detail=detail)


def find_folders(corpus: CorpusFolder, pattern: str) -> Iterator[str]:
    """Yield each folder that has a file matching `pattern` once, sorted."""
    last = ""
    for path in corpus.find(pattern):
        folder = path.rpartition("/")[0]
        if folder != last:
            yield folder
        last = folder


def parse_split(name: str) -> str:
    """Return `train`, `validation` or `test` for a published split name (train-clean-100, dev, cv, tt, bal_train, eval)."""
    words = name.lower().replace("-", "_").split("_")
    if any(word in ("dev", "valid", "validation", "validated", "cv", "val") for word in words):
        return "validation"
    return "test" if any(word in ("test", "tt", "eval") for word in words) else "train"
