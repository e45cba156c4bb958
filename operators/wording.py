"""Whether an answer that a language model worded may be said: deterministic checks, the same when it is written and verified."""

from __future__ import annotations

import re
from typing import Final

from schemas.taxonomy import label_words

LONGEST: Final = 400
"""Characters of a spoken answer."""
SHORTEST_STEM: Final = 3
STEM: Final = 4
"""Two words are of one stem when they agree so far: bark and barking, alarm and alarms."""
_UNSPEAKABLE = re.compile(r"https?://|www\.|[\n\r\t{}<>\[\]|`#*_\\]|\x00")
_EMPTY_WORDS: Final = frozenset(
    "the and sound sounds noise noises of with from into some somebody someone something person people man woman heard hear near"
    " very two long short loud quiet close distant".split()
)


def problem(text: str, label: str, caption: str) -> str:
    """Why `text` may not answer a clip of this label and caption, as a slug; empty when it may.

    `too_long`, `not_speakable` (markup, links, line breaks), `no_words`, `only_a_question`, `does_not_name_the_sound`.
    """
    if len(text) > LONGEST:
        return "too_long"
    if _UNSPEAKABLE.search(text):
        return "not_speakable"
    said = label_words(text)
    if not said:
        return "no_words"
    if not re.search(r"[.!。！]", text) and re.search(r"[?？]\s*$", text):
        return "only_a_question"
    named = [word for word in label_words(f"{label} {caption}") if word not in _EMPTY_WORDS]
    return "" if any(_same(word, other) for word in named for other in said) else "does_not_name_the_sound"


def _same(word: str, other: str) -> bool:
    """Whether two words are of one stem, roughly: they begin alike."""
    stem = min(STEM, len(word), len(other))
    return word == other or (stem >= SHORTEST_STEM and word[:stem] == other[:stem])
