"""Deterministic checks of responses that a language model worded. Writing and verifying a corpus apply the same checks."""

from __future__ import annotations

import re
from typing import Final

from soundflow.schemas.taxonomy import label_words

LONGEST: Final = 400
"""Characters of a response."""
SHORTEST_STEM: Final = 3
STEM: Final = 4
"""Leading characters that two words of one stem share: bark and barking, alarm and alarms."""
_UNSPEAKABLE = re.compile(r"https?://|www\.|[\n\r\t{}<>\[\]|`#*_\\]|\x00")
_EMPTY_WORDS: Final = frozenset(
    "a an the this that there it its and or of with from into in on at by to for as while then is are was being one two some very"
    " sound sounds noise noises recording somebody someone something person people man woman heard hear near far away making"
    " long short loud quiet close distant background foreground".split()
)


def find_problem(text: str, label: str, caption: str) -> str:
    """Return why `text` may not be the response to a clip of this label and caption, as a slug; empty when it may.

    Slugs: `too_long`, `not_speakable` (markup, links, line breaks), `no_words`, `only_a_question`, `does_not_name_the_sound`.
    """
    if len(text) > LONGEST:
        return "too_long"
    if not is_speakable(text):
        return "not_speakable"
    words = label_words(text)
    if not words:
        return "no_words"
    if not re.search(r"[.!。！]", text) and re.search(r"[?？]\s*$", text):
        return "only_a_question"
    naming = [word for word in label_words(f"{label} {caption}") if word not in _EMPTY_WORDS]
    return "" if any(_have_one_stem(name, word) for name in naming for word in words) else "does_not_name_the_sound"


def is_speakable(text: str) -> bool:
    """Return whether a text can be spoken as written: no markup, link, code or line break."""
    return len(text) <= LONGEST and not _UNSPEAKABLE.search(text)


def _have_one_stem(word: str, other: str) -> bool:
    stem = min(STEM, len(word), len(other))
    return word == other or (stem >= SHORTEST_STEM and word[:stem] == other[:stem])
