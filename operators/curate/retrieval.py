"""Retrieval: exact nearest neighbours of a query among the clips that pass its filters.

Scores are dot products that are exact in float64 (`operators.protocols.embedding`), so that results depend only on the index and
the query, not on batch size, number of threads or search library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from soundflow.operators.protocols.embedding import Vectors
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.taxonomy import label_words

TEXT_VERSION: Final = "1"
"""Increase it when the text of clips changes."""
MAX_QUERY: Final = 2000
"""Maximum number of characters of a query."""
MAX_TEXT: Final = 2000
"""Maximum number of characters of the text of a clip."""


@dataclass(frozen=True, slots=True)
class Query:
    """A retrieval query with its filters. None disables a filter."""

    text: str
    k: int = c.RETRIEVED
    role: ClipRole | None = None
    kind: Literal["speech", "sound"] | None = None
    seconds: tuple[float, float] | None = None
    """Range of the length of the cleaned clip, both ends included."""
    licences: frozenset[str] | None = None
    split: str | None = None
    exclude: frozenset[str] = frozenset()
    """Ids of clips to leave out."""
    tie_seed: int | None = None
    """Seed of the order of clips with equal scores, since many clips share a label; None orders them by id."""

    def __post_init__(self) -> None:
        if not any(character.isalnum() for character in self.text):
            raise InputError("the query contains no word", value=self.text, remedy="Describe the sound, for example: dog barking")
        if len(self.text) > MAX_QUERY:
            remedy = f"Use at most {MAX_QUERY:,} characters"
            raise InputError(f"the query has {len(self.text):,} characters", remedy=remedy)
        if self.k < 1:
            raise InputError("k must be at least 1", value=self.k)
        if self.seconds is not None and not self.seconds[0] <= self.seconds[1]:
            raise InputError("seconds must be (low, high)", value=self.seconds, remedy="Swap the two values")


class Hit(NamedTuple):
    """A retrieved clip."""

    id: str
    label: str
    score: float
    """Similarity from -1 to 1, rounded to six digits."""


class Retriever(Protocol):
    """Retrieves clips. `pipeline.clips.search_index.SearchIndex` is the implementation on disk."""

    @property
    def identity(self) -> str:
        """Name and version of everything that shapes results besides index and query, for fingerprints and provenance."""

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Return the k best clips of each query, best first; fewer if fewer pass the filters. Batches of queries are faster."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, float32 (n, d), of unit length."""


def clip_text(label: str, caption: str, transcript: str | None) -> str:
    """Return the text by which a clip is retrieved: label, caption and transcript."""
    parts = (" ".join(label_words(label)), caption, transcript or "")
    return ". ".join(part.strip() for part in parts if part.strip())[:MAX_TEXT]
