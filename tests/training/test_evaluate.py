"""Scores by hand, and a model that reads a stream chunk by chunk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundflow.model.decoding import StreamDecoder
from soundflow.training.corpus import text_ids
from soundflow.training.evaluate import EvaluatedStream, Evaluator, StreamingScore, score
from soundflow.training.loader import BatchBuilder, LoaderConfig
from tests.training.made import MadeCorpus
from tests.training.world import pico


def evaluated(events: list[int], triggers: list[int], chunks: int = 150, right: bool = True) -> EvaluatedStream:
    reply = (1,) if right else (2,)
    return EvaluatedStream(
        tuple((chunk, (1,)) for chunk in events), tuple((chunk, reply) for chunk in triggers), chunks, chunks * 0.4
    )


def test_figures_by_hand() -> None:
    found = score([evaluated([10, 50, 90], [11, 53, 90, 120])], within=2)
    assert (found.found, found.events, found.triggers) == (2, 3, 4)
    assert found.recall == pytest.approx(2 / 3) and found.precision == 0.5 and found.f1 == pytest.approx(4 / 7)
    assert found.false_alarms_per_minute == 2.0, "two in a minute"
    assert found.balanced_chunk_accuracy == pytest.approx((1 / 3 + 144 / 147) / 2)
    assert found.text_accuracy == 1.0 and found.delays == [1, 0]


def test_a_trigger_finds_one_event_and_an_event_has_one_trigger() -> None:
    assert score([evaluated([10, 11], [10])], within=2).found == 1
    assert score([evaluated([10], [9, 10, 11])], within=2).found == 1


def test_an_unacceptable_reply_lowers_only_the_text_accuracy() -> None:
    found = score([evaluated([10], [10], right=False)], within=0)
    assert (found.recall, found.text_accuracy) == (1.0, 0.0)
    assert score([evaluated([10], [10], right=False)], 0, acceptable=lambda expected, reply: True).text_accuracy == 1.0


def test_trivial_policies_have_trivial_scores() -> None:
    events = list(range(5, 150, 15))
    silent, always = score([evaluated(events, [])], 2), score([evaluated(events, list(range(150)))], 2)
    assert (silent.recall, silent.f1, silent.false_alarms_per_minute, silent.balanced_chunk_accuracy) == (0.0, 0.0, 0.0, 0.5)
    assert always.recall == 1.0 and always.f1 < 0.13 and always.balanced_chunk_accuracy == 0.5
    assert always.false_alarms_per_minute == 140.0


chunks = st.sets(st.integers(0, 59), max_size=12).map(sorted)


@given(events=chunks, triggers=chunks, within=st.integers(0, 5))
def test_scores_stay_within_their_bounds_and_grow_with_tolerance(events: list[int], triggers: list[int], within: int) -> None:
    strict, loose = (score([evaluated(events, triggers, 60)], k) for k in (within, within + 1))
    assert 0 <= strict.found <= min(len(events), len(triggers))
    assert strict.found <= loose.found
    assert all(abs(delay) <= within for delay in strict.delays)
    assert score([evaluated(events, events, 60)], 0).found == len(events)


def test_an_empty_score_is_zero() -> None:
    assert set(StreamingScore().to_json().values()) == {0.0}


SOURCE = MadeCorpus([[(8, [3, 6]), (70, [30])]])


@pytest.mark.parametrize("threshold", [-1e9, 1e9])
def test_extreme_thresholds_always_or_never_respond(threshold: float) -> None:
    evaluator = Evaluator(pico(text_ids(SOURCE)), SOURCE, threshold)
    taken = evaluator.evaluate(0, 0)
    assert [chunk for chunk, _ in taken.events] == [2, 5] and taken.seconds == pytest.approx(3.2)
    assert [chunk for chunk, _ in taken.triggers] == (list(range(8)) if threshold < 0 else [])


def test_its_decisions_are_those_of_one_forward_pass() -> None:
    """Silent throughout: the free-running margins are those of one forward pass."""
    model = pico(text_ids(SOURCE)).eval()
    config = LoaderConfig(seed=0, micro_batch=1, window_chunks=60, streaming=model.streaming)
    builder = BatchBuilder(MadeCorpus([[(8, [])]]), config)
    example, mel = builder.example((0, 0, 0), 0)
    with torch.no_grad():
        hidden = model.hidden(model.embed(torch.from_numpy(example.rows)[None], model.encode_chunks(torch.from_numpy(mel))))[0]
        logits = model.control_logits(hidden[torch.from_numpy(example.y_stream != -100).nonzero()[:, 0] - 1])
    margins = (logits[:, 1] - logits[:, 0]).tolist()
    limit = sorted(margins)[-2]  # only the largest is above it
    taken = Evaluator(model, MadeCorpus([[(8, [])]]), threshold=limit + 1e-4).evaluate(0, 0)
    assert taken.triggers and taken.triggers[0][0] == margins.index(max(margins))


def test_a_long_stream_is_reanchored_at_the_trained_window(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    original = StreamDecoder.reanchor

    def noted(decoder: StreamDecoder, keep: int) -> None:
        lengths.append((decoder.chunks, keep))
        original(decoder, keep)

    monkeypatch.setattr(StreamDecoder, "reanchor", noted)
    assert Evaluator(pico(text_ids(SOURCE)), SOURCE, threshold=1e9).evaluate(0, 1).chunks == 70
    assert lengths == [(60, 30)]
