"""What every reader of a corpus is: the files it needs, the pieces it is read in, and what one piece holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from soundflow.operators.sources.corpora.place import Place
from soundflow.schemas.clip import ClipRejection, ClipRole
from soundflow.schemas.sources import Source
from soundflow.schemas.speech import Dialogue


class Recording(NamedTuple):
    """A recording as its corpus describes it: a row for a clip manifest, and where its sound is."""

    id: str
    """Unique within its corpus."""
    audio: str
    """Path in the corpus; with `data`, only its file name counts."""
    data: bytes | None = None
    """The encoded sound itself, where the corpus keeps it inside a table."""
    role: ClipRole = ClipRole.FOREGROUND
    label: str = ""
    caption: str = ""
    transcript: str = ""
    language: str = ""
    voice: str = ""
    translation: str = ""
    translation_language: str = ""
    licence: str = ""
    """Its own; empty: that of the corpus."""
    attribution: str = ""
    split: str = "train"


Read = Recording | Dialogue | ClipRejection


class Need(NamedTuple):
    """Files a corpus cannot be read without."""

    patterns: tuple[str, ...]
    """As in `Place.find`; one of them is enough."""
    about: str
    """What they are, and where they are had."""


class Reader(ABC):
    """Reads one layout. Readers hold no state; nothing is read but what is asked for."""

    needs: Sequence[Need]

    @abstractmethod
    def units(self, place: Place) -> Iterator[str]:
        """The pieces of the corpus, in a fixed order: an import is resumed between two of them."""

    @abstractmethod
    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """The rows of one piece, streamed; a row that is wrong is a rejection that names it.

        Raises InputError when the piece as a whole cannot be read.
        """


def reject(place: Place, relative: str, row: int | str | None, reason: str, detail: str) -> ClipRejection:
    """A rejection that names file and row."""
    where = place.shown(relative) + (f": row {row}" if row is not None else "")
    return ClipRejection(path=where, reason=reason, detail=detail)


def folders_of(place: Place, pattern: str) -> Iterator[str]:
    """The folders of the files that match, each once, sorted."""
    last = ""
    for path in place.find(pattern):
        folder = path.rpartition("/")[0]
        if folder != last:
            yield folder
        last = folder


def split_of(name: str) -> str:
    """`train`, `validation` or `test`, of the many names splits have (train-clean-100, dev, cv, tt, bal_train, eval)."""
    words = name.lower().replace("-", "_").split("_")
    if any(word in ("dev", "valid", "validation", "validated", "cv", "val") for word in words):
        return "validation"
    return "test" if any(word in ("test", "tt", "eval") for word in words) else "train"
