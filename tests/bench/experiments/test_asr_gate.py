"""bench/experiments/asr_gate spoils what it says it spoils."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from soundflow.bench.experiments.asr_gate import _alter, _cut, _mistaken, _shortened
from soundflow.bench.experiments.sentences import SENTENCES, clauses, whole
from soundflow.operators.clean.activity import active_hops
from soundflow.operators.speech.normalise import to_spoken_form
from soundflow.operators.speech.pace import SENTENCES as MEASURED
from soundflow.schemas.identity import rng_for
from tests.conftest import SENTENCES as RECORDED


def test_there_are_a_hundred_sentences_that_no_pace_was_measured_on() -> None:
    texts = [whole(sentence) for sentence in SENTENCES]
    assert len(set(texts)) == 100 and not set(texts) & set(MEASURED["en"])
    assert sum(len(clauses(sentence)) > 1 for sentence in SENTENCES) == 60
    assert all(" ".join(clauses(sentence)) == whole(sentence) for sentence in SENTENCES)


@pytest.mark.parametrize("errors", [0, 1, 2, 3])
def test_so_many_words_are_altered(errors: int) -> None:
    counts = []
    for number, text in enumerate(to_spoken_form(whole(sentence)) for sentence in SENTENCES[:60]):
        other = _alter(text, errors, ["one", "other", "word", "again"], rng_for("test", 0, number, "altered"))
        found = jiwer.process_words(text, other)
        counts.append(found.substitutions + found.deletions + found.insertions)
    assert max(counts) <= errors and np.mean(counts) > 0.9 * errors - 0.01  # a word dropped beside one added is one edit


def test_cuts_leave_what_they_say(real_audio: dict[str, np.ndarray]) -> None:
    samples = real_audio["long"]

    def active_span(audio: np.ndarray) -> float:
        active = np.flatnonzero(active_hops(audio))
        return float(active[-1] - active[0])

    assert active_span(_shortened(samples, 0.25)) == pytest.approx(0.75 * active_span(samples), rel=0.06)
    parts = RECORDED["long"].split(", ")
    cut = _cut(samples, parts, 0.0, rng_for("test", 0, 0, "cut"))
    assert active_span(cut) == pytest.approx(len(parts[0]) / len(" ".join(parts)) * active_span(samples), rel=0.15)
    assert _mistaken(samples, 16_000, 24_000).size == pytest.approx(samples.size * 2 / 3, abs=2)
