"""Exact nearest-neighbour search over the distinct texts of clips: candidates in float32, exact scores in float64.

Clips share texts (thousands may have the same label), so that each text has one vector. A scan of all vectors of a role in
float32, by faiss or for a few queries by numpy, gives candidates; their exact scores decide. The rounding error of float32 bounds
the scores of all other texts: if the candidates do not provably contain the result (ties, filtered clips), all allowed texts are
scored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from soundflow.operators.curate.retrieval import Hit, Query
from soundflow.operators.protocols.embedding import Vectors
from soundflow.schemas import constants as c
from soundflow.schemas.clip import ClipRole

SEARCH_VERSION: Final = "1"
"""Increase it when the results of equal queries over equal vectors change."""
ROUNDING: Final = float(2.0**-24)
FAISS_FROM: Final = 8
"""Number of queries from which faiss is faster than numpy, with much less memory."""
BLOCK: Final = 4096
"""Number of vectors that are copied at a time."""

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class CodedColumn:
    """A dictionary-encoded column."""

    codes: NDArray[np.int32]
    words: Sequence[str]

    def word(self, row: int) -> str:
        """Return the word of a row."""
        return self.words[int(self.codes[row])]

    def is_among(self, rows: Rows, allowed: frozenset[str]) -> NDArray[np.bool_]:
        """Return for each row whether its word is one of `allowed`."""
        return np.array([word in allowed for word in self.words], dtype=np.bool_)[self.codes[rows]]


@dataclass(frozen=True)
class VectorIndex:
    """Clips in id order, their distinct texts and a vector for each text. Arrays may be memory-mapped."""

    vectors: Vectors
    """(texts, d), unit vectors on the grid, grouped by role."""
    spans: Mapping[ClipRole, tuple[int, int]]
    """Range of the texts of each role: first, one past the last."""
    first: NDArray[np.int64]
    """(texts + 1,): the clips of text t are `clips[first[t]:first[t + 1]]`, at least one."""
    clips: NDArray[np.int32]
    """(clips,): rows of clips, grouped by text, ascending within a text."""
    ids: Sequence[str]
    """Ids of clips, ascending."""
    labels: CodedColumn
    licences: CodedColumn
    splits: CodedColumn
    speech: NDArray[np.bool_]
    samples: NDArray[np.int64]

    def search(self, vectors: Vectors, queries: Sequence[Query], oversampling: int = 8) -> list[list[Hit]]:
        """Return the k best clips of each query, best first. `vectors`: one row per query."""
        together: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, query in enumerate(queries):
            together[self._span(query)].append(number)
        found: list[list[Hit]] = [[] for _ in queries]
        for span, numbers in together.items():
            if span[0] == span[1]:
                continue
            depth = min(span[1] - span[0], oversampling * max(queries[number].k for number in numbers))
            proposed, scores = _propose(self.vectors[span[0] : span[1]], vectors[numbers], depth)
            for number, texts, approximate in zip(numbers, proposed + span[0], scores, strict=True):
                unseen = float(approximate[-1]) + self._slack if depth < span[1] - span[0] else -np.inf
                found[number] = self._find(queries[number], vectors[number], texts, unseen)
        return found

    @property
    def _slack(self) -> float:
        """Bound of the difference between float32 and exact scores of unit vectors, for any order of summation."""
        return ROUNDING * float(self.vectors.shape[1] + 8)

    def _span(self, query: Query) -> tuple[int, int]:
        return (0, len(self.vectors)) if query.role is None else self.spans.get(query.role, (0, 0))

    def _find(self, query: Query, vector: Vectors, texts: Rows, unseen: float) -> list[Hit]:
        """Return the result from the candidates `texts`, or from all texts if one with a score of at most `unseen` may belong to
        it."""
        used = self._rows_of(query.exclude)
        rows, scores = self._best(query, used, np.sort(texts), vector)
        if unseen > -np.inf and (len(rows) < query.k or scores[-1] <= unseen):
            rows, scores = self._best(query, used, self._candidates(query, used, vector), vector)
        return [
            Hit(self.ids[row], self.labels.word(row), round(score, 6))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _best(self, query: Query, used: Rows, texts: Rows, vector: Vectors) -> tuple[Rows, Scores]:
        """Return rows and exact scores of the k best allowed clips of `texts`, in their final order."""
        counts = self.first[texts + 1] - self.first[texts]
        starts = self.first[texts] - np.concatenate([[0], np.cumsum(counts)[:-1]])
        rows = self.clips[np.repeat(starts, counts) + np.arange(counts.sum())].astype(np.int64)
        scores = np.repeat(self._exact(texts, vector), counts)
        allowed = self._allowed(query, used, rows)
        rows, scores = rows[allowed], scores[allowed]
        if len(rows) > query.k:
            enough = scores >= np.partition(scores, len(scores) - query.k)[len(scores) - query.k]
            rows, scores = rows[enough], scores[enough]
        order = np.lexsort((_tie_keys(rows, query.tie_seed), -scores))[: query.k]
        return rows[order], scores[order]

    def _exact(self, texts: Rows, vector: Vectors) -> Scores:
        """Return exact dot products: on the grid, nothing is rounded."""
        exact = vector.astype(np.float64)
        parts = [self.vectors[texts[at : at + BLOCK]].astype(np.float64) @ exact for at in range(0, len(texts), BLOCK)]
        return np.concatenate([np.zeros(0), *parts])

    def _candidates(self, query: Query, used: Rows, vector: Vectors) -> Rows:
        """Return the texts with an allowed clip that may be among the k best."""
        begin, end = self._span(query)
        places = slice(self.first[begin], self.first[end])
        allowed = self._allowed(query, used, self.clips[places].astype(np.int64))
        some = np.add.reduceat(allowed, self.first[begin:end] - self.first[begin], dtype=np.int64) > 0
        blocks = [self.vectors[at : min(at + BLOCK, end)] @ vector for at in range(begin, end, BLOCK)]  # without copies
        texts, scores = begin + np.flatnonzero(some), np.concatenate(blocks)[some]
        if len(texts) > query.k:
            last = np.partition(scores, len(scores) - query.k)[len(scores) - query.k]
            texts = texts[scores >= last - 2 * self._slack]
        return texts

    def _allowed(self, query: Query, used: Rows, rows: Rows) -> NDArray[np.bool_]:
        """Return for each row whether it passes the filters of the query, except that of the role."""
        passed = np.ones(len(rows), dtype=np.bool_)
        if query.kind is not None:
            passed &= self.speech[rows] == (query.kind == "speech")
        if query.seconds is not None:
            low, high = query.seconds
            seconds = self.samples[rows] / c.SAMPLE_RATE
            passed &= (seconds >= low) & (seconds <= high)
        if query.licences is not None:
            passed &= self.licences.is_among(rows, query.licences)
        if query.split is not None:
            passed &= self.splits.is_among(rows, frozenset({query.split}))
        if len(used):
            passed &= ~np.isin(rows, used)
        return passed

    def _rows_of(self, ids: frozenset[str]) -> Rows:
        places = ((bisect_left(self.ids, one), one) for one in ids)
        return np.array([row for row, one in places if row < len(self.ids) and self.ids[row] == one], dtype=np.int64)


def _propose(vectors: Vectors, queries: Vectors, depth: int) -> tuple[Rows, NDArray[np.float32]]:
    """Return (places, float32 scores) of the `depth` best vectors for each query, best first: shapes (queries, depth).

    faiss scans the vectors for one query in one thread, whereas a matrix product uses all threads.
    """
    if len(queries) >= FAISS_FROM:
        faiss.cvar.distance_compute_blas_threshold = 0
        scores, places = faiss.knn(queries, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
        return places, scores
    scores = queries @ vectors.T
    places = np.argpartition(scores, len(vectors) - depth, axis=1)[:, len(vectors) - depth :]
    best = np.take_along_axis(scores, places, axis=1)
    order = np.argsort(-best, axis=1)
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(best, order, axis=1)


def _tie_keys(rows: Rows, seed: int | None) -> NDArray[np.uint64]:
    """Return sort keys for equal scores: the rows, or their hash (splitmix64) with a seed."""
    mixed = rows.astype(np.uint64)
    if seed is None:
        return mixed
    with np.errstate(over="ignore"):
        mixed = (mixed + np.uint64(seed % 2**64)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed ^ (mixed >> np.uint64(31))
