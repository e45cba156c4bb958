"""Running speech in clauses, and a translation in segments that follow them: what simultaneous interpretation says when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from soundflow.schemas import constants as c
from soundflow.schemas.clip import Segment, Word
from soundflow.schemas.text import join_texts, words_of

CLAUSES_VERSION: Final = "1"
PAUSE: Final = round(0.15 * c.SAMPLE_RATE)
"""Samples of silence between two words that part clauses; TFJP leaves none longer than 300 ms."""
SHORTEST: Final = 3
"""Words of a clause that ends at a comma or a pause."""
LONGEST: Final = 12
"""Words after which a clause ends even where nobody pauses."""
LAG: Final = 3
"""k of wait-k (Ma et al. 2019): words the interpreter stays behind the speaker."""
BACK: Final = 3
"""Pieces by which a segment may be shorter to end at a punctuation mark."""
_UNSPACED: Final = 1.6
"""Characters of Chinese or Japanese to a word."""
_END: Final = re.compile(r"[.?!;:…。？！；：][\"'”’)\]」』）]*$")
_COMMA: Final = re.compile(r"[,–—，、][\"'”’)\]」』）]*$")
_WIDE: Final = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def clause_ends(words: Sequence[Word]) -> list[int]:
    """Where the clauses of timed words end, as numbers of words; the last is all of them.

    A sentence's end is one; so is a comma or a pause behind at least SHORTEST words; so is a clause of LONGEST words. `words` not
    empty.
    """
    scale = _scale(words)
    ends, begun = [], 0
    for place, word in enumerate(words[:-1], start=1):
        length, left = place - begun, len(words) - place
        paused = words[place].start - word.end >= PAUSE
        light = (_COMMA.search(word.text) or paused) and min(length, left) >= SHORTEST * scale
        if _END.search(word.text) or light or (length >= LONGEST * scale and left >= SHORTEST * scale):
            ends.append(place)
            begun = place
    return [*ends, len(words)]


def wait_k(words: Sequence[Word], translation: str) -> list[Segment]:
    """A translation cut to follow the clauses of its source without a model of either language: wait-k, by share.

    The share p of the translation is said when the share p of the source and LAG words more have been heard, at the end of a
    clause, at a punctuation mark where one is near; the rest at the end. The texts joined are the translation. `words` not empty.
    """
    pieces, lag = words_of(translation), LAG * _scale(words)
    segments: list[Segment] = []
    said = 0
    for end in clause_ends(words):
        share = 1.0 if end == len(words) else max(end - lag, 0.0) / len(words)
        upto = int(share * len(pieces) + 1e-9)
        if end < len(words):
            marks = [place for place in range(max(said, upto - BACK) + 1, upto + 1) if _mark(pieces[place - 1])]
            upto = marks[-1] if marks else upto
        if upto > said:
            segments.append(Segment(text=join_texts(pieces[said:upto]), words=end))
            said = upto
    return segments


def _mark(piece: str) -> bool:
    return bool(_END.search(piece) or _COMMA.search(piece))


def _scale(words: Sequence[Word]) -> float:
    """How many of these words make one: Chinese is written without spaces and cut after every character."""
    wide = sum(bool(_WIDE.search(word.text)) for word in words)
    return _UNSPACED if 2 * wide > len(words) else 1.0
