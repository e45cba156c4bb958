"""Read DIALOGUES.jsonl: one `schemas.speech.Dialogue` per line. A bad line gives a reason and does not end the reading."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from soundflow.schemas.base import InputError
from soundflow.schemas.speech import Dialogue

LINE_LIMIT: Final = 8 << 20
"""Maximum length of a line in bytes."""

Line = tuple[int, Dialogue | str]
"""Line number (from 1), and the dialogue or `reason: detail`."""


def read_dialogues(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, except blank ones. Reasons are `bad_line` and `duplicate_id`.

    Raises InputError when the file cannot be read.
    """
    seen: set[str] = set()
    try:
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(LINE_LIMIT):
                number += 1
                if len(raw) == LINE_LIMIT and not raw.endswith(b"\n"):
                    while (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                        pass
                    yield number, f"bad_line: longer than {LINE_LIMIT >> 20} MB"
                elif raw.strip():
                    yield number, _parsed(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, seen)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None


def _parsed(raw: bytes, seen: set[str]) -> Dialogue | str:
    try:
        dialogue = Dialogue.from_json(raw)
    except InputError as error:
        return f"bad_line: {error}"
    if dialogue.id in seen:
        return f"duplicate_id: {dialogue.id} is the id of an earlier line"
    seen.add(dialogue.id)
    return dialogue
