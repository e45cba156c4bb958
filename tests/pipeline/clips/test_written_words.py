"""Times of written words that are spoken otherwise, by hand and with a real voice and aligner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.speech.normalise import to_spoken_form
from soundflow.pipeline.clips.written_words import align_transcript, spread
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.text import words_of


def spoken(text: str) -> list[Word]:
    """Words that take ten samples each."""
    return [Word(text=word, start=10 * place, end=10 * place + 10) for place, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("written", "said", "times"),
    [
        ("it costs $5 now.", "it costs five dollars now.", [(0, 10), (10, 20), (20, 40), (40, 50)]),
        ("12.50 km away", "twelve point five zero kilometers away", [(0, 20), (20, 50), (50, 60)]),
        ("see you at 7:05", "see you at seven oh five", [(0, 10), (10, 20), (20, 30), (30, 60)]),
        ("A & B", "A and B", [(0, 10), (10, 20), (20, 30)]),
        ("one two", "one two", [(0, 10), (10, 20)]),
    ],
)
def test_a_written_word_has_the_time_of_the_words_spoken_for_it(written: str, said: str, times: list[tuple[int, int]]) -> None:
    assert [(word.start, word.end) for word in spread(written.split(), spoken(said))] == times


@given(
    written=st.lists(st.sampled_from("it costs $5 7:05 km now".split()), min_size=1, max_size=8),
    said=st.lists(st.sampled_from("it costs five dollars kilometers now".split()), min_size=1, max_size=8),
)
def test_every_written_word_has_a_time_and_times_do_not_decrease(written: list[str], said: list[str]) -> None:
    words = list(spread(written, spoken(" ".join(said))))
    assert [word.text for word in words] == written
    starts, ends = [word.start for word in words], [word.end for word in words]
    assert starts == sorted(starts) and ends == sorted(ends) and all(word.start < word.end for word in words)


@pytest.mark.parametrize(
    "text",
    ["The ticket costs $12.50 for 3.5 km.", "It weighs 5 kg and it is 25℃ outside.", "We won 3 to 1 & left at 7:05 p.m."],
)
def test_amounts_of_a_real_voice_are_aligned(text: str) -> None:
    pytest.importorskip("pocketsphinx")
    import soxr
    from hibari import SAMPLE_RATE, Hibari

    from soundflow.backends.align.aligners import open_aligner

    voice = np.asarray(Hibari()(to_spoken_form(text), seed=1), dtype=np.float32)
    samples = soxr.resample(voice, SAMPLE_RATE, 16_000)
    outcome = align_transcript(open_aligner("pocketsphinx"), samples, text, "en")
    assert isinstance(outcome, Ok), outcome
    assert [word.text for word in outcome.value] == words_of(text)
    assert samples.size * 0.8 < outcome.value[-1].end <= samples.size


def test_another_sentence_is_still_rejected() -> None:
    pytest.importorskip("pocketsphinx")
    import soxr
    from hibari import SAMPLE_RATE, Hibari

    from soundflow.backends.align.aligners import open_aligner

    voice = np.asarray(Hibari()("The garden was quiet, and nobody came to visit that long summer.", seed=1), dtype=np.float32)
    samples = soxr.resample(voice, SAMPLE_RATE, 16_000)
    outcome = align_transcript(open_aligner("pocketsphinx"), samples, "It costs $12.50 & 3.5 kg of $5 rice.", "en")
    assert isinstance(outcome, Rejected) and outcome.reason == "does_not_fit"
