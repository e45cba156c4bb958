"""Embedders: texts (and, for some, sounds) become vectors whose dot product says how alike they are.

Every component is rounded to a multiple of 2^-24. The products of two vectors are then exact in float64 and so is their sum, in
whatever order it is taken: equal scores are equal on every machine, for any batch.
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
    """Texts to vectors. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What it is, as provenance says it: `all-MiniLM-L6-v2-int8`, `hashed-ngrams`, `server:<model>`."""

    @property
    def version(self) -> str:
        """Changes whenever the same text gets another vector; part of fingerprints."""

    @property
    def dimension(self) -> int:
        """Components of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32, shape (len(texts), dimension), each row of length 1 on the grid of 2^-24, or 0 where a text says nothing.

        A text's vector depends on that text alone. Raises InputError when the embedder cannot be used, OSError when it is
        behind a server that fails.
        """


@runtime_checkable
class AudioEmbedder(Embedder, Protocol):
    """An embedder that also takes sounds, into the same space (CLAP and its kind)."""

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Like `embed`, of mono sounds at 16 kHz."""


def identity(embedder: Embedder) -> str:
    """Name and version in one word, for fingerprints and provenance."""
    return f"{embedder.name}/{embedder.version}"


def embed_worded(texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors], dimension: int) -> Vectors:
    """`embed` of the texts that hold a letter or a digit; the others say nothing, and become zeros."""
    vectors = np.zeros((len(texts), dimension), np.float32)
    saying = [row for row, text in enumerate(texts) if any(character.isalnum() for character in text)]
    if saying:
        vectors[saying] = embed([texts[row] for row in saying])
    return vectors


class CachedEmbed:
    """`embed` of an embedder that keeps the vectors of the last texts: labels and wishes come again and again."""

    def __init__(self, embed: Callable[[Sequence[str]], Vectors], most: int = 8192):
        self._embed, self._most = embed, most
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """float32, shape (len(texts), dimension), as the embedder gives them."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if fresh:
            self._kept.update(zip(fresh, self._embed(fresh), strict=True))
        vectors = np.stack([self._kept[text] for text in texts])
        for text in texts:
            self._kept.move_to_end(text)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return vectors


def normalize(vectors: NDArray[np.floating]) -> Vectors:
    """Rows scaled to length 1 and rounded to the grid; rows of zeros stay zeros."""
    rows = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return (np.rint(rows * GRID) / GRID).astype(np.float32)
