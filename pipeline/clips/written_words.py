"""Word times of a transcript with amounts, units and signs, which are spoken with other words than they are written with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from soundflow.operators.protocols.alignment import TRANSCRIPT_REJECTED, Aligner, Samples
from soundflow.operators.speech.normalise import LANGUAGES, base_language, to_spoken_form
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.text import words_of

VERSION: Final = "spoken-1"


def align_transcript(aligner: Aligner, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
    """Return the words of `transcript` with their positions, as `Aligner.align` does.

    A transcript that does not fit as it is written is aligned by the words with which it is spoken. Each written word then has
    the time of the spoken words in its place: `$5` that of `five dollars`.
    """
    outcome = aligner.align(samples, transcript, language)
    is_misfit = isinstance(outcome, Rejected) and outcome.reason in {*TRANSCRIPT_REJECTED, "unknown_words"}
    if not is_misfit or base_language(language) not in LANGUAGES:
        return outcome
    spoken = to_spoken_form(transcript, language)
    if words_of(spoken) == words_of(transcript):
        return outcome
    timed = aligner.align(samples, spoken, language)
    return Ok(tuple(spread(words_of(transcript), timed.value))) if isinstance(timed, Ok) else outcome


def spread(written: Sequence[str], spoken: Sequence[Word]) -> Iterator[Word]:
    """Yield the written words with the times of the spoken ones: equal words have equal times.

    Between two equal words, the spoken words are divided among the written ones in order; there may be fewer of them.
    """
    matcher = SequenceMatcher(None, [_plain(word) for word in written], [_plain(word.text) for word in spoken], autojunk=False)
    for _, first, last, begin, end in matcher.get_opcodes():
        here = spoken[begin:end] or spoken[max(begin - 1, 0) : begin + 1]
        count = last - first
        for place in range(count):
            start, stop = place * len(here) // count, max((place + 1) * len(here) // count, place * len(here) // count + 1)
            part = here[start:stop]
            yield Word(text=written[first + place], start=part[0].start, end=part[-1].end)


def _plain(word: str) -> str:
    return "".join(char for char in word.casefold() if char.isalnum()) or word
