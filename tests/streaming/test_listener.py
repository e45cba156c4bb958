"""The decoder loop without a clock: decisions, responses and re-anchoring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.model.thinker import StreamingThinker
from soundflow.streaming.events import (
    ChunkSilent,
    ListenConfig,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    TextDelta,
)
from soundflow.streaming.listener import Listener
from tests.streaming.conftest import INSTRUCTION, TOKENIZER, decisions, features_of, play

CHUNKS = 24


@pytest.fixture(scope="module")
def features(model: StreamingThinker) -> np.ndarray:
    return features_of(model, (np.random.default_rng(5).standard_normal(CHUNKS * 6400) * 1600).astype(np.int16))


def median_chance(model: StreamingThinker, features: np.ndarray) -> float:
    """A threshold that a random model crosses now and then."""
    events = play(Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=0.999999)), features, [1] * CHUNKS)
    return float(np.quantile([event.probability for event in decisions(events)], 0.8))


def test_one_decision_a_chunk_and_every_response_ends(model: StreamingThinker, features: np.ndarray) -> None:
    config = ListenConfig(threshold=median_chance(model, features), longest_response=5)
    events = play(Listener(model, TOKENIZER, INSTRUCTION, config), features, [1] * CHUNKS)
    decided = decisions(events)
    assert [event.chunk for event in decided] == list(range(1, CHUNKS + 1))
    assert all(isinstance(event, ResponseCreated) == (event.probability >= config.threshold) for event in decided)
    opened = [event.chunk for event in decided if isinstance(event, ResponseCreated)]
    done = [event for event in events if isinstance(event, ResponseDone)]
    assert 0 < len(opened) < CHUNKS and opened == [event.chunk for event in done]
    for response in done:
        deltas = [event.delta for event in events if isinstance(event, TextDelta) and event.chunk == response.chunk]
        assert len(deltas) <= 5 and response.text.startswith("".join(deltas)) and response.cut == (len(deltas) == 5)


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
        drain = [event for event in decisions(events) if begin < event.chunk <= end]
        crossing = [event for event in drain if event.probability >= config.threshold]
        last_type = ResponseCreated if crossing else ChunkSilent
        assert [type(event) for event in drain] == [ChunkSilent] * (end - begin - 1) + [last_type]
        if isinstance(last := drain[-1], ResponseCreated):
            assert (last.called_by, last.called_with) == (crossing[0].chunk, crossing[0].probability)


def test_the_literal_algorithm_decides_at_the_last_chunk_alone(model: StreamingThinker, features: np.ndarray) -> None:
    literal = ListenConfig(threshold=1e-9, literal=True, longest_response=1)
    events = play(Listener(model, TOKENIZER, INSTRUCTION, literal), features[:6], [6])
    assert [type(event) for event in decisions(events)] == [ChunkSilent] * 5 + [ResponseCreated]


def test_the_context_never_outgrows_the_window_and_numbers_go_on(model: StreamingThinker, features: np.ndarray) -> None:
    listener = Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=0.999999, window_chunks=8, keep_chunks=4))
    events = play(listener, features, [1] * 9 + [3, 6, 6])
    assert listener.number == CHUNKS and listener.decoder.chunks <= 8
    assert [event.chunk for event in events if isinstance(event, Reanchored)] == [5, 11, 17]
    assert [event.chunk for event in events if isinstance(event, ChunkSilent)] == list(range(1, CHUNKS + 1))


def test_chunks_keep_their_numbers_when_some_were_dropped(model: StreamingThinker, features: np.ndarray) -> None:
    config = ListenConfig(threshold=1e-9, window_chunks=4, keep_chunks=2, longest_response=1)
    listener = Listener(model, TOKENIZER, INSTRUCTION, config)
    events = []
    for at, numbers in ((0, [1, 2]), (2, [5]), (3, [6, 9])):  # chunks 3, 4, 7 and 8 were dropped
        events += listener.drain(features[at : at + len(numbers)], numbers)
        while listener.responding:
            events += listener.step()
    assert [event.chunk for event in decisions(events)] == [1, 2, 5, 6, 9] and listener.number == 9
    assert [event.called_by for event in events if isinstance(event, ResponseCreated)] == [1, 5, 6]
    assert [event.chunk for event in events if isinstance(event, TextDelta | ResponseDone)] == [2, 2, 5, 5, 9, 9]
    assert [event.chunk for event in events if isinstance(event, Reanchored)] == [2]  # of 1, 2 and 5 the last two stay


def test_what_was_reanchored_hears_like_a_stream_that_began_there(model: StreamingThinker, features: np.ndarray) -> None:
    config = ListenConfig(threshold=0.999999, window_chunks=8, keep_chunks=4)
    listener = Listener(model, TOKENIZER, INSTRUCTION, config)
    last = decisions(play(listener, features[:9], [1] * 9))[-1]
    fresh = decisions(play(Listener(model, TOKENIZER, INSTRUCTION, config), features[4:9], [5]))[-1]
    assert last.probability == pytest.approx(fresh.probability, abs=1e-5)


def test_a_character_in_two_tokens_is_sent_when_it_is_complete(model: StreamingThinker, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(model, TOKENIZER, INSTRUCTION, ListenConfig(threshold=1e-9))
    ids = iter([*TOKENIZER.encode("汪"), *TOKENIZER.encode("𒀀"), None])
    monkeypatch.setattr("soundflow.streaming.listener.next_ids", lambda streams: [next(ids)])
    listener.drain(np.zeros((1, 10, 128), dtype=np.float32))
    events = []
    while not events or not isinstance(events[-1], ResponseDone):
        events += listener.step()
    *deltas, done = events
    assert isinstance(done, ResponseDone) and done.text == "汪𒀀" == "".join(event.delta for event in deltas)
    assert len(deltas) > 2 and all("�" not in event.delta for event in deltas)
