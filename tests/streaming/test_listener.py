"""The decoder loop without a clock: what is heard, decided, said and forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.model.thinker import StreamingThinker
from soundflow.streaming.events import ListenConfig
from soundflow.streaming.listener import Listener
from tests.streaming.conftest import INSTRUCTION, TOKENIZER, features_of, play

CHUNKS = 24


@pytest.fixture(scope="module")
def features(model: StreamingThinker) -> np.ndarray:
    return features_of(model, (np.random.default_rng(5).standard_normal(CHUNKS * 6400) * 1600).astype(np.int16))


def median_chance(model: StreamingThinker, features: np.ndarray) -> float:
    """A threshold that a random model crosses now and then."""
    events = play(Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=0.999999)), features, [1] * CHUNKS)
    return float(np.quantile([event.probability for event in events if event.probability is not None], 0.8))


def test_one_decision_a_chunk_and_every_response_ends(model: StreamingThinker, features: np.ndarray) -> None:
    config = ListenConfig(threshold=median_chance(model, features), longest_response=5)
    events = play(Listener(model, TOKENIZER, INSTRUCTION, config), features, [1] * CHUNKS)
    decided = [event for event in events if event.kind in ("silent", "response")]
    assert [event.chunk for event in decided] == list(range(1, CHUNKS + 1))
    assert all((event.kind == "response") == (event.probability >= config.threshold) for event in decided)
    opened = [event.chunk for event in decided if event.kind == "response"]
    assert 0 < len(opened) < CHUNKS and opened == [event.chunk for event in events if event.kind == "eos"]
    assert all(sum(e.kind == "token" and e.chunk == chunk for e in events) <= 5 for chunk in opened)


@settings(max_examples=15)
@given(data=st.data())
def test_a_trigger_in_a_drain_is_answered_at_its_end_and_never_lost(
    model: StreamingThinker, features: np.ndarray, data: st.DataObject
) -> None:
    drains: list[int] = []
    while sum(drains) < CHUNKS:
        drains.append(min(data.draw(st.integers(1, 6)), CHUNKS - sum(drains)))
    config = ListenConfig(threshold=median_chance(model, features), longest_response=3)
    events = play(Listener(model, TOKENIZER, INSTRUCTION, config), features, drains)
    ends = np.cumsum(drains)
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        drain = [event for event in events if event.kind in ("silent", "response") and begin < event.chunk <= end]
        crossing = [event for event in drain if event.probability >= config.threshold]
        crossed = bool(crossing)
        called = (drain[-1].called_by, drain[-1].called_with)
        assert called == ((crossing[0].chunk, crossing[0].probability) if crossed else (None, None))
        assert [event.kind for event in drain] == ["silent"] * (end - begin - 1) + ["response" if crossed else "silent"]


def test_the_literal_algorithm_decides_at_the_last_chunk_alone(model: StreamingThinker, features: np.ndarray) -> None:
    literal = ListenConfig(threshold=1e-9, literal=True, longest_response=1)
    events = play(Listener(model, TOKENIZER, INSTRUCTION, literal), features[:6], [6])
    assert [event.kind for event in events if event.probability is not None] == ["silent"] * 5 + ["response"]


def test_the_context_never_outgrows_the_window_and_numbers_go_on(model: StreamingThinker, features: np.ndarray) -> None:
    listener = Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=0.999999, window_chunks=8, keep_chunks=4))
    events = play(listener, features, [1] * 9 + [3, 6, 6])
    assert listener.heard == CHUNKS and listener.decoder.chunks <= 8
    assert [event.chunk for event in events if event.kind == "reanchored"] == [5, 11, 17]
    assert [event.chunk for event in events if event.kind == "silent"] == list(range(1, CHUNKS + 1))


def test_what_was_reanchored_hears_like_a_stream_that_began_there(model: StreamingThinker, features: np.ndarray) -> None:
    config = ListenConfig(threshold=0.999999, window_chunks=8, keep_chunks=4)
    listener = Listener(model, TOKENIZER, INSTRUCTION, config)
    told = play(listener, features[:9], [1] * 9)[-1]
    fresh = play(Listener(model, TOKENIZER, INSTRUCTION, config), features[4:9], [5])[-1]
    assert told.probability == pytest.approx(fresh.probability, abs=1e-5)


def test_a_character_in_two_tokens_is_told_when_it_is_whole(model: StreamingThinker, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=1e-9))
    ids = iter([*TOKENIZER.encode("汪"), *TOKENIZER.encode("𒀀"), None])
    monkeypatch.setattr("soundflow.streaming.listener.next_ids", lambda streams: [next(ids)])
    listener.hear(np.zeros((1, 10, 128), dtype=np.float32))
    texts = []
    while not texts or texts[-1].kind != "eos":
        texts += listener.step()
    assert "".join(event.text for event in texts) == "汪𒀀" and len(texts) > 3
    assert all("�" not in event.text for event in texts)
