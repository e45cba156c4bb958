"""The protocol of forced aligners: speech and its transcript in, a time span for each word out.

Backends: pocketsphinx (English), Whisper (99 languages). `backends.align.aligners` opens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas import constants as c
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Outcome

TRANSCRIPT_REJECTED: Final = frozenset(("does_not_fit", "too_short"))
"""Reasons of rejections which mean that the speech differs from its transcript."""
Samples = NDArray[np.float32]
Span = tuple[float, float]


class Aligner(Protocol):
    """Aligns a known transcript with speech."""

    @property
    def id(self) -> str:
        """Name of everything that shapes the result: library, model and version of our code."""
        ...

    def speaks(self, language: str) -> bool:
        """Return whether it can align a language (a code such as `en` or `zh-CN`)."""
        ...

    def align(self, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
        """Return the words of `transcript`, as `words_of` splits it, with their sample positions.

        `samples`: shape (n,), mono at 16 kHz. Times do not decrease and stay within n. Rejected: `other_language`, `no_words`
        (nothing pronounceable in the transcript), `unknown_words`, `too_short` (more words than fit the length), `too_long`,
        `too_many_tokens`, `does_not_fit` (the speech differs from the transcript). Deterministic, also across calls.
        """
        ...


def place_words(words: Sequence[str], spans: Sequence[Span], samples: int, speech_end: int = 0) -> tuple[Word, ...]:
    """Return words with their spans in samples, limited to the clip and made non-decreasing.

    `speech_end`: where activity ends (`operators.clean.activity.active_end`), 0 if unknown. The last word ends there, since
    aligners include the silence after it. Activity that goes on for more than half a chunk after the word (a
    cough, a door) does not belong to it.
    """
    made, begun, ended = [], 0, 0
    for text, (start, end) in zip(words, spans, strict=True):
        begun = min(max(round(start), begun), samples)
        ended = min(max(round(end), ended, begun), samples)
        made.append(Word(text=text, start=begun, end=ended))
    if made and made[-1].start < speech_end <= min(made[-1].end + c.HALF_CHUNK_SAMPLES, samples):
        made = [word.model_copy(update={"end": min(word.end, speech_end)}) for word in made]
        made[-1] = made[-1].model_copy(update={"end": speech_end})
    return tuple(made)
