"""Running text in pieces: what is cut joins again to exactly what was written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.schemas.text import join_texts, words_of

TEXTS = st.text(st.sampled_from("abZ7 é你好世，。,.!—-'\u3099"), max_size=30).map(lambda text: " ".join(text.split()))


@given(TEXTS)
def test_words_joined_are_the_text_and_each_can_be_heard(text: str) -> None:
    words = words_of(text)
    assert join_texts(words) == text
    if any(char.isalnum() for char in text):
        assert all(any(char.isalnum() for char in word) for word in words)


@given(TEXTS, st.data())
def test_words_grouped_anyhow_join_to_the_text(text: str, data: st.DataObject) -> None:
    words = words_of(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)))) | {0, len(words)})
    assert join_texts(join_texts(words[a:b]) for a, b in pairwise(cuts)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The storm, it came!", ["The", "storm,", "it", "came!"]),
        ("the sea — and the sky", ["the", "sea —", "and", "the", "sky"]),
        ("“ Hello ” she said", ["“ Hello ”", "she", "said"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("我用 Python 写", ["我", "用 Python 写"]),
        ("5 % of it", ["5 %", "of", "it"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_a_text_is_cut_where_it_is_spoken_apart(text: str, words: list[str]) -> None:
    assert words_of(text) == words
