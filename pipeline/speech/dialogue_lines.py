"""Read DIALOGUES.jsonl: one `schemas.speech.Dialogue` per line. A bad line gives a reason and does not end the reading.

Thoughts of a reasoning model in an answer are left out and counted. The file itself keeps the whole texts.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from soundflow.operators.tokens.replies import read_reply
from soundflow.schemas.base import InputError
from soundflow.schemas.outcome import Ok
from soundflow.schemas.speech import Dialogue

LINE_LIMIT: Final = 8 << 20
"""Maximum length of a line in bytes."""

Line = tuple[int, Dialogue | str]
"""Line number (from 1), and the dialogue or `reason: detail`."""


def read_dialogues(path: Path, thoughts: Counter[str] | None = None) -> Iterator[Line]:
    """Yield the lines of a file, except blank ones. Reasons are `bad_line`, `duplicate_id`, and those of `read_reply`.

    `thoughts` receives the number of answers with thoughts by dialogue. Raises InputError when the file cannot be read.
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
                    yield number, _parsed(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, seen, thoughts)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None


def _parsed(raw: bytes, seen: set[str], thoughts: Counter[str] | None) -> Dialogue | str:
    try:
        dialogue = Dialogue.from_json(raw)
    except InputError as error:
        return f"bad_line: {error}"
    if dialogue.id in seen:
        return f"duplicate_id: {dialogue.id} is the id of an earlier line"
    seen.add(dialogue.id)
    turns = []
    for number, turn in enumerate(dialogue.turns):
        reply = read_reply(turn.assistant)
        if not isinstance(reply, Ok):
            return f"{reply.reason}: turn {number} of {dialogue.id}: {reply.metrics['detail']}"
        if thoughts is not None and reply.value.had_thoughts:
            thoughts[dialogue.id] += 1
        turns.append(turn.model_copy(update={"assistant": reply.value.text}))
    return dialogue.model_copy(update={"turns": tuple(turns)})
