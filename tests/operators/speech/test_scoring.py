"""The error rate counts words that differ, and no spellings that differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.speech.scoring import normalise_for_scoring, score

SAME = [
    ("The train leaves at 7:30 p.m. on March 3, 2021.", "the train leaves at seven thirty PM on March 3rd, 2021"),
    ("forty-five dollars and fifty cents", "$45.50"),
    ("Go to example dot com.", "go to example.com"),
    ("The train leaves at seven thirty.", "The train leaves at 7.30."),
    ("at ten o'clock", "At 10 o'clock."),
    ("twenty twenty-four", "2024"),
    ("two thousand and twenty-four", "2024"),
    ("the colour of my neighbour", "The color of my neighbor"),
    ("I cannot, it's OK", "I can't; it is okay"),
    ("fifteen percent of eighty", "15% of 80"),
    ("a hundred years", "100 years"),
    ("Doctor Smith", "Dr. Smith"),
    ("minus five degrees Celsius", "-5°C"),
    ("the town was under water", "the town was underwater"),
]


@pytest.mark.parametrize(("reference", "hypothesis"), SAME)
def test_numbers_case_punctuation_contractions_and_spellings_do_not_count(reference: str, hypothesis: str) -> None:
    assert score(reference, hypothesis, "en").wer == 0.0 == score(hypothesis, reference, "en").wer


def test_words_count() -> None:
    found = score("please turn the heating down before you leave the house", "please turn the heating on before you leave", "en")
    assert found.wer == pytest.approx(3 / 10) and found.missing_end == 2


def test_silence_in_place_of_words_is_an_error_rate_of_one() -> None:
    found = score("hello there", "", "en")
    assert (found.wer, found.missing_end) == (1.0, 2)


def test_an_utterance_of_a_filler_is_still_compared() -> None:
    assert score("Hmm.", "hmm", "en").wer == 0.0 and score("Hmm.", "no", "en").wer == 1.0


def test_mandarin_is_compared_by_character() -> None:
    assert score("今天是二零二四年三月五日，两个人。", "今天是2024年3月5日,2个人", "zh").wer == 0.0
    assert score("今天天气很好", "今天天气真好", "zh").wer == pytest.approx(1 / 6)


@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_every_text_equals_itself_and_its_normal_form(text: str, language: str) -> None:
    assert score(text, text, language).wer == 0.0
    assert normalise_for_scoring(text, language) == " ".join(normalise_for_scoring(text, language).split())
