"""Running text: joining, splitting (`join_texts(words_of(text)) == text`), characters that are not shown, thoughts of models,
numbers with their nouns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Chinese and Japanese characters and punctuation."""
_UNSPACED = re.compile(f"[{_WIDE}]")
_TOKENS = re.compile(rf"\s*(?:[{_WIDE}]|[^\s{_WIDE}]+)")
_SOUNDING = re.compile(r"[^\W_]")
JOINERS: Final = "\u200c\u200d"
"""Zero-width non-joiner and joiner."""
_UNJOINED: Final = frozenset("LATIN GREEK CYRILLIC ARMENIAN GEORGIAN HEBREW CJK HANGUL HIRAGANA KATAKANA THAI COMBINING".split())
"""First words of the Unicode names of letters whose spelling never needs a joiner."""
_SHOWN_FORMATS: Final = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd\U00013430-\U0001345f]")
"""Format characters (category Cf) that are part of the spelling, such as the Arabic number sign."""

_THINK: Final = r"(?:[a-z]+:)?(?:think(?:ing)?|thoughts?|reasoning)"
_THOUGHT_MARKS: Final = re.compile(
    rf"(?P<begin><{_THINK}(?:\s[^<>]*)?(?<!/)>|\[think\]|◁think▷|<\|start_thinking\|>|<\|begin_of_thought\|>|"
    rf"<\|channel\|>\s*(?:analysis|commentary)\b[^<]*<\|message\|>)|"
    rf"<{_THINK}\s*/>|</{_THINK}\s*>|\[/think\]|◁/think▷|<\|end_thinking\|>|<\|end_of_thought\|>|"
    r"<\|channel\|>\s*final\b[^<]*<\|message\|>",
    re.IGNORECASE,
)
"""Beginning (group `begin`) and end of thoughts: `<think>` of most models, those of Mistral, Kimi, Cohere, Sky-T1, gpt-oss."""
_CONTROL: Final = re.compile(
    r"<\|/?\w[\w:./ -]{0,60}\|>|<｜[^<>｜\n]{1,60}｜>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_(?:turn|image|audio)>|"
    r"<(?:bos|eos|pad|unk|bot|eot|boh|eoh|eom|eoc|eor)>|</?tool_(?:call|response)s?>"
)


class ModelText(NamedTuple):
    """What a model wrote, without its thoughts."""

    answer: str | None
    """The text behind the thoughts, or the whole text if there are none; None if the thoughts do not end."""
    has_thoughts: bool


def without_thoughts(text: str, opaque: Sequence[range] = ()) -> ModelText:
    """Return the answer in the text of a reasoning model: what follows the last end of its thoughts, such as `</think>`.

    The beginning of the thoughts may be missing, since it may be part of the prompt. Marks within `opaque` parts do not count.
    """
    marks = [mark for mark in _THOUGHT_MARKS.finditer(text) if not any(mark.start() in part for part in opaque)]
    if not marks:
        return ModelText(text, False)
    return ModelText(None if marks[-1]["begin"] else text[marks[-1].end() :].strip(), True)


def control_string(text: str) -> str:
    """Return the first control string of a chat template in a text, such as `<|im_end|>`; empty if there is none."""
    found = _CONTROL.search(text)
    return found[0] if found else ""


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


def one_line(text: str) -> str:
    """Return `text` in Unicode's form NFC as one line, without surrounding or repeated white space.

    Invisible characters are removed without a space (soft hyphen, zero-width space, byte order mark, direction marks, control
    characters), except where they belong to the spelling: joiners within words of scripts that use them, and within emoji.
    """
    if not text.isprintable():
        text = _without_invisible(text)
    return " ".join(unicodedata.normalize("NFC", text).split())


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 clip`, `2 clips`, `1,200 clips`, `2 classes`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "x", "sh", "ch")) else "s"
    return f"{count:,} {noun}{ending}"


def is_letter(char: str) -> bool:
    """Return whether a character is a letter or a combining mark, which includes the vowel signs of Indic scripts."""
    return char.isalpha() or unicodedata.category(char)[0] == "M"


def _without_invisible(text: str) -> str:
    kept = "".join(" " if char.isspace() else char for char in text if _is_shown(char))
    return "".join(char for at, char in enumerate(kept) if char not in JOINERS or _joins(kept, at))


def _is_shown(char: str) -> bool:
    if char.isprintable() or char.isspace() or char in JOINERS or _SHOWN_FORMATS.match(char):
        return True
    # Unassigned code points may be letters of a later Unicode version; noncharacters never are.
    return unicodedata.category(char) == "Cn" and ord(char) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(char) <= 0xFDEF


def _joins(text: str, at: int) -> bool:
    """Return whether the joiner at a position belongs to the spelling. A word may end in a joiner, but not in a non-joiner."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if before and is_letter(before) and unicodedata.name(before, "").partition(" ")[0] not in (*_UNJOINED, "VARIATION"):
        return text[at] == "\u200d" or bool(after and is_letter(after))
    is_emoji = before and (unicodedata.category(before) in ("So", "Sk") or before == "\ufe0f")
    return bool(is_emoji and after and unicodedata.category(after) == "So" and text[at] == "\u200d")
