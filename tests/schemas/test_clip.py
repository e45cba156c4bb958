"""The words of a clip join to its transcript, in order and inside the clip."""

from __future__ import annotations

import pytest

from soundflow.schemas.clip import Clip


def clip(transcript: str | None, *words: tuple[str, int, int], samples: int = 6_400) -> Clip:
    digest = "0" * 64
    return Clip.model_validate(
        {"id": "a", "path": "/a.wav", "role": "foreground", "label": "speech", "transcript": transcript, "samples": samples}
        | {"content_sha256": digest, "clean_sha256": digest, "cache_key": digest, "active_end": samples}
        | {"active_level_db": -20.0, "peak": 0.5, "clipped_ratio": 0.0}
        | {"words": [{"text": text, "start": start, "end": end} for text, start, end in words]}
    )


def test_words_that_fit_are_kept() -> None:
    made = clip("Stop it.", ("Stop", 0, 3_000), ("it.", 3_000, 6_400))
    assert [word.text for word in made.words] == ["Stop", "it."] and Clip.from_json(made.canonical_json()) == made


@pytest.mark.parametrize(
    ("transcript", "words", "why"),
    [
        ("Stop it.", [("Stop", 0, 1), ("that.", 1, 2)], "do not join"),
        ("Stop it.", [("Stop", 0, 1)], "do not join"),
        ("Stop it.", [("it.", 0, 1)], "do not join"),
        (None, [("Stop", 0, 1)], "do not join"),
        ("Stop it.", [("Stop", 0, 9), ("it.", 4, 8)], "not decrease"),
        ("Stop it.", [("Stop", 5, 9), ("it.", 4, 9)], "not decrease"),
        ("Stop it.", [("Stop", 5, 4), ("it.", 5, 6)], "not decrease"),
        ("Stop it.", [("Stop", 0, 1), ("it.", 1, 6_401)], "after the end of the clip"),
    ],
)
def test_words_that_contradict_the_clip_are_refused(transcript: str | None, words: list, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        clip(transcript, *words)
