"""Running text: joining, splitting (`join_texts(words_of(text)) == text`), characters that are not shown, thoughts of models,
numbers with their nouns."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Chinese and Japanese characters and punctuation."""
_UNSPACED = re.compile(f"[{_WIDE}]")
_TOKENS = re.compile(rf"\s*(?:[{_WIDE}]|[^\s{_WIDE}]+)")
_SOUNDING = re.compile(r"[^\W_]")
_VISIBLE = re.compile(r"\S")
JOINERS: Final = "\u200c\u200d"
"""Zero-width non-joiner and joiner."""
_UNJOINED: Final = frozenset("LATIN GREEK CYRILLIC ARMENIAN GEORGIAN HEBREW CJK HANGUL HIRAGANA KATAKANA THAI COMBINING".split())
"""First words of the Unicode names of letters whose spelling never needs a joiner."""
_SHOWN_FORMATS: Final = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd\U00013430-\U0001345f]")
"""Format characters (category Cf) that are part of the spelling, such as the Arabic number sign."""

_THOUGHT: Final = (
    r"(?:\w{1,30}[:_-]|ant)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratch_?pad|analysis|reflect(?:ions?|ing)?|rationale|monologue|"
    r"deliberation|contemplat(?:ion|or)|brainstorm(?:ing)?|cot|planning)(?:[_-]\w{1,30})?"
)
"""Names of tags around thoughts, such as `think`, `reasoning_content`, `inner_monologue` and `seed:think`."""
_PLAIN_TAG: Final = re.compile(r"</?(?:[a-z]+:)?(?:think(?:ing)?|thoughts?|reasoning)(?![:\w-])", re.IGNORECASE)
"""Beginning of the tags that count wherever they occur. Others may be part of an answer, for example about XML."""
_THOUGHT_MARKS: Final = re.compile(
    rf"(?:[<＜]|&lt;)\s{{0,2}}(?P<close>/?)\s{{0,2}}(?P<name>{_THOUGHT})(?:\s[^<>]{{0,300}}?)?(?P<empty>/?)(?:[>＞]|&gt;)|"
    r"(?P<begin>\[think\]|◁think▷|<\|(?:start|begin)_(?:of_)?(?:thinking|thought)\|>|<unused94>|<\|channel>\s*thought\b|"
    r"<\|channel\|>\s*(?:analysis|commentary)\b[^<]*<\|message\|>|"
    r"(?:<|&lt;)(?P<block>details)\s[^<>]{0,300}?\breasoning\b[^<>]{0,300}?(?:>|&gt;)|"
    r"(?-i:\A\s*Thinking\.\.\.[ \t]*\r?\n|\A\s*analysis(?=[^\W\d_a-z]|\")|assistant(?:analysis|commentary)))|"
    r"(?P<end>\[/think\]|◁/think▷|<\|end_(?:of_)?(?:thinking|thought)\|>|<unused95>|<channel\|>|"
    r"<\|channel\|>\s*final\b[^<]*<\|message\|>|(?m:^(?:\.\.\.|…)[ \t]*done thinking\.?[ \t]*\r?$)|(?-i:assistantfinal)|"
    r"\A\s*thought for \w[\w ]{0,30}\b(?:s|seconds?|minutes?)\.?[ \t]*\r?\n)|"
    r"(?:<|&lt;)/(?P<end_of_block>details)(?:>|&gt;)",
    re.IGNORECASE,
)
"""Beginning and end of thoughts: tags, the marks of Mistral, Kimi, Cohere, Sky-T1, MedGemma, Gemma 4 and gpt-oss (which leaves
`analysis…assistantfinal…` without its special tokens), Ollama's line `Thinking...`, Open WebUI's `<details type="reasoning">`."""
_WRAPPED: Final = re.compile(r"<(answer|final_answer|final|response|reply|output)>(.*?)(</\1>)?", re.IGNORECASE | re.DOTALL)
_CONTROL: Final = re.compile(
    # <|im_end|>, also without its end; <turn|>; <｜end▁of▁sentence｜>
    r"<\|/?\w[\w:./▁ -]{0,60}\|>|<\|/?\w{2,60}>?|<\w{2,60}\|>|<\s?\\?\|\s?/?(?:\w{1,40}_\w{1,40}|endoftext)\s?\\?\|\s?>|"
    r"\b(?:im_(?:start|end|sep)|eot_id|(?:start|end)_header_id|endoftext)\|?>|<｜[^<>｜\n]{1,60}｜>|"
    # [INST], [TOOL_CALLS], [SEP]
    r"\[/?(?:INST|SYS|SYSTEM_PROMPT|(?:AVAILABLE_)?TOOLS?(?:_(?:CALLS?|RESULTS?|CONTENT))?|CALL_ID|IMG(?:_(?:BREAK|END))?|BEGIN_AUDIO|"
    r"EOS|BOS|EOT|SEP|CLS|PAD|UNK|MASK|[gs]MASK|(?:UNUSED_TOKEN|unused|control)_?\d{1,6})\]|<</?SYS>>|</?s>|"
    # <end_of_turn>, <unused12>, <extra_id_0>, <0x0A>, <eos>, <tool_call>
    r"</?(?:start|begin|end)_of_\w{1,40}>|<(?:unused|extra_id|reserved|special|custom_token)(?:_\w{1,40})?_?\d{1,6}>|"
    r"<0x[0-9A-F]{2}>|<(?i:bos|eos|pad|unk|sep|cls)_token>|<function=[\w.-]{1,60}>|"
    r"</?(?i:bos|eos|pad|unk|sep|cls|bot|eot|eod|eop|sop|boh|eoh|eom|eoc|eor)>|"
    r"</?(?:tool|function)_(?:call|response|result)s?>|<fake_token_around_image>"
)


class ModelText(NamedTuple):
    """What a model wrote, without its thoughts."""

    answer: str | None
    """The text behind the thoughts, or the whole text if there are none; None if the thoughts do not end."""
    has_thoughts: bool


def without_thoughts(text: str, opaque: Sequence[range] = ()) -> ModelText:
    """Return the answer in the text of a reasoning model: what follows the last end of its thoughts, such as `</think>`.

    The beginning of the thoughts may be missing, since it may be part of the prompt. Tags that answers may contain as well, such
    as `<analysis>` and `<details>`, begin thoughts only where the answer would begin, and only their own end tag ends these.
    Marks within `opaque` parts do not count. An answer that is a single `<answer>` is returned without the tag, whose end may be
    missing behind thoughts.
    """
    start, opened, in_exclusive, has_thoughts = 0, "", False, False
    answer_start = _first_visible(text, start)
    for mark in _THOUGHT_MARKS.finditer(text):
        name = (mark["name"] or mark["block"] or mark["end_of_block"] or "mark").lower()
        is_exclusive = name == "details" or bool(mark["name"] and not _PLAIN_TAG.match(mark[0]))
        if opened and (is_exclusive or in_exclusive):
            counts = opened == name
        else:
            counts = not is_exclusive or bool(mark["block"]) or mark.start() == answer_start
        if not counts or any(mark.start() in part for part in opaque):
            continue
        is_end = mark["end"] or mark["close"] or mark["empty"] or mark["end_of_block"]
        start, opened, in_exclusive, has_thoughts = mark.end(), "" if is_end else name, is_exclusive, True
        answer_start = _first_visible(text, start)
    if opened:
        return ModelText(None, True)
    answer = text[start:].strip() if has_thoughts else text
    wrapped = _WRAPPED.fullmatch(answer.strip())
    if wrapped and (wrapped[3] or has_thoughts) and f"</{wrapped[1]}>" not in wrapped[2]:
        answer = wrapped[2].strip()
    return ModelText(answer, has_thoughts)


def control_string(text: str) -> str:
    """Return the first control string of a chat template in a text, such as `<|im_end|>`; empty if there is none.

    Invisible characters within it, full-width forms and HTML escapes do not hide it.
    """
    shown = text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")
    found = _CONTROL.search(shown)
    if found is None and ("&" in shown or not shown.isascii()):
        found = _CONTROL.search(unicodedata.normalize("NFKC", html.unescape(shown)))
    return found[0] if found else ""


def _first_visible(text: str, start: int) -> int:
    """Return the place of the first character from `start` on that is not white space."""
    found = _VISIBLE.search(text, start)
    return found.start() if found else len(text)


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
