"""Which texts may be taught as what the assistant says: checked when they are read, when a stream is built and by `verify`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.scene import nfc
from soundflow.schemas.text import control_string, without_thoughts

_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class AssistantReply:
    """An answer of an assistant in NFC, otherwise as it was written, line breaks included."""

    text: str
    had_thoughts: bool
    """Whether thoughts of a model stood before it, which are left out."""


def read_reply(text: str) -> Ok[AssistantReply] | Rejected:
    """Return the answer in a text that a model or a person wrote.

    Rejected, with a `detail`: `unclosed_thoughts`, `only_thoughts`, `not_text` (a control character other than a line break or
    tab, or a lone surrogate), and what `find_response_problem` returns.
    """
    answer, has_thoughts = without_thoughts(text)
    if answer is None:
        return Rejected("unclosed_thoughts", {"detail": "contains thoughts of a model without an end such as </think>"})
    if found := _NO_TEXT.search(answer):
        return Rejected("not_text", {"detail": f"contains the character U+{ord(found[0]):04X}"})
    reply = nfc(answer)
    if has_thoughts and not reply:
        return Rejected("only_thoughts", {"detail": "contains nothing but thoughts of a model"})
    reason, detail = find_response_problem(reply)
    return Rejected(reason, {"detail": detail}) if reason else Ok(AssistantReply(reply, has_thoughts))


def find_response_problem(text: str, tokenizer: QwenTokenizer | None = None) -> tuple[str, str]:
    """Return (reason, detail) if a text may not be a response, else two empty strings.

    Reasons: `control_string` (of a chat template), `response_too_long` (the runtime ends a response after
    `LONGEST_RESPONSE_TOKENS`). `tokenizer` is loaded only for a long text.
    """
    if mark := control_string(text):
        return "control_string", f"contains {mark}, a control string of chat templates"
    if len(text.encode()) > c.LONGEST_RESPONSE_TOKENS:  # a token has at least one byte
        tokens = len((tokenizer or QwenTokenizer.load()).encode(text))
        if tokens > c.LONGEST_RESPONSE_TOKENS:
            detail = f"has {tokens:,} tokens, and the runtime ends a response after {c.LONGEST_RESPONSE_TOKENS:,}"
            return "response_too_long", detail
    return "", ""
