"""Embedders: the vector of a text does not depend on its batch; servers fail in every way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.backends.embed import minilm
from soundflow.backends.embed.embedders import open_embedder, resolved
from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.backends.embed.server import EmbeddingError
from soundflow.operators.protocols.embedding import GRID, Embedder, normalize
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import ServiceBroken
from soundflow.schemas.retrieval import RetrievalConfig
from tests.support.embedding_server import EmbeddingServer, sent, status

TEXTS = [
    "dog bark. a dog barking",
    "rain",
    "狗叫声",
    "",
    "!!!",
    "ein Hund bellt, größer als zuvor",
    "x" * 5000,
    "dog bark. a dog barking",
]


@pytest.fixture(params=["ngrams", "minilm"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "minilm" and not minilm.fetched():
        pytest.skip(f"the embedder minilm is not here. {minilm.FETCH}")
    return open_embedder(RetrievalConfig(embedder=request.param))


def test_vectors_have_length_one_on_the_grid_or_none(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension) and vectors.dtype == np.float32
    has_words = np.array([any(character.isalnum() for character in text) for text in TEXTS])
    assert np.allclose(np.linalg.norm(vectors[has_words], axis=1), 1, atol=1e-5) and not vectors[~has_words].any()
    grid = vectors.astype(np.float64) * GRID
    assert np.array_equal(grid, np.rint(grid))
    assert np.array_equal(vectors[0], vectors[-1]) and embedder.embed([]).shape == (0, embedder.dimension)


def test_a_text_has_the_same_vector_alone_in_any_batch_and_in_any_order(embedder: Embedder) -> None:
    rng = np.random.default_rng(3)
    words = "dog cat rain the a of barking loudly thunder 狗 door glass breaking in street far away".split()
    texts = [" ".join(rng.choice(words, int(rng.integers(1, 12)))) for _ in range(70)] + TEXTS
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    order = rng.permutation(len(texts))
    for size in (2, 7, len(texts)):
        parts = [embedder.embed([texts[place] for place in order[at : at + size]]) for at in range(0, len(texts), size)]
        assert np.abs(np.concatenate(parts) - alone[order]).max() <= 1e-6


def test_like_words_are_nearer_than_unlike_ones(embedder: Embedder) -> None:
    query, near, far = embedder.embed(
        ["a dog barks in the yard", "dog bark. a dog barking", "typing. someone typing on a keyboard"]
    )
    assert query @ near > 0.4 > query @ far


def test_hashed_ngrams_find_parts_of_words_in_any_script() -> None:
    vectors = HashedNgrams().embed(["狗叫声", "狗在叫", "下雨的声音", "ДВЕРЬ скрипит", "скрипящая дверь", "дождь"])
    assert vectors[0] @ vectors[1] > 0.3 > abs(vectors[0] @ vectors[2])
    assert vectors[3] @ vectors[4] > 0.4 > abs(vectors[3] @ vectors[5])


@given(texts=st.lists(st.text(max_size=30), max_size=6))
def test_hashed_ngrams_take_any_text(texts: list[str]) -> None:
    vectors = HashedNgrams().embed([*texts, "\ud800 lone"])
    assert np.isfinite(vectors).all() and vectors.shape == (len(texts) + 1, 512)


def test_dot_products_on_the_grid_are_exact_in_any_order() -> None:
    vectors = normalize(np.random.default_rng(1).standard_normal((64, 384))).astype(np.float64)
    exact = [sum(int(a * GRID) * int(b * GRID) for a, b in zip(row, vectors[0], strict=True)) / GRID**2 for row in vectors]
    assert (vectors @ vectors[0]).tolist() == exact == [float(np.dot(row[::-1], vectors[0][::-1])) for row in vectors]


def test_auto_is_minilm_only_where_it_has_been_fetched(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path))
    assert resolved(RetrievalConfig()).embedder == "ngrams"
    with pytest.raises(InputError, match=r"model\.onnx.*soundflow assets fetch minilm"):
        open_embedder(RetrievalConfig(embedder="minilm"))
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "model.onnx").write_bytes(b"another model")
    with pytest.raises(InputError, match="is not the file"):
        open_embedder(RetrievalConfig(embedder="minilm"))


def test_inconsistent_retrieval_sections_are_refused() -> None:
    for section, why in (
        ({"embedder": "server"}, "requires the name of its model"),
        ({"model": "x"}, "apply to embedder `server` only"),
        ({"hears_hz": 48_000}, "apply to embedder `server` only"),
        ({"embedder": "server", "model": "x", "server": {"base_url": "http://u:p@h/v1"}}, "a user, password"),
        ({"top_k": 0}, "greater than or equal to 1"),
    ):
        with pytest.raises(ValueError, match=why):
            RetrievalConfig.model_validate(section)


def test_only_settings_that_affect_hits_are_in_the_shaping_part() -> None:
    plain = RetrievalConfig(embedder="server", model="m")
    moved = RetrievalConfig.model_validate(
        {"embedder": "server", "model": "m", "oversampling": 99, "server": {"base_url": "http://elsewhere/v1", "batch": 3}}
    )
    assert plain.shaping() == moved.shaping() != RetrievalConfig(embedder="server", model="m", top_k=4).shaping()


def test_a_server_embeds_in_batches_and_in_its_own_order(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    texts = [f"sound number {number}" for number in range(20)] + TEXTS
    with EmbeddingServer() as server:
        embedder = open_embedder(server.config(), AnswerCache(tmp_path))
        assert (embedder.name, embedder.version, embedder.dimension) == ("server:m", "1-512d", 512)
        assert np.abs(embedder.embed(texts) - HashedNgrams().embed(texts)).max() < 1e-6
        assert max(len(call["input"]) for call in server.calls) == 8
        again = open_embedder(server.config(), AnswerCache(tmp_path))
        before = len(server.calls)
        assert np.array_equal(again.embed(texts[::-1]), embedder.embed(texts)[::-1])
        assert len(server.calls) == before and max(server.answered.values()) == 1
        assert server.keys == {"Bearer sk-very-secret"}


BAD = {
    "busy": status(429),
    "busy for a moment": status(429, Retry_After="0.01"),
    "500": status(500),
    "not JSON": lambda good: (200, {}, b"<html>"),
    "cut off": lambda good: (200, {"content-length": "5000"}, b'{"data": [{"index": 0, "emb'),
    "another protocol": lambda good: (200, {}, b'{"embeddings": [[1, 2]]}'),
    "one missing": sent(lambda good: good[1:]),
    "one twice": sent(lambda good: [good[0]] * len(good)),
    "empty vectors": sent(lambda good: [one | {"embedding": []} for one in good]),
    "null": sent(lambda good: [one | {"embedding": [None]} for one in good]),
    "NaN": sent(lambda good: [one | {"embedding": [float("nan")]} for one in good]),
    "base64": sent(lambda good: [one | {"embedding": "AAAA"} for one in good]),
    "ragged": sent(lambda good: [one | {"embedding": one["embedding"][one["index"] :]} for one in good]),
    "huge": lambda good: (200, {}, b" " * 4_000_000),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_failing_server_is_retried_then_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with EmbeddingServer() as server:
        embedder = open_embedder(server.config())
        server.faults = [BAD[kind]] * 3
        assert np.abs(embedder.embed(["dog", "cat"]) - HashedNgrams().embed(["dog", "cat"])).max() < 1e-6
        for faults, error in ((4, EmbeddingError), (5, ServiceBroken)):  # a plain word tells whose fault it is
            server.faults = [BAD[kind]] * faults
            with pytest.raises(error, match="embedding server at http://127") as caught:
                embedder.embed(["rain", "wind"])
            assert "very-secret" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (status(401), "OPENAI_API_KEY"),
        (status(404), r"retrieval\.model"),
        (status(400), r"smaller retrieval\.server\.batch"),
        (
            sent(lambda good: [one | {"embedding": [1.0, 2.0]} for one in good]),
            "2-dimensional vectors; earlier ones had 512",
        ),
    ],
)
def test_permanent_errors_are_raised_without_a_retry(fault, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with EmbeddingServer() as server:
        embedder = open_embedder(server.config())
        server.faults, before = [fault], len(server.calls)
        with pytest.raises(InputError, match=why) as caught:
            embedder.embed(["dog"])
        assert len(server.calls) == before + 1 and "very-secret" not in str(caught.value)


def test_key_or_address_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        open_embedder(RetrievalConfig(embedder="server", model="m"))


def test_an_unreachable_server_is_named_with_its_address() -> None:
    server = {"base_url": "http://127.0.0.1:9/v1", "retries": 1, "backoff_seconds": 0.001}
    with pytest.raises(ServiceBroken, match=r"http://127\.0\.0\.1:9"):
        open_embedder(RetrievalConfig.model_validate({"embedder": "server", "model": "m", "server": server}))
