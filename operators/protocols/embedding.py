"""The protocol of embedders: texts, and audio for some, to unit vectors whose dot product is their similarity.

Every component is rounded to a multiple of 2^-24. Products of components and their sums are then exact in float64 in any order,
so that scores are equal on all machines and for all batch sizes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
GRID: Final = 2.0**24


class Embedder(Protocol):
    """Embeds texts. Safe for calls from several threads."""

    @property
    def name(self) -> str:
        """Name for provenance: `all-MiniLM-L6-v2-int8`, `hashed-ngrams` or `server:<model>`."""

    @property
    def version(self) -> str:
        """Version, part of fingerprints. It changes whenever the vector of a text changes."""

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (len(texts), dimension): rows of length 1 on the grid, or 0 for a text without words.

        The vector of a text depends on that text alone. Raises InputError if the embedder cannot be used, OSError if its server
        fails.
        """


@runtime_checkable
class AudioEmbedder(Embedder, Protocol):
    """An embedder of texts and audio in one space, such as CLAP."""

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Embed mono recordings at 16 kHz; otherwise like `embed`."""


def identity(embedder: Embedder) -> str:
    """Return `name/version` for fingerprints and provenance."""
    return f"{embedder.name}/{embedder.version}"


def embed_worded(texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors], dimension: int) -> Vectors:
    """Embed the texts with a letter or a digit; the others become rows of zeros."""
    vectors = np.zeros((len(texts), dimension), np.float32)
    worded = [row for row, text in enumerate(texts) if any(character.isalnum() for character in text)]
    if worded:
        vectors[worded] = embed([texts[row] for row in worded])
    return vectors


class CachedEmbed:
    """An `embed` function that keeps the vectors of the most recent texts, since labels and queries repeat."""

    def __init__(self, embed: Callable[[Sequence[str]], Vectors], max_texts: int = 8192):
        self._embed, self._max_texts = embed, max_texts
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (len(texts), dimension), equal to those of the embedder."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if fresh:
            self._kept.update(zip(fresh, self._embed(fresh), strict=True))
        vectors = np.stack([self._kept[text] for text in texts])
        for text in texts:
            self._kept.move_to_end(text)
        while len(self._kept) > self._max_texts:
            self._kept.popitem(last=False)
        return vectors


def normalize(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows to length 1 and round them to the grid. Rows of zeros stay zeros."""
    rows = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return (np.rint(rows * GRID) / GRID).astype(np.float32)
