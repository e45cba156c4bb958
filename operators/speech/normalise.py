"""The offline rewriter `rules`: text as it is spoken, by rules alone.

What comes out holds letters, spaces and the punctuation of speech, on one line. Rewriting it again changes nothing, and a
text with anything to see in it never becomes empty.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from soundflow.operators.speech import english, mandarin
from soundflow.operators.speech.markdown import plain

NORMALISE_VERSION: Final = "2"
LANGUAGES: Final = ("en", "zh")
"""What the rules speak."""
_PASSES: Final = 6
_ENGLISH: Final = str.maketrans(
    dict.fromkeys("’‘`", "'") | dict.fromkeys("()[]—–，、", ", ") | dict.fromkeys("‐‑", "-") | dict.fromkeys("_/", " ")
    | {"…": ".", "。": ". ", "！": "! ", "？": "? ", "；": "; ", "：": ": ", "²": " squared", "³": " cubed"}
)  # fmt: skip
_MANDARIN: Final = str.maketrans(
    dict.fromkeys("’‘", "'") | dict.fromkeys("()（）[]【】—–,", "，") | dict.fromkeys("_-/·", " ")
    | {"…": "。", ".": "。", "!": "！", "?": "？", ";": "；", ":": "：", "〇": "零", "²": "平方", "³": "立方"}
)  # fmt: skip
_MARKS: Final = {"en": ".,?!;:", "zh": "。，、？！；："}
_CJK: Final = r"[㐀-䶿一-鿿豈-﫿]"


def base_language(language: str) -> str:
    """`zh-CN` → `zh`."""
    return language.partition("-")[0].lower()


def spoken(text: str, language: str = "en") -> str:
    """`text` as it is spoken in `language` (one of LANGUAGES, regions allowed); idempotent. Empty only for blank text."""
    language = base_language(language)
    if not text.strip():
        return ""
    for _ in range(_PASSES):
        said = _once(text, language) or _named(text, language)
        if said == text:
            break
        text = said
    return text


def _once(text: str, language: str) -> str:
    text = plain(_compatible(text), "。" if language == "zh" else ".")
    text = mandarin.speak(text) if language == "zh" else english.speak(text)
    return _tidy(_spoken_only(text, language), language)


def _compatible(text: str) -> str:
    """Full-width forms, ligatures and other digits as the plain characters; fractions stay apart from the number before them."""
    pieces = []
    for char in text:
        if unicodedata.decomposition(char).startswith("<fraction>"):
            pieces.append(" " + unicodedata.normalize("NFKC", char).replace("⁄", "/"))
        elif char in "²³":
            pieces.append(char)
        elif char.isdigit():
            pieces.append(str(unicodedata.digit(char)))
        elif unicodedata.decomposition(char).startswith("<wide>") and unicodedata.category(char)[0] in "LS":
            pieces.append(unicodedata.normalize("NFKC", char))
        else:
            pieces.append(char)
    return "".join(pieces)


def _spoken_only(text: str, language: str) -> str:
    """Letters with their marks, apostrophes and hyphens within words, spaces and the punctuation of speech."""
    table, marks = (_MANDARIN, _MARKS["zh"]) if language == "zh" else (_ENGLISH, _MARKS["en"])
    text = unicodedata.normalize("NFKC", text.translate(table)).translate(table)
    kept: list[str] = []
    for char in text:
        kind = unicodedata.category(char)
        if kind[0] == "L" or char in marks or char in "'-":
            kept.append(char)
        elif kind[0] == "M":
            if kept and unicodedata.category(kept[-1])[0] in "LM" and not "\ufe00" <= char <= "\ufe0f":
                kept.append(char)
        else:
            kept.append(" ")
    text = unicodedata.normalize("NFC", "".join(kept))
    text = re.sub(r"(?<![^\W_])'+|'+(?![^\W_])|''+", " ", text)
    return re.sub(r"(?<![^\W_])-+|-+(?![^\W_])|--+", " ", text)


def _tidy(text: str, language: str) -> str:
    """One space between words, one mark after a word, none at the start."""
    text = " ".join(text.split())
    if language == "zh":
        text = re.sub(rf"(?<={_CJK}) (?={_CJK})|\s*([。，、？！；：])\s*", lambda match: match[1] or "", text)
        text = re.sub(r"[，、；：]+(?=[。？！])|[，、；：]+(?=[，、；：])", "", text)
        text = re.sub(r"(?<=[。？！])[。？！，、；：]+", "", text)
        return text.lstrip("。，、？！；： ").rstrip("，、；：")
    text = re.sub(r"\s+(?=[.,?!;:])", "", text)
    text = re.sub(r"[,;:]+(?=[.?!])|[,;:]+(?=[,;:])", "", text)
    text = re.sub(r"(?<=[.?!])[.?!,;:]+", "", text)
    text = re.sub(r"(?<=[.,?!;:])(?=[^\W\d_])", " ", text)
    return text.lstrip(".,?!;: ").rstrip(",;:")


def _named(text: str, language: str) -> str:
    """Names of characters, for a text that has nothing else: `😀` → grinning face."""
    names = [unicodedata.name(char, "symbol").lower() for char in text if not char.isspace()][:8]
    said = "符号" if language == "zh" else " ".join(re.sub(r"[^a-z]+", " ", name).strip() or "symbol" for name in names)
    return said or "symbol"
