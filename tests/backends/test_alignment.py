"""Forced alignment: word times against known times, and transcripts that do not match."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.backends.align.aligners import aligner_name, language_of, open_aligner
from soundflow.backends.align.pronunciation import Pronouncer, arpabet, plain
from soundflow.bench.experiments.alignment import SENTENCES, TimedSpeech, measure, rendered
from soundflow.operators.protocols.alignment import Aligner, place_words
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.text import join_texts, words_of

MODEL = asset_dir() / "whisper-tiny-en" / "model.bin"
BASE = asset_dir() / "whisper-base" / "model.bin"


@pytest.fixture(scope="module")
def known() -> list[TimedSpeech]:
    """Speech joined from single words: without gaps, with short and with long ones."""
    return list(rendered(SENTENCES[1:7]))


@pytest.fixture(params=["pocketsphinx", "whisper"])
def aligner(request: pytest.FixtureRequest) -> Aligner:
    if request.param == "whisper" and not MODEL.is_file():
        pytest.skip("the model is not here: soundflow assets fetch whisper-tiny-en")
    return open_aligner(request.param)


def aligned(aligner: Aligner, samples: np.ndarray, text: str, language: str = "en") -> tuple[Word, ...]:
    outcome = aligner.align(samples, text, language)
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def refusal(aligner: Aligner, samples: np.ndarray, text: str, language: str = "en") -> str:
    outcome = aligner.align(samples, text, language)
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


def test_word_ends_lie_where_the_words_end(aligner: Aligner, known: list[TimedSpeech]) -> None:
    found = measure(aligner, known)
    assert found["clips not aligned"] == 0
    assert found["median"] <= 60 and found["95 %"] <= 200
    assert found["correct chunk"] >= 0.9 and found["early by more than a chunk"] == 0
    assert abs(found["bias of ends"]) <= 15  # ms: what was systematic is calibrated away


def test_the_words_are_exactly_the_transcript_in_order_and_inside_the_clip(
    aligner: Aligner, real_audio: dict[str, np.ndarray]
) -> None:
    text = "What is the weather - going to be like; “tomorrow” morning?!"
    samples = real_audio["question"]
    words = aligned(aligner, samples, text)
    assert [word.text for word in words] == words_of(text) and join_texts(word.text for word in words) == text
    assert all(word.start < word.end for word in words) and words[-1].end <= samples.size
    assert all(before.end <= after.end and before.start <= after.start for before, after in pairwise(words))


def test_a_pause_before_a_word_moves_it_and_what_follows(aligner: Aligner, real_audio: dict[str, np.ndarray]) -> None:
    samples, text = real_audio["request"], "Please turn the heating down before you leave the house."
    before = aligned(aligner, samples, text)
    late = aligned(aligner, np.concatenate([np.zeros(8_000, np.float32), samples]), text)
    assert np.abs([b.end + 8_000 - a.end for b, a in zip(before, late, strict=True)]).max() < 2_400


def test_alignment_does_not_depend_on_what_was_aligned_before(aligner: Aligner, real_audio: dict[str, np.ndarray]) -> None:
    texts = {"short": "Stop the music.", "question": "What is the weather going to be like tomorrow morning?"}
    first = {name: aligned(aligner, real_audio[name], text) for name, text in texts.items()}
    again = {name: aligned(aligner, real_audio[name], text) for name, text in reversed(texts.items())}
    assert first == again


def test_a_transcript_that_does_not_match_is_rejected(aligner: Aligner, real_audio: dict[str, np.ndarray]) -> None:
    samples = real_audio["question"]
    assert refusal(aligner, samples, "My sister bought seven green apples at the market.") == "does_not_fit"
    assert refusal(aligner, real_audio["short"], "word " * 80) == "too_short"
    assert refusal(aligner, samples[:160], "Hello there.") == "too_short"
    assert refusal(aligner, samples, "… -- !") == "no_words"
    assert refusal(aligner, np.zeros(32_000, np.float32), "Stop the music.") in ("does_not_fit", "too_short")


def test_pocketsphinx_rejects_other_languages(real_audio: dict[str, np.ndarray]) -> None:
    aligner = open_aligner("pocketsphinx")
    assert refusal(aligner, real_audio["short"], "停下音乐。", "zh") == "other_language"
    assert refusal(aligner, real_audio["short"], "停下音乐。", "en") == "unknown_words"
    assert aligned(aligner, real_audio["short"], "Stop the music.", "en-GB")


def test_names_numbers_and_amounts_are_found_as_they_are_written() -> None:
    import soxr
    from hibari import SAMPLE_RATE, Hibari

    text = "Mrs. Kowalczyk paid $9.99 for 3 apples on the 21st."
    spoken = np.asarray(Hibari()(text, seed=1), dtype=np.float32)
    words = aligned(open_aligner("pocketsphinx"), soxr.resample(spoken, SAMPLE_RATE, 16_000), text)
    assert [word.text for word in words] == text.split() and words[3].end - words[3].start > 8_000  # $9.99 is long


@pytest.mark.skipif(not BASE.is_file(), reason="the model is not here: soundflow assets fetch whisper-base")
def test_whisper_rejects_a_mandarin_transcript_that_does_not_match(real_audio: dict[str, np.ndarray]) -> None:
    assert (
        refusal(open_aligner("whisper"), real_audio["question"], "今天下午我们去公园散步，然后回家吃饭。", "zh") == "does_not_fit"
    )


def test_a_recording_longer_than_whispers_window_is_rejected() -> None:
    if not MODEL.is_file():
        pytest.skip("the model is not here: soundflow assets fetch whisper-tiny-en")
    assert refusal(open_aligner("whisper"), np.zeros(31 * 16_000, np.float32), "Hello.") == "too_long"


@pytest.mark.parametrize(
    ("text", "language", "found", "name"),
    [
        ("Hello.", "", "en", "pocketsphinx"),
        ("今天。", "", "zh", "whisper"),
        ("Hallo.", "de", "de", "whisper"),
        ("x", "en-GB", "en-GB", "pocketsphinx"),
    ],
)
def test_the_language_selects_the_aligner(text: str, language: str, found: str, name: str) -> None:
    assert language_of(text, language) == found and aligner_name("auto", found) == name
    assert aligner_name("whisper", found) == "whisper"


@pytest.mark.parametrize(
    ("end", "heard", "expected"),
    [
        (16_000, 12_800, 12_800),  # the aligner gave all of the tail to the word, which ends exactly with a chunk
        (20_000, 12_801, 12_801),  # the aligner's end is beyond the audio
        (12_700, 12_800, 12_800),  # the word goes on a little after the aligner's end
        (9_600, 12_800, 12_800),  # half a chunk still belongs to the word
        (9_599, 12_800, 9_599),  # a cough does not
        (12_800, 8_000, 12_800),  # nothing is heard where the word is: keep its time
        (20_000, 0, 16_000),  # unknown
    ],
)
def test_the_last_word_ends_where_speech_ends(end: int, heard: int, expected: int) -> None:
    words = place_words(["one", "two"], [(0, 8_000), (8_000, end)], 16_000, heard)
    assert [(word.start, word.end) for word in words] == [(0, 8_000), (8_000, expected)]


def test_no_word_ends_after_the_last_one() -> None:
    words = place_words(["one", "two"], [(0, 15_000), (8_000, 16_000)], 16_000, 12_000)
    assert [(word.start, word.end) for word in words] == [(0, 12_000), (8_000, 12_000)]


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)), min_size=1, max_size=8),
    st.integers(0, 20_000),
    st.integers(0, 20_000),
)
def test_spans_of_any_kind_are_brought_into_order_and_into_the_clip(
    spans: list[tuple[float, float]], samples: int, heard: int
) -> None:
    words = place_words([f"w{number}" for number in range(len(spans))], spans, samples, heard)
    marks = [(word.start, word.end) for word in words]
    assert marks == sorted(marks) and [end for _, end in marks] == sorted(end for _, end in marks)
    assert all(0 <= start <= end <= samples for start, end in marks)


def test_pronunciations_are_phones_of_the_dictionary() -> None:
    assert arpabet("hˈɛloʊ wˈɜɹld") and set(arpabet("ˈ, .")) == set()
    reader = Pronouncer()
    assert len(reader.readings("1984")) >= 2 and reader.readings("NASA") and not reader.readings("…")
    assert [plain(word) for word in ("“Hello,”", "don’t", "U.S.")] == ["hello", "don't", "u.s"]
