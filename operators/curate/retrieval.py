"""Retrieval: the clips whose words are most like a query, exactly, among those that may be used.

Scores are dot products that are exact in float64 (`operators.protocols.embedding`), so that an answer depends on the shelf and
the query alone: not on the batch, the number of threads, or the library that went through the vectors first."""

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
"""Raise it when a clip gets another text."""
LONGEST_QUERY: Final = 2000
"""Characters. A query is a phrase; more than this is a mistake."""
LONGEST_TEXT: Final = 2000
"""Characters of a clip's words that count."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, and what may be found. None is no condition."""

    text: str
    k: int = c.RETRIEVED
    role: ClipRole | None = None
    kind: Literal["speech", "sound"] | None = None
    seconds: tuple[float, float] | None = None
    """Length of the cleaned clip, both ends allowed."""
    licences: frozenset[str] | None = None
    split: str | None = None
    exclude: frozenset[str] = frozenset()
    """Ids of clips that are used already."""
    turn: int | None = None
    """Among equal scores the smallest id comes first; with a `turn`, in an order of its own: many clips share one label, and a
    corpus should not be made of the first three. Take it from the sample's rng."""

    def __post_init__(self) -> None:
        if not any(character.isalnum() for character in self.text):
            raise InputError("the query holds no word", value=self.text, remedy="Say what is to be heard, such as: dog barking")
        if len(self.text) > LONGEST_QUERY:
            remedy = f"Use at most {LONGEST_QUERY:,} characters: a phrase finds more than a page"
            raise InputError(f"the query has {len(self.text):,} characters", remedy=remedy)
        if self.k < 1:
            raise InputError("k must be 1 or more", value=self.k)
        if self.seconds is not None and not self.seconds[0] <= self.seconds[1]:
            raise InputError("a range of seconds is (low, high)", value=self.seconds, remedy="Swap them")


class Hit(NamedTuple):
    """A clip that was found."""

    id: str
    label: str
    score: float
    """From -1 to 1, rounded to six digits; 1 is the same words."""


class Retriever(Protocol):
    """Finds clips. `pipeline.clips.search_index.SearchIndex` is the one on disk."""

    @property
    def identity(self) -> str:
        """Name and version of all that shapes what is found, beside the index and the query; for fingerprints and provenance."""

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """For each query its k best clips, best first; fewer only where fewer may be used. Many queries at once are cheaper."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors scores are made of, float32 (n, d), unit length: for whoever asks how alike two texts are."""


def clip_text(label: str, caption: str, transcript: str | None) -> str:
    """The words a clip is found by: those of its label, its caption, and what is said in it."""
    parts = (" ".join(label_words(label)), caption, transcript or "")
    return ". ".join(part.strip() for part in parts if part.strip())[:LONGEST_TEXT]
