"""Every help text of every command, argument and option is a sentence that stands alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from soundflow.cli.app import app

WRONG = re.compile(
    r"\b(told|tells?|nobody|somebody|anyone|so many|so much|in all|of all kinds|heard|said|asked|goes on|is there already)\b"
    r"|\bthere are:|^(of|in|such as|the same|without|instead of|until|only|also) ",
    re.IGNORECASE,
)
"""Phrases that are not plain technical English, and beginnings of fragments."""


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, member in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}", member)


def texts() -> Iterator[tuple[str, str]]:
    """(where, help text) of each command and of each of its arguments and options."""
    for path, command in commands("soundflow", get_command(app)):
        yield path, command.help or ""
        for param in command.params:
            if not param.hidden:
                yield f"{path} {'/'.join(param.opts)}", param.help or ""


def problem(text: str) -> str:
    """What keeps a help text from being a sentence; empty when nothing does."""
    if not text:
        return "is missing"
    if not text[0].isupper():
        return "does not start with a capital letter"
    if not text.endswith("."):
        return "does not end with a period"
    found = next((match[0] for sentence in re.split(r"(?<=[.;:]) ", text) if (match := WRONG.search(sentence))), "")
    return f"has the phrase {found!r}" if found else ""


def test_every_help_text_is_a_sentence() -> None:
    wrong = [f"{where}: {why}: {text}" for where, text in texts() if (why := problem(text))]
    assert not wrong, "\n".join(wrong)


def test_the_check_finds_fragments() -> None:
    assert problem("Maximum number of concurrent requests (default: 8).") == ""
    for wrong in ("", "in all.", "In all.", "Number of GPUs", "How it is told what to do.", "Only the first so many items."):
        assert problem(wrong), wrong
    assert len(list(texts())) > 200
