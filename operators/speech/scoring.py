"""How far a transcript is from the text that was to be said: word error rate, in Mandarin character error rate.

Both sides go through one normaliser: numbers, case, punctuation, contractions and spellings do not count.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import jiwer

from soundflow.operators.speech.normalise import base_language, spoken
from soundflow.schemas.base import missing_library

SCORING_VERSION: Final = "2"
_SAME: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), same)
    for pattern, same in (
        (r"\bo'clock\b", "oclock"),
        (r"\bcannot\b", "can not"),
        (r"\bokay\b", "ok"),
        (r"\ba (hundred|thousand|million)\b", r"one \1"),
    )
)
"""What the English normaliser leaves apart though it sounds the same."""

_CLOCK: Final = re.compile(r"\b(1?\d|2[0-4])[.:]([0-5]\d)\b")
"""Half past nine is written 930 by the normaliser and 9.30 or 9:30 by recognisers."""


@dataclass(frozen=True, slots=True)
class WordErrorScore:
    """One comparison. Texts are as they were compared."""

    wer: float
    """Edits per reference token: 0 is perfect, above 1 is possible."""
    reference: str
    hypothesis: str
    unheard_end: int
    """Tokens of the reference after the last one that was heard at all."""

    @property
    def tokens(self) -> int:
        """Of the reference."""
        return len(self.reference.split())


def score(reference: str, hypothesis: str, language: str) -> WordErrorScore:
    """Compare what was heard with what was to be said."""
    wanted, heard = comparable(reference, language), comparable(hypothesis, language)
    if not wanted:
        return WordErrorScore(float(bool(heard)), wanted, heard, 0)
    words, said = wanted.split(), heard.split()
    wrong = _wrong(jiwer.process_words(wanted, heard).alignments[0], words, said)
    edits = sum(max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in wrong)
    lost = wrong and wrong[-1].type == "delete" and wrong[-1].ref_end_idx == len(words)
    unheard = wrong[-1].ref_end_idx - wrong[-1].ref_start_idx if lost else 0
    return WordErrorScore(edits / len(words), wanted, heard, unheard)


def _wrong(chunks: Sequence[jiwer.AlignmentChunk], wanted: list[str], heard: list[str]) -> list[jiwer.AlignmentChunk]:
    """What differs, but for words that were only joined or split (`every one`, `everyone`)."""
    wrong: list[jiwer.AlignmentChunk] = []
    for differs, group in groupby(chunks, key=lambda chunk: chunk.type != "equal"):
        run = list(group)
        first, last = run[0], run[-1]
        here, there = wanted[first.ref_start_idx : last.ref_end_idx], heard[first.hyp_start_idx : last.hyp_end_idx]
        if differs and "".join(here) != "".join(there):
            wrong += run
    return wrong


def comparable(text: str, language: str) -> str:
    """Tokens with single spaces between them: words, in Mandarin characters."""
    if base_language(language) == "zh":
        said = spoken(text, "zh").lower().replace("两", "二").replace("〇", "零")
        return " ".join(re.findall(r"[a-z]+|[^\W_]", said))
    said = spoken(text, "en")
    for pattern, same in _SAME:
        said = pattern.sub(same, said)
    compared = _CLOCK.sub(r"\1\2", " ".join(str(_english()(said)).split()))
    return compared or " ".join(re.findall(r"[^\W_]+", said.lower()))


@functools.cache
def _english() -> Any:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise missing_library("whisper-normalizer", "speech") from None
    return EnglishTextNormalizer()
