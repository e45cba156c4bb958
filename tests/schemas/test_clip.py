"""A clip's words: exactly what is written, in order, inside the clip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.clip import Clip, Word, word_pieces

TEXTS = st.text(st.sampled_from("abZ é你,.!-'"), min_size=1, max_size=30).map(lambda text: " ".join(text.split())).filter(bool)


def clip(transcript: str | None, *words: tuple[str, int, int], samples: int = 6_400) -> Clip:
    digest = "0" * 64
    return Clip.model_validate(
        {"id": "a", "path": "/a.wav", "role": "foreground", "label": "speech", "transcript": transcript, "samples": samples}
        | {"content_sha256": digest, "clean_sha256": digest, "cache_key": digest, "active_end": samples}
        | {"active_level_db": -20.0, "peak": 0.5, "clipped_ratio": 0.0}
        | {"words": [{"text": text, "start": start, "end": end} for text, start, end in words]}
    )


@given(TEXTS)
def test_pieces_joined_are_the_transcript(text: str) -> None:
    words = [Word(text=word, start=0, end=0) for word in text.split()]
    pieces = word_pieces(text, words)
    assert "".join(pieces) == text and [piece.strip() for piece in pieces] == text.split()


def test_words_of_a_language_without_spaces_are_pieces_too() -> None:
    words = [Word(text=text, start=0, end=0) for text in ("你", "好，", "世", "界。")]
    assert word_pieces("你好，世界。", words) == ["你", "好，", "世", "界。"]


def test_words_that_fit_are_kept() -> None:
    made = clip("Stop it.", ("Stop", 0, 3_000), ("it.", 3_000, 6_400))
    assert [word.text for word in made.words] == ["Stop", "it."] and Clip.from_json(made.canonical_json()) == made


@pytest.mark.parametrize(
    ("transcript", "words", "why"),
    [
        ("Stop it.", [("Stop", 0, 1), ("that.", 1, 2)], "does not go on with 'that.'"),
        ("Stop it.", [("Stop", 0, 1)], "no word stands for ' it.'"),
        ("Stop it.", [("it.", 0, 1)], "does not go on"),
        (None, [("Stop", 0, 1)], "does not go on"),
        ("Stop it.", [("Stop", 0, 9), ("it.", 4, 8)], "backwards"),
        ("Stop it.", [("Stop", 5, 9), ("it.", 4, 9)], "backwards"),
        ("Stop it.", [("Stop", 5, 4), ("it.", 5, 6)], "backwards"),
        ("Stop it.", [("Stop", 0, 1), ("it.", 1, 6_401)], "after the clip"),
    ],
)
def test_words_that_contradict_the_clip_are_refused(transcript: str | None, words: list, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        clip(transcript, *words)
