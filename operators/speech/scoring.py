"""Word error rate of a transcript against its reference text; character error rate in Mandarin.

One normaliser is applied to both: numbers, case, punctuation, contractions and spelling variants do not count as errors.
Recognisers write `$10`, `10 dollars` or `ten dollars` for the same sounds, and a planned text may have any of these forms, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import jiwer

from soundflow.operators.speech.normalise import base_language, to_spoken_form
from soundflow.schemas.base import missing_library

SCORING_VERSION: Final = "3"
_COUNT: Final = (
    "(?:(?:(?:twen|thir|for|fif|six|seven|eigh|nine)ty|(?:thir|four|fif|six|seven|eigh|nine)teen|zero|one|two|three|four|five|six|"
    "seven|eight|nine|ten|eleven|twelve|hundred|thousand|million|billion|point|and)[ -])"
)
"""A word of a number in words, with the space or hyphen behind it."""
_PARTED: Final = "dollars?|euros?|pounds?|rupees?|pesos?|yuan|hours?|minutes?|days?|feet|foot"
"""Units whose parts may be joined with `and`: ten dollars (and) fifty cents."""
_ENGLISH_EQUIVALENTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\bo'clock\b", "oclock"),
        (r"\bcannot\b", "can not"),
        (r"\bokay\b", "ok"),
        (r"\ba (hundred|thousand|million)\b", r"one \1"),
        (
            r"\bnegative (?=(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|point)\b)",
            "minus ",
        ),
        (r"\b(?:US|U\.S\.|American) dollar(?=s?\b)", "dollar"),
        (r"\band (?:one |a )?half\b", "and a half"),
        (r"(?<!and )\b(?:one|a) half\b", "half"),
        (r"(?<!point )\bzero point\b", "point"),
        (rf"\b({_PARTED}),? and (?={_COUNT})", r"\1 "),
        (rf"\b((?:[a-z]+ ){{0,2}}[a-z]+) to ({_COUNT}+)\1\b", r"to \2\1"),
    )
)
"""Writings of one pronunciation that the English normaliser does not unify. The last two are ranges of amounts:
`five dollars to ten dollars` is also written for `five to ten dollars`."""
_MANDARIN_DIGITS: Final = "零一二三四五六七八九十"
_MANDARIN_EQUIVALENTS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[两〇幺]", lambda match: {"两": "二", "〇": "零", "幺": "一"}[match[0]]),
        ("点半", "点三十分"),
        ("点整", "点"),
        ("点([一二三四五六七八九])分", r"点零\1分"),
        (f"(点[{_MANDARIN_DIGITS}]+)分(?!之)", r"\1"),
        (f"(小时[{_MANDARIN_DIGITS}]+分)钟", r"\1"),
        (f"(月[{_MANDARIN_DIGITS}]+)号", r"\1日"),
        (f"零下(?=[{_MANDARIN_DIGITS}百])", "负"),
        (f"摄氏([{_MANDARIN_DIGITS}百点]+)度", r"\1摄氏度"),
    )
)
"""Writings of one reading in Mandarin: 七点半 and 七点三十分, 五号 and 五日, 幺 and 一."""

_DECADE: Final = re.compile(r"['’](?=\d0s\b)")
"""The apostrophe of `the '80s`, which recognisers also write for `the eighties`."""
_CLOCK: Final = re.compile(r"\b(1?\d|2[0-4])[.:]([0-5]\d)\b")
"""Times of day: the normaliser writes 930, recognisers write 9.30 or 9:30."""


@dataclass(frozen=True, slots=True)
class WordErrorScore:
    """The comparison of a transcript with its reference. Both texts are normalised."""

    wer: float
    """Edits per reference token: 0 is perfect, above 1 is possible."""
    reference: str
    hypothesis: str
    missing_end: int
    """Tokens at the end of the reference that the transcript lacks."""

    @property
    def tokens(self) -> int:
        """Number of tokens of the reference."""
        return len(self.reference.split())


def score(reference: str, hypothesis: str, language: str, unify: Callable[[str], str] = str) -> WordErrorScore:
    """Compare a transcript (`hypothesis`) with the text that was rendered (`reference`).

    `unify` is applied to both after normalisation, such as `Pronunciations.unify`.
    """
    expected, found = (unify(normalise_for_scoring(text, language)) for text in (reference, hypothesis))
    if not expected:
        return WordErrorScore(float(bool(found)), expected, found, 0)
    words = expected.split()
    errors = _find_errors(jiwer.process_words(expected, found).alignments[0], words, found.split())
    edits = sum(max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in errors)
    is_cut = errors and errors[-1].type == "delete" and errors[-1].ref_end_idx == len(words)
    missing = errors[-1].ref_end_idx - errors[-1].ref_start_idx if is_cut else 0
    return WordErrorScore(edits / len(words), expected, found, missing)


def _find_errors(chunks: Sequence[jiwer.AlignmentChunk], expected: list[str], found: list[str]) -> list[jiwer.AlignmentChunk]:
    """Return the chunks that differ, without words that are only joined or split (`every one`, `everyone`)."""
    errors: list[jiwer.AlignmentChunk] = []
    for differs, group in groupby(chunks, key=lambda chunk: chunk.type != "equal"):
        run = list(group)
        first, last = run[0], run[-1]
        reference, hypothesis = expected[first.ref_start_idx : last.ref_end_idx], found[first.hyp_start_idx : last.hyp_end_idx]
        if differs and "".join(reference) != "".join(hypothesis):
            errors += run
    return errors


def normalise_for_scoring(text: str, language: str) -> str:
    """Return the tokens of a text, separated by single spaces: words, or characters in Mandarin."""
    if base_language(language) == "zh":
        spoken = to_spoken_form(text, "zh").lower()
        for pattern, replacement in _MANDARIN_EQUIVALENTS:
            spoken = pattern.sub(replacement, spoken)
        return " ".join(re.findall(r"[a-z]+|[^\W_]", spoken))
    spoken = to_spoken_form(_DECADE.sub("", text), "en")
    for pattern, replacement in _ENGLISH_EQUIVALENTS:
        spoken = pattern.sub(replacement, spoken)
    normalised = _CLOCK.sub(r"\1\2", " ".join(str(_english_normaliser()(spoken)).split()))
    return normalised or " ".join(re.findall(r"[^\W_]+", spoken.lower()))


@functools.cache
def _english_normaliser() -> Any:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise missing_library("whisper-normalizer", "speech") from None
    return EnglishTextNormalizer()
