"""Regular inflections of English words, so that word lists name each word once: `scream` also stands for `screaming`.

Forms are generated from the listed words rather than stripped from the words of a text: a stemmer takes `fir` for `fire` and
`wav` for `wave`, generated forms do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

_VOWELS: Final = frozenset("aeiou")
_SIBILANTS: Final = ("s", "x", "z", "ch", "sh")
IRREGULAR: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "break": ("broke", "broken"),
        "goose": ("geese",),
        "sing": ("sang", "sung"),
        "weep": ("wept",),
    }
)
"""Forms that the rules do not produce, of words in our lists."""


def inflections(word: str) -> frozenset[str]:
    """Return a lower-case word with its plural or third person, possessive, -ing and -ed forms.

    `cry` → cry, crys, cry's, cries, cried, crying …: a form that English does not have does no harm, since no text contains it.
    """
    stems = [word]
    if word.endswith("e") and not word.endswith("ee"):
        stems = [word[:-1]]
    elif len(word) > 2 and word[-1] not in _VOWELS | set("wxy") and word[-2] in _VOWELS and word[-3] not in _VOWELS:
        stems = [word, word + word[-1]]  # sob → sobbing; siren → sirening
    forms = {word, f"{word}s", f"{word}'s", f"{word}s'"} | {stem + ending for stem in stems for ending in ("ing", "ed")}
    if word.endswith((*_SIBILANTS, "o")):
        forms |= {f"{word}es", f"{word}'"}
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        forms |= {f"{word[:-1]}ies", f"{word[:-1]}ied"}
    return frozenset(forms | set(IRREGULAR.get(word, ())))


def base_forms(words: Iterable[str]) -> dict[str, str]:
    """Return inflected form → word for all of `words`. A listed word stands for itself, even if it is a form of another one."""
    listed = sorted(set(words))
    return {form: word for word in listed for form in inflections(word)} | {word: word for word in listed}
