"""Exact search equals an exhaustive search, for all filters, ties, batches and oversampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.curate.retrieval import Query
from soundflow.operators.curate.vector_search import CodedColumn, VectorIndex
from soundflow.operators.protocols.embedding import normalize
from soundflow.schemas.clip import ClipRole

ROLES = (ClipRole.FOREGROUND, ClipRole.AMBIENT, ClipRole.NOISE_EVENT)
LICENCES = ("CC0-1.0", "CC-BY-4.0", "unknown")


def make_index(rng: np.random.Generator, texts: int, clips: int, dimension: int, distinct: int) -> VectorIndex:
    """`texts` texts in three roles, of which only `distinct` have different vectors, and `clips` more clips than texts."""
    pool = normalize(rng.integers(-2, 3, (distinct, dimension)).astype(float))
    cuts = sorted(int(cut) for cut in rng.integers(0, texts + 1, 2))
    edges = [0, *cuts, texts]
    text_of = np.sort(np.concatenate([np.arange(texts), rng.integers(0, max(1, texts), clips)])) if texts else np.zeros(0, int)
    text_of = rng.permutation(text_of)
    return VectorIndex(
        vectors=np.ascontiguousarray(pool[rng.integers(0, distinct, texts)]),
        spans={role: (edges[place], edges[place + 1]) for place, role in enumerate(ROLES)},
        first=np.concatenate([[0], np.cumsum(np.bincount(text_of, minlength=texts))]).astype(np.int64),
        clips=np.argsort(text_of, kind="stable").astype(np.int32),
        ids=[f"clip-{row:05d}" for row in range(len(text_of))],
        labels=CodedColumn(text_of.astype(np.int32), [f"label {text}" for text in range(texts)]),
        licences=CodedColumn(rng.integers(0, 3, len(text_of)).astype(np.int32), LICENCES),
        splits=CodedColumn(rng.integers(0, 2, len(text_of)).astype(np.int32), ("train", "test")),
        speech=rng.random(len(text_of)) < 0.3,
        samples=rng.integers(1_600, 64_000, len(text_of)),
    )


def by_looking_at_all(index: VectorIndex, vector: np.ndarray, query: Query) -> list[tuple[str, float]]:
    """The definition: every allowed clip, by falling exact score, then by id."""
    found = []
    for text in range(len(index.vectors)):
        role = next(role for role, (begin, end) in index.spans.items() if begin <= text < end)
        score = sum(int(a * 2**24) * int(b * 2**24) for a, b in zip(index.vectors[text], vector, strict=True)) / 2**48
        for row in index.clips[index.first[text] : index.first[text + 1]]:
            seconds = index.samples[row] / 16_000
            if (
                query.role in (None, role)
                and (query.kind is None or (query.kind == "speech") == index.speech[row])
                and (query.seconds is None or query.seconds[0] <= seconds <= query.seconds[1])
                and (query.licences is None or index.licences.word(row) in query.licences)
                and query.split in (None, index.splits.word(row))
                and index.ids[row] not in query.exclude
            ):
                found.append((-score, index.ids[row]))
    return [(name, round(-score, 6)) for score, name in sorted(found)[: query.k]]


def some_queries(rng: np.random.Generator, index: VectorIndex, count: int) -> list[Query]:
    def maybe(value: object) -> object:
        return value if rng.random() < 0.4 else None

    return [
        Query(
            "sound",
            k=int(rng.integers(1, 12)),
            role=maybe(ROLES[rng.integers(3)]),
            kind=maybe(("speech", "sound")[rng.integers(2)]),
            seconds=maybe((0.5, float(rng.uniform(0.5, 3)))),
            licences=maybe(frozenset(LICENCES[: rng.integers(1, 3)])),
            split=maybe("train"),
            exclude=frozenset(rng.choice(index.ids, 5).tolist() if rng.random() < 0.5 and len(index.ids) else ()) | {"no-such"},
        )
        for _ in range(count)
    ]


@given(seed=st.integers(0, 2**32), texts=st.integers(0, 60), distinct=st.integers(1, 40), oversampling=st.sampled_from([1, 2, 8]))
def test_results_equal_those_of_an_exhaustive_search(seed: int, texts: int, distinct: int, oversampling: int) -> None:
    rng = np.random.default_rng(seed)
    index = make_index(rng, texts, clips=3 * texts, dimension=8, distinct=distinct)
    count = int(rng.integers(1, 12))
    queries = some_queries(rng, index, count)
    vectors = normalize(rng.integers(-2, 3, (count, 8)).astype(float))
    found = index.search(vectors, queries, oversampling)
    for query, vector, hits in zip(queries, vectors, found, strict=True):
        assert [(hit.id, hit.score) for hit in hits] == by_looking_at_all(index, vector, query)
        assert all(hit.label == index.labels.word(index.ids.index(hit.id)) for hit in hits)


@pytest.mark.parametrize("oversampling", [1, 8])
def test_results_do_not_depend_on_the_batch(oversampling: int) -> None:
    rng = np.random.default_rng(5)
    index = make_index(rng, texts=3000, clips=6000, dimension=48, distinct=2500)
    vectors = normalize(index.vectors[rng.integers(0, 3000, 64)] + 0.3 * rng.standard_normal((64, 48)))
    queries = some_queries(rng, index, 64)
    together = index.search(vectors, queries, oversampling)
    assert together == [index.search(vectors[place : place + 1], [query])[0] for place, query in enumerate(queries)]
    backwards = index.search(vectors[::-1].copy(), queries[::-1])
    assert together == backwards[::-1]


def test_the_order_of_a_thousand_clips_of_one_label_follows_from_the_seed() -> None:
    rng = np.random.default_rng(1)
    index = make_index(rng, texts=1, clips=1000, dimension=8, distinct=1)
    query = {"text": "sound", "k": 3, "role": next(role for role, span in index.spans.items() if span == (0, 1))}
    plain = index.search(index.vectors, [Query(**query)])[0]
    assert [hit.id for hit in plain] == ["clip-00000", "clip-00001", "clip-00002"]
    orders = [index.search(index.vectors, [Query(**query, tie_seed=seed)])[0] for seed in range(50)]
    assert orders == [index.search(index.vectors, [Query(**query, tie_seed=seed)])[0] for seed in range(50)]
    assert len({hit.id for hits in orders for hit in hits}) > 120  # of 150 drawn from 1001
    assert {hit.score for hits in orders for hit in hits} == {plain[0].score}


def test_a_seed_only_orders_equal_scores() -> None:
    rng = np.random.default_rng(2)
    index = make_index(rng, texts=40, clips=200, dimension=8, distinct=10)
    vector = normalize(rng.integers(-2, 3, (1, 8)).astype(float))
    scores = [
        [hit.score for hit in index.search(vector, [Query("sound", k=9, tie_seed=seed)])[0]] for seed in (None, 1, -7, 2**80)
    ]
    assert scores[0] == sorted(scores[0], reverse=True) and all(one == scores[0] for one in scores)
