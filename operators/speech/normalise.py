"""Text normalisation for speech: the offline rewriter `rules`.

The spoken form is one line of letters, spaces and the punctuation of speech. Normalisation is idempotent, and a text that is not
blank never becomes empty.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from soundflow.operators.speech import english, mandarin
from soundflow.operators.speech.markdown import strip_markdown

NORMALISE_VERSION: Final = "4"
LANGUAGES: Final = ("en", "zh")
"""Languages of the rules."""
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
_SUPERSCRIPT: Final = re.compile("(?<=[^\\W_])[⁺⁻]?[⁰¹²³⁴-⁹]+|(?<=[)])[⁺⁻]?[⁰¹²³⁴-⁹]+")
_GROUPED: Final = re.compile("(?<=\\d)[\u00a0\u2007\u2009\u202f_](?=\\d{3}(?!\\d))")
"""A separator of thousands that is neither comma nor point: a narrow space or an underscore."""
_SPACED: Final = re.compile(
    r"(?<![A-Za-z0-9_.,+()/:])(?<!\d )(?<!\) )(?!1 8\d\d \d{3} (?!000))"
    r"(?:[1-9]\d?(?: \d{3}){2,4}|[1-9]\d{0,2}(?: \d{3}){0,3} 000)(?![A-Za-z0-9_/:]| \d|,\d)"
)
"""A number with spaces between its thousands, such as `1 000 000` and `25 000`. Toll-free numbers such as `1 800 555 019` are
none, and neither is `612 345 678`, which has three digits in front and no 000 at the end."""
_GREATER: Final = re.compile(r"(?m)^>(?=\d)")
"""A comparison at the beginning of a line, where markdown has the sign of a quotation."""
_DEGREES: Final = re.compile("(?<=\\d)\\s?[°º˚]\\s?([CFcf])(?![A-Za-z])")
"""Degrees with a space, or with a sign that looks like a degree sign."""
_SIGNS: Final = {"№": "No. ", "\u2126": "Ω", "∶": ":"}
"""Signs with other forms than those that Unicode names; U+2126 is the ohm sign."""
_CJK: Final = r"[㐀-䶿一-鿿豈-﫿]"


def base_language(language: str) -> str:
    """Return a language code without its region: `zh-CN` → `zh`."""
    return language.partition("-")[0].lower()


def to_spoken_form(text: str, language: str = "en") -> str:
    """Return `text` as it is spoken in `language` (one of LANGUAGES, with or without region); empty only for blank text."""
    language = base_language(language)
    if not text.strip():
        return ""
    for _ in range(_PASSES):
        spoken = _normalise_once(text, language) or _name_characters(text, language)
        if spoken == text:
            break
        text = spoken
    return text


spoken = to_spoken_form
"""The name of `to_spoken_form` in version 0.1."""


def _normalise_once(text: str, language: str) -> str:
    text = strip_markdown(_to_plain_characters(text), "。" if language == "zh" else ".")
    text = mandarin.verbalise(text) if language == "zh" else english.verbalise(text)
    return _tidy(_keep_spoken(text, language), language)


def _to_plain_characters(text: str) -> str:
    """Replace full-width forms, signs such as `℃` and `㎏`, and other digits.

    Superscripts become `^2`, fractions are separated from the number before them, separators of thousands become commas.
    """
    for written, sign in ((">=", "≥"), ("<=", "≤"), ("!=", "≠")):
        text = text.replace(written, sign)
    text = _GREATER.sub(r"\\>", text)
    text = _SPACED.sub(lambda match: match[0].replace(" ", ","), text)
    text = _DEGREES.sub(lambda match: f"°{match[1].upper()}", _GROUPED.sub(",", text))
    text = _SUPERSCRIPT.sub(lambda match: "^" + unicodedata.normalize("NFKC", match[0]).replace("−", "-").lstrip("+"), text)
    pieces = []
    for char in text:
        kind = unicodedata.decomposition(char).partition(" ")[0]
        if kind == "<fraction>":
            pieces.append(" " + unicodedata.normalize("NFKC", char).replace("⁄", "/"))
        elif char in _SIGNS:
            pieces.append(_SIGNS[char])
        elif char.isdigit():
            digit = str(unicodedata.digit(char))
            pieces.append(f" {digit} " if kind == "<circle>" else digit)
        elif kind in ("<square>", "<wide>", "<small>", "<compat>") and unicodedata.category(char)[0] in "LNS":
            pieces.append(unicodedata.normalize("NFKC", char))
        else:
            pieces.append(char)
    return "".join(pieces)


def _keep_spoken(text: str, language: str) -> str:
    """Keep letters with their marks, apostrophes and hyphens within words, spaces and the punctuation of speech."""
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
    """Leave one space between words, one mark after a word, and none at the start."""
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


def _name_characters(text: str, language: str) -> str:
    """Return the names of the characters, for a text without any words: `😀` → grinning face."""
    names = [unicodedata.name(char, "symbol").lower() for char in text if not char.isspace()][:8]
    spoken = "符号" if language == "zh" else " ".join(re.sub(r"[^a-z]+", " ", name).strip() or "symbol" for name in names)
    return spoken or "symbol"
