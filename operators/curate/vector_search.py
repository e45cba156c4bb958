"""Exact search over the distinct texts of many clips: faiss (of a few queries: numpy) proposes, float64 decides.

Clips share texts (a label stands for thousands), so a text has one vector. All vectors of the wanted role are gone through in
float32 and the best proposed; their exact scores decide. What may have been missed is bounded by float32's rounding: where the
proposals cannot be shown to hold the answer (a tie, clips that are filtered out), every allowed text is looked at.
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
"""Raise it when the same query over the same vectors finds something else."""
ROUNDING: Final = float(2.0**-24)
FAISS_FROM: Final = 8
"""Queries from which faiss is faster than numpy's product and partition, in far less memory."""
BLOCK: Final = 4096
"""Vectors copied at a time."""

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class CodedColumn:
    """A column of few different words."""

    codes: NDArray[np.int32]
    words: Sequence[str]

    def word(self, row: int) -> str:
        """The word of a row."""
        return self.words[int(self.codes[row])]

    def among(self, rows: Rows, wanted: frozenset[str]) -> NDArray[np.bool_]:
        """Which rows hold one of `wanted`."""
        return np.array([word in wanted for word in self.words], dtype=np.bool_)[self.codes[rows]]


@dataclass(frozen=True)
class VectorIndex:
    """Clips in id order, the distinct texts they are found by, and a vector for each text. Arrays may be memory maps."""

    vectors: Vectors
    """(texts, d), unit rows on the grid; the texts of a role stand together."""
    spans: Mapping[ClipRole, tuple[int, int]]
    """The texts of each role: first, one past the last."""
    first: NDArray[np.int64]
    """(texts + 1,): text t has the clips `clips[first[t]:first[t + 1]]`, at least one."""
    clips: NDArray[np.int32]
    """(clips,): rows, text by text, ascending within a text."""
    ids: Sequence[str]
    """Ascending."""
    labels: CodedColumn
    licences: CodedColumn
    splits: CodedColumn
    speech: NDArray[np.bool_]
    samples: NDArray[np.int64]

    def search(self, vectors: Vectors, queries: Sequence[Query], oversampling: int = 8) -> list[list[Hit]]:
        """For each query, whose vector is the row of `vectors`, its k best clips, best first."""
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
        """float32 scores of unit vectors are this close to the exact ones, whatever the order of the sum."""
        return ROUNDING * float(self.vectors.shape[1] + 8)

    def _span(self, query: Query) -> tuple[int, int]:
        return (0, len(self.vectors)) if query.role is None else self.spans.get(query.role, (0, 0))

    def _find(self, query: Query, vector: Vectors, texts: Rows, unseen: float) -> list[Hit]:
        """The answer from the proposed `texts`, or, where a text scoring at most `unseen` could be part of it, from all."""
        used = self._rows_of(query.exclude)
        rows, scores = self._best(query, used, np.sort(texts), vector)
        if unseen > -np.inf and (len(rows) < query.k or scores[-1] <= unseen):
            rows, scores = self._best(query, used, self._candidates(query, used, vector), vector)
        return [
            Hit(self.ids[row], self.labels.word(row), round(score, 6))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _best(self, query: Query, used: Rows, texts: Rows, vector: Vectors) -> tuple[Rows, Scores]:
        """Rows and exact scores of the k best allowed clips of `texts`, in their final order."""
        counts = self.first[texts + 1] - self.first[texts]
        starts = self.first[texts] - np.concatenate([[0], np.cumsum(counts)[:-1]])
        rows = self.clips[np.repeat(starts, counts) + np.arange(counts.sum())].astype(np.int64)
        scores = np.repeat(self._exact(texts, vector), counts)
        allowed = self._allowed(query, used, rows)
        rows, scores = rows[allowed], scores[allowed]
        if len(rows) > query.k:
            enough = scores >= np.partition(scores, len(scores) - query.k)[len(scores) - query.k]
            rows, scores = rows[enough], scores[enough]
        order = np.lexsort((_turned(rows, query.turn), -scores))[: query.k]
        return rows[order], scores[order]

    def _exact(self, texts: Rows, vector: Vectors) -> Scores:
        """Dot products without any rounding, thanks to the grid."""
        wanted = vector.astype(np.float64)
        parts = [self.vectors[texts[at : at + BLOCK]].astype(np.float64) @ wanted for at in range(0, len(texts), BLOCK)]
        return np.concatenate([np.zeros(0), *parts])

    def _candidates(self, query: Query, used: Rows, vector: Vectors) -> Rows:
        """Among all texts with an allowed clip, those that may be among the k best."""
        begin, end = self._span(query)
        places = slice(self.first[begin], self.first[end])
        allowed = self._allowed(query, used, self.clips[places].astype(np.int64))
        some = np.add.reduceat(allowed, self.first[begin:end] - self.first[begin], dtype=np.int64) > 0
        blocks = [self.vectors[at : min(at + BLOCK, end)] @ vector for at in range(begin, end, BLOCK)]  # in place: no copies
        texts, scores = begin + np.flatnonzero(some), np.concatenate(blocks)[some]
        if len(texts) > query.k:
            last = np.partition(scores, len(scores) - query.k)[len(scores) - query.k]
            texts = texts[scores >= last - 2 * self._slack]
        return texts

    def _allowed(self, query: Query, used: Rows, rows: Rows) -> NDArray[np.bool_]:
        """Which rows pass the query's filters; their role is right already."""
        passed = np.ones(len(rows), dtype=np.bool_)
        if query.kind is not None:
            passed &= self.speech[rows] == (query.kind == "speech")
        if query.seconds is not None:
            low, high = query.seconds
            seconds = self.samples[rows] / c.SAMPLE_RATE
            passed &= (seconds >= low) & (seconds <= high)
        if query.licences is not None:
            passed &= self.licences.among(rows, query.licences)
        if query.split is not None:
            passed &= self.splits.among(rows, frozenset({query.split}))
        if len(used):
            passed &= ~np.isin(rows, used)
        return passed

    def _rows_of(self, ids: frozenset[str]) -> Rows:
        places = ((bisect_left(self.ids, one), one) for one in ids)
        return np.array([row for row, one in places if row < len(self.ids) and self.ids[row] == one], dtype=np.int64)


def _propose(vectors: Vectors, wanted: Vectors, depth: int) -> tuple[Rows, NDArray[np.float32]]:
    """(places, scores) of the `depth` best vectors for each of `wanted`, best first, in float32: shapes (queries, depth).

    faiss goes through the vectors of one query in one thread; a product of matrices uses all of them.
    """
    if len(wanted) >= FAISS_FROM:
        faiss.cvar.distance_compute_blas_threshold = 0
        scores, places = faiss.knn(wanted, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
        return places, scores
    scores = wanted @ vectors.T
    places = np.argpartition(scores, len(vectors) - depth, axis=1)[:, len(vectors) - depth :]
    best = np.take_along_axis(scores, places, axis=1)
    order = np.argsort(-best, axis=1)
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(best, order, axis=1)


def _turned(rows: Rows, turn: int | None) -> NDArray[np.uint64]:
    """Rows as they are, or mixed (splitmix64) into the order of a turn."""
    mixed = rows.astype(np.uint64)
    if turn is None:
        return mixed
    with np.errstate(over="ignore"):
        mixed = (mixed + np.uint64(turn % 2**64)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed ^ (mixed >> np.uint64(31))
