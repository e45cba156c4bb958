"""Whether an answer that a language model worded may be said: deterministic checks, the same when it is written and verified."""

from __future__ import annotations

import re
from typing import Final

from soundflow.schemas.taxonomy import label_words

LONGEST: Final = 400
"""Characters of a spoken answer."""
SHORTEST_STEM: Final = 3
STEM: Final = 4
"""Two words are of one stem when they agree so far: bark and barking, alarm and alarms."""
_UNSPEAKABLE = re.compile(r"https?://|www\.|[\n\r\t{}<>\[\]|`#*_\\]|\x00")
_EMPTY_WORDS: Final = frozenset(
    "a an the this that there it its and or of with from into in on at by to for as while then is are was being one two some very"
    " sound sounds noise noises recording somebody someone something person people man woman heard hear near far away making"
    " long short loud quiet close distant background foreground".split()
)


def problem(text: str, label: str, caption: str) -> str:
    """Why `text` may not answer a clip of this label and caption, as a slug; empty when it may.

    `too_long`, `not_speakable` (markup, links, line breaks), `no_words`, `only_a_question`, `does_not_name_the_sound`.
    """
    if len(text) > LONGEST:
        return "too_long"
    if not speakable(text):
        return "not_speakable"
    said = label_words(text)
    if not said:
        return "no_words"
    if not re.search(r"[.!。！]", text) and re.search(r"[?？]\s*$", text):
        return "only_a_question"
    named = [word for word in label_words(f"{label} {caption}") if word not in _EMPTY_WORDS]
    return "" if any(_same(word, other) for word in named for other in said) else "does_not_name_the_sound"


def speakable(text: str) -> bool:
    """Whether a text can be said as it stands: no markup, link, code or line break."""
    return len(text) <= LONGEST and not _UNSPEAKABLE.search(text)


def _same(word: str, other: str) -> bool:
    """Whether two words are of one stem, roughly: they begin alike."""
    stem = min(STEM, len(word), len(other))
    return word == other or (stem >= SHORTEST_STEM and word[:stem] == other[:stem])
