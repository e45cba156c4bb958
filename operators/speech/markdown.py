"""Remove markdown from a text: blocks become sentences; code and the addresses of images are dropped."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterator
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_SENTENCE_ENDS: Final = ".!?:;,…。！？：；，、"


@functools.cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def strip_markdown(text: str, full_stop: str = ".") -> str:
    """Return `text` on one line without markdown. Blocks become sentences; fenced code is dropped if there is other text."""
    tokens = _parser().parse(text)
    blocks = list(_blocks(tokens, with_code=False)) or list(_blocks(tokens, with_code=True))
    joined = ""
    for block in blocks:
        if joined and joined[-1] not in _SENTENCE_ENDS:
            joined += full_stop
        joined += f" {block}" if joined else block
    return joined


def _blocks(tokens: list[Token], with_code: bool) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            block = " ".join("".join(_inline(token.children or [])).split())
        elif token.type in ("code_block", "html_block") or (token.type == "fence" and with_code):
            block = " ".join(token.content.split())  # indented prose is a code block, too
            block = "" if token.type == "html_block" and _is_tag(block) else block
        else:
            continue
        if block:
            yield block


def _inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.type == "image":
            yield from _inline(token.children or [])
        elif token.type == "html_inline":
            yield " "


def _is_tag(text: str) -> bool:
    return html.unescape(text).startswith("<") and text.endswith(">")
