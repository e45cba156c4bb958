"""Split running speech into clauses, and a translation into segments that follow them, for simultaneous interpretation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from soundflow.schemas import constants as c
from soundflow.schemas.clip import Segment, Word
from soundflow.schemas.text import join_texts, words_of

CLAUSES_VERSION: Final = "1"
PAUSE: Final = round(0.15 * c.SAMPLE_RATE)
"""Samples of silence between two words that end a clause. TFJP leaves no silence longer than 300 ms."""
SHORTEST: Final = 3
"""Minimum words of a clause that ends at a comma or a pause."""
LONGEST: Final = 12
"""Words after which a clause ends without a pause."""
LAG: Final = 3
"""k of wait-k (Ma et al. 2019): words by which the interpreter stays behind the speaker."""
BACK: Final = 3
"""Maximum number of pieces by which a segment is shortened to end at a punctuation mark."""
_CHARACTERS_PER_WORD: Final = 1.6
"""Of Chinese and Japanese."""
_END: Final = re.compile(r"[.?!;:…。？！；：][\"'”’)\]」』）]*$")
_COMMA: Final = re.compile(r"[,–—，、][\"'”’)\]」』）]*$")
_WIDE: Final = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def clause_ends(words: Sequence[Word]) -> list[int]:
    """Return the ends of the clauses of timed words, as numbers of words from the start. `words` must not be empty.

    A clause ends at the end of a sentence, at a comma or pause after at least SHORTEST words, or after LONGEST words.
    """
    scale = _words_per_word(words)
    ends, start = [], 0
    for place, word in enumerate(words[:-1], start=1):
        length, left = place - start, len(words) - place
        is_pause = words[place].start - word.end >= PAUSE
        is_soft_end = (_COMMA.search(word.text) or is_pause) and min(length, left) >= SHORTEST * scale
        if _END.search(word.text) or is_soft_end or (length >= LONGEST * scale and left >= SHORTEST * scale):
            ends.append(place)
            start = place
    return [*ends, len(words)]


def wait_k(words: Sequence[Word], translation: str) -> list[Segment]:
    """Split a translation into segments that follow its source, without a model of either language. `words` must not be empty.

    A share of the translation is due at the end of the clause in which the same share of the source, and LAG more words, end.
    A segment ends at a punctuation mark if one is near; the rest is due at the end. The joined texts are the translation.
    """
    pieces, lag = words_of(translation), LAG * _words_per_word(words)
    segments: list[Segment] = []
    done = 0
    for end in clause_ends(words):
        share = 1.0 if end == len(words) else max(end - lag, 0.0) / len(words)
        stop = int(share * len(pieces) + 1e-9)
        if end < len(words):
            marks = [place for place in range(max(done, stop - BACK) + 1, stop + 1) if _ends_with_mark(pieces[place - 1])]
            stop = marks[-1] if marks else stop
        if stop > done:
            segments.append(Segment(text=join_texts(pieces[done:stop]), words=end))
            done = stop
    return segments


def _ends_with_mark(piece: str) -> bool:
    return bool(_END.search(piece) or _COMMA.search(piece))


def _words_per_word(words: Sequence[Word]) -> float:
    """Return how many of the timed words make one word: Chinese and Japanese are timed by character."""
    wide = sum(bool(_WIDE.search(word.text)) for word in words)
    return _CHARACTERS_PER_WORD if 2 * wide > len(words) else 1.0
