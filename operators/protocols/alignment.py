"""An aligner, as the operators see it: samples and what is said in them in, a time for each word out.

Backends: pocketsphinx (English), Whisper (99 languages); `backends.align.aligners` opens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Outcome

Samples = NDArray[np.float32]
Span = tuple[float, float]


class Aligner(Protocol):
    """Finds the words of a known text in speech."""

    @property
    def id(self) -> str:
        """Names everything that shapes its answers: library, model, version of our code."""
        ...

    def speaks(self, language: str) -> bool:
        """Whether it can align this language (a code such as `en` or `zh-CN`)."""
        ...

    def align(self, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
        """The words of `transcript`, as `words_of` cuts it, with the samples they are heard at.

        `samples`: shape (n,), mono at 16 kHz. Times never go backwards and stay within n. Rejected: `other_language`, `no_words`
        (nothing in the transcript can be said), `unknown_words`, `too_short` (more words than the time allows), `too_long`,
        `too_many_tokens`, `does_not_fit` (something else is said). Deterministic, whatever was aligned before.
        """
        ...


def place_words(words: Sequence[str], spans: Sequence[Span], samples: int) -> tuple[Word, ...]:
    """Words with their spans (samples), brought into the clip and into order."""
    made, begun, ended = [], 0, 0
    for text, (start, end) in zip(words, spans, strict=True):
        begun = min(max(round(start), begun), samples)
        ended = min(max(round(end), ended, begun), samples)
        made.append(Word(text=text, start=begun, end=ended))
    return tuple(made)
