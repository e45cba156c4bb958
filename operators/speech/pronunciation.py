"""A pronunciation list: names and words that a voice reads better in another spelling, such as `Nguyen` as `win`.

Only the text for the voice is respelled; transcripts keep the usual spelling. Since a recogniser may write either, the gate
unifies both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from soundflow.operators.speech.normalise import LANGUAGES, base_language, to_spoken_form
from soundflow.operators.speech.scoring import normalise_for_scoring

_CJK: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class Pronunciations:
    """A list of words and the spellings by which they are spoken."""

    def __init__(self, spoken_as: Mapping[str, str] | None = None):
        self.spoken_as = dict(spoken_as or {})
        # The list may be long and is used for every take, so each language's patterns are made once.
        self._respellings = lru_cache(maxsize=None)(self._make_respellings)
        self._unifiers = lru_cache(maxsize=None)(self._make_unifiers)

    def respell(self, text: str, language: str) -> str:
        """Return a text in its spoken form for the voice.

        Words are matched whole, also in their own spoken form (`WD-40`, `WD forty`), longer ones first. A word of the list that
        is in lower case matches in any case.
        """
        pattern, spellings = self._respellings(language)
        if pattern is None:
            return text
        return pattern.sub(lambda match: spellings.get(match[0]) or spellings.get(match[0].casefold(), match[0]), text)

    def unify(self, tokens: str, language: str) -> str:
        """Return the result of `normalise_for_scoring` with every word of the list in the spelling by which it is spoken."""
        pattern, spellings = self._unifiers(language)
        return pattern.sub(lambda match: spellings[match[0]], tokens) if pattern else tokens

    def _make_respellings(self, language: str) -> tuple[re.Pattern[str] | None, dict[str, str]]:
        spellings: dict[str, str] = {}
        for word, spoken in self.spoken_as.items():
            spoken = _spoken_form(spoken, language)
            for form in (word, _spoken_form(word, language)):
                spellings.setdefault(form.casefold() if form == form.lower() else form, spoken)
        return _pattern(spellings), spellings

    def _make_unifiers(self, language: str) -> tuple[re.Pattern[str] | None, dict[str, str]]:
        normalised = {
            normalise_for_scoring(word, language): normalise_for_scoring(spoken, language)
            for word, spoken in self.spoken_as.items()
        }
        spellings = {word: spoken for word, spoken in normalised.items() if word and spoken}
        # `Lee` may be spoken as `Lee uh`: what is respelled already stays as it is.
        spellings = {spoken: spoken for spoken in spellings.values()} | spellings
        words = "|".join(re.escape(word) for word in sorted(spellings, key=len, reverse=True))
        return (re.compile(rf"(?<!\S)(?:{words})(?!\S)") if words else None), spellings


def _spoken_form(text: str, language: str) -> str:
    return to_spoken_form(text, language) if base_language(language) in LANGUAGES else text


def _pattern(words: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return a pattern of whole words; Chinese and Japanese have no spaces between words."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        before = "" if _CJK.match(word[0]) or not word[0].isalnum() else r"(?<!\w)"
        behind = "" if _CJK.match(word[-1]) or not word[-1].isalnum() else r"(?!\w)"
        # A word in lower case matches in any case.
        parts.append(f"{before}{f'(?i:{re.escape(word)})' if word == word.lower() else re.escape(word)}{behind}")
    return re.compile("|".join(parts)) if parts else None
