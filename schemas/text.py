"""Joining and splitting of running text; `join_texts(words_of(text)) == text`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Chinese and Japanese characters and punctuation."""
_UNSPACED = re.compile(f"[{_WIDE}]")
_TOKENS = re.compile(rf"\s*(?:[{_WIDE}]|[^\s{_WIDE}]+)")
_SOUNDING = re.compile(r"[^\W_]")


def join_texts(texts: Iterable[str]) -> str:
    """Join pieces of a running text with spaces, except next to Chinese or Japanese characters and punctuation."""
    whole = ""
    for text in texts:
        tight = not whole or not text or _UNSPACED.match(whole[-1]) or _UNSPACED.match(text[0])
        whole += text if tight else f" {text}"
    return whole


def words_of(text: str) -> list[str]:
    """Split a one-line text into words that `join_texts` joins to exactly `text`.

    Chinese and Japanese are split after every character. A mark without letters or digits belongs to the word before it, at the
    beginning of the text to the word after it.
    """
    words: list[str] = []
    for token in _TOKENS.findall(text):
        last = words[-1] if words else ""
        apart = _SOUNDING.search(token) and _SOUNDING.search(last) and join_texts((last, token.lstrip())) == last + token
        if apart or not words:
            words.append(token.lstrip())
        else:
            words[-1] += token
    return words
