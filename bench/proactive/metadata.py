"""Readers of the benchmark's public files and of anyone's predictions; every bad row is told with file, row and remedy.

Metadata: one JSON object a line, {id, path, description, decision}; the response file adds `standard_answers`. The path
`…/<Domain>/<Sub-category>/<DECISION>/<id>.wav` gives domain and sub-category. Predictions: {id, decision, reply}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import Field, ValidationError

from schemas.base import InputError, Schema, explain


class Decision(StrEnum):
    """What the assistant does at a sound."""

    RESPOND = "RESPOND"
    IGNORE = "IGNORE"


class Sound(Schema):
    """One row of the benchmark."""

    id: str = Field(min_length=1)
    path: str
    description: str
    decision: Decision
    standard_answers: tuple[str, ...] = ()
    """Acceptable replies of a sound that calls for one."""

    @property
    def domain(self) -> str:
        """One of the six."""
        return PurePosixPath(self.path).parts[-4]

    @property
    def category(self) -> str:
        """One of the seventeen."""
        return PurePosixPath(self.path).parts[-3]


class Prediction(Schema):
    """What a model did at one sound; `decision` None could not be read, and counts as wrong."""

    id: str
    decision: Decision | None
    reply: str = ""


_TAGGED: Final = re.compile(r"<decision>\s*(.*?)\s*</decision>", re.IGNORECASE | re.DOTALL)
_REPLY: Final = re.compile(r"<reply>\s*(.*?)\s*(?:</reply>|\Z)", re.IGNORECASE | re.DOTALL)


def parse_answer(text: str) -> tuple[Decision | None, str]:
    """(decision, reply) of an answer to the public prompt, `<Decision>…</Decision><Reply>…</Reply>`; None when unreadable.

    A bare decision word is read too; an answer that names both decisions is not.
    """
    tagged, reply = _TAGGED.search(text), _REPLY.search(text)
    return parse_decision(tagged[1] if tagged else text), reply[1] if reply else ""


def parse_decision(text: object) -> Decision | None:
    """RESPOND or IGNORE, whatever its case and the punctuation around it; None for anything else."""
    word = text.strip(" \t\r\n.!\"'*`").upper() if isinstance(text, str) else ""
    return Decision(word) if word in Decision.__members__ else None


def read_sounds(path: Path) -> list[Sound]:
    """The benchmark's rows, in order; InputError for a bad row, a doubled id, or a path that names no category."""
    sounds: dict[str, Sound] = {}
    for number, document in _rows(path):
        try:
            sound = Sound.model_validate(document)
        except ValidationError as error:
            raise _at(path, number, explain(error, Sound)) from None
        if len(PurePosixPath(sound.path).parts) < 4:
            raise InputError("names no domain and sub-category", file=_place(path, number), field="path", value=sound.path)
        if sound.id in sounds:
            raise InputError("is there twice", file=_place(path, number), field="id", value=sound.id)
        sounds[sound.id] = sound
    if not sounds:
        raise InputError("holds no rows", file=path)
    return list(sounds.values())


def read_predictions(path: Path, known: set[str]) -> dict[str, Prediction]:
    """Predictions by id. A decision that cannot be read is None; a row not of `known`, or there twice, is an InputError.

    A row without `decision` may carry the model's whole answer as `reply` or `answer`, in the public prompt's form.
    """
    found: dict[str, Prediction] = {}
    for number, document in _rows(path):
        name = document.get("id")
        if not isinstance(name, str) or name not in known:
            remedy = "Score against the metadata the predictions were made for"
            raise InputError("is no sound of the metadata", file=_place(path, number), field="id", value=name, remedy=remedy)
        if name in found:
            remedy = "Keep one prediction a sound"
            raise InputError("is predicted twice", file=_place(path, number), field="id", value=name, remedy=remedy)
        text = document.get("reply", document.get("answer"))
        said = text if isinstance(text, str) else ""
        if document.get("decision") is None:
            decision, said = parse_answer(said)
        else:
            decision = parse_decision(document["decision"])
        found[name] = Prediction(id=name, decision=decision, reply=said)
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of a JSON-lines file; blank lines are passed over."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    document = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(
                        f"is not JSON: {error}", file=_place(path, number), remedy="One JSON object a line"
                    ) from None
                if not isinstance(document, dict):
                    raise InputError("is not a JSON object", file=_place(path, number), value=document)
                yield number, document
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", file=path, remedy="Save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None


def _place(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _at(path: Path, number: int, error: InputError) -> InputError:
    return InputError(error.why, file=_place(path, number), field=error.field, value=error.value, remedy=error.remedy)
