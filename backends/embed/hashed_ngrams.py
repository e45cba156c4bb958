"""An embedder without a model: words and their parts, hashed into a vector. It compares spelling, not meaning.

A word counts as a whole and by its runs of 3 to 5 letters (`barking` matches `bark`); Chinese, Japanese and Korean count by runs
of 1 to 3 characters. Words that describe no sound (`a`, `of`, `recording`) weigh a tenth. The weights are fixed: weights learnt
from the corpus found less (32 of 40 queries instead of 36), and would make a vector depend on the other texts.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.embedding import Vectors, normalize

VERSION: Final = "1"
"""Raise it when any text gets another vector."""
DIMENSION: Final = 512
LENGTHS: Final = (3, 4, 5)
"""Letters of a part."""
RUNS: Final = (1, 2, 3)
"""Characters of a part in scripts without spaces."""
FAINT_WEIGHT: Final = 0.1
FAINT: Final = frozenset(
    "a an the of in on at by to for from with into out over while as and or is are was be being it its his her their this that "
    "some someone something somebody people person sound sounds noise recording audio 的 了 在 和 是 有 一 个 声 音".split()
)
LONGEST_WORD: Final = 40
"""Characters of a word that count."""
WORDS_KEPT: Final = 1 << 16
"""Number of words whose parts are cached."""
BLOCK: Final = 1024
"""Texts of one batch."""

_SPACELESS: Final = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_SPACELESS}]+|[^\W_{_SPACELESS}]+")
_Parts = tuple[NDArray[np.intp], NDArray[np.float64]]


class HashedNgrams:
    """An `Embedder` without a model."""

    name = "hashed-ngrams"
    version = VERSION
    dimension = DIMENSION

    def __init__(self) -> None:
        self._parts: dict[str, _Parts] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`. Never raises."""
        blocks = [self._block(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros((0, DIMENSION), np.float32)

    def _block(self, texts: Sequence[str]) -> Vectors:
        places, weights = [np.zeros(0, np.intp)], [np.zeros(0)]
        for row, text in enumerate(texts):
            for word, count in Counter(_words(text)).items():
                buckets, values = self._word(word)
                places.append(buckets + row * DIMENSION)
                weights.append(values * (1 + math.log(count)))
        size = len(texts) * DIMENSION
        sums = np.bincount(np.concatenate(places), np.concatenate(weights), minlength=size).astype(np.float64)
        return normalize(sums.reshape(len(texts), DIMENSION))

    def _word(self, word: str) -> _Parts:
        found = self._parts.get(word)
        if found is None:
            if len(self._parts) >= WORDS_KEPT:
                self._parts.clear()
            found = self._parts[word] = _hashed(word)
        return found


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield match[0]


def _hashed(word: str) -> _Parts:
    """Buckets of a word's parts, and the value each part adds."""
    sums: dict[int, float] = {}
    for part, weight in _weighted(word):
        digest = zlib.crc32(part.encode("utf-8", "surrogatepass"))
        bucket = digest % DIMENSION
        sums[bucket] = sums.get(bucket, 0.0) + (weight if digest >> 31 else -weight)
    return np.array(list(sums), np.intp), np.array(list(sums.values()))


def _weighted(word: str) -> Iterator[tuple[str, float]]:
    if re.match(f"[{_SPACELESS}]", word):
        for length in RUNS:
            for start in range(len(word) - length + 1):
                part = word[start : start + length]
                yield part, FAINT_WEIGHT if part in FAINT else 1.0
        return
    word = word[:LONGEST_WORD]
    weight = FAINT_WEIGHT if word in FAINT else 1.0
    yield f"={word}", weight
    framed = f"<{word}>"
    parts = [framed[start : start + length] for length in LENGTHS for start in range(len(framed) - length + 1)]
    for part in parts:
        yield part, weight / math.sqrt(len(parts))
