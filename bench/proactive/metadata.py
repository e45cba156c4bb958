"""Readers of the benchmark's public files and of anyone's predictions; every bad row is told with file, row and remedy.

Metadata: one JSON object a line, {id, path, description, decision}; the response file has the sounds that call for a reply once
more, with `standard_answers`. The path `…/<Domain>/<Sub-category>/<DECISION>/<id>.wav` gives domain and sub-category.
Predictions: {id, decision, reply}, or the public form {id, _raw_reply} with the model's whole answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import Field, ValidationError

from soundflow.bench.harness.rows import Row, read_rows, storable, unique_rows
from soundflow.schemas.base import InputError, Schema, canonical_json, explain


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

    def file(self, root: Path) -> Path:
        """Where the recording is below `root`: the folder that holds `proactive-sound-effect`, or that folder itself."""
        parts = PurePosixPath(self.path).parts
        whole = root.joinpath(*parts)
        return whole if whole.is_file() or root.name != parts[0] else root.joinpath(*parts[1:])


class Prediction(Schema):
    """What a model did at one sound; `decision` None could not be read, and counts as wrong."""

    id: str
    decision: Decision | None
    reply: str = ""
    seconds: float | None = Field(None, ge=0)
    """Audio the model was played for this sound, where that is known."""
    level_db: float | None = None
    """Of the sound's loudest 400 ms, where that is known."""


_TAG: Final = r"<\s*{0}\s*>(.*?)<\s*/\s*{0}\s*>"
_DECISION: Final = re.compile(_TAG.format("decision"), re.IGNORECASE | re.DOTALL)
_REPLY: Final = re.compile(_TAG.format("reply"), re.IGNORECASE | re.DOTALL)
_WORD: Final = re.compile(r"\b(RESPOND|IGNORE)\b", re.IGNORECASE)
PUBLIC: Final = "proactive-sound-bench"
OTHER: Final = "proactive-set"
"""What figures are of: the published sounds, or any other set, which stands in no table of the paper's."""
_PUBLISHED: Final = "3c2aa6c2e386794ca55954393495b2ec4929ed9c34aae1d9860955686edae8ab"
"""SHA-256 over the sorted [id, decision] pairs of the published metadata (644 rows)."""
RAW: Final = ("_raw_reply", "answer", "reply")
"""Where a prediction without a decision may keep the model's whole answer; the first is the public scorer's."""
NO_HINT: Final = frozenset({"decision", RAW[0], "answered_by"})
"""Fields of rows that are in a form we know; the last is of our own runs."""


def parse_answer(text: str) -> tuple[Decision | None, str]:
    """(decision, reply) of an answer to the public prompt, `<Decision>…</Decision><Reply>…</Reply>`.

    As the public scorer reads it: closed tags in any case, the first of the two words within. Without them the decision is
    None, which counts as wrong (the public scorer drops such answers from its denominator).
    """
    tagged, reply = _DECISION.search(text), _REPLY.search(text)
    word = _WORD.search(tagged[1]) if tagged else None
    return Decision(word[1].upper()) if word else None, reply[1].strip() if reply else ""


def parse_decision(text: object) -> Decision | None:
    """RESPOND or IGNORE, whatever its case and the punctuation around it; None for anything else."""
    word = text.strip(" \t\r\n.!\"'*`").upper() if isinstance(text, str) else ""
    return Decision(word) if word in Decision.__members__ else None


def set_name(sounds: Iterable[Sound]) -> str:
    """`PUBLIC` when these are the published sounds with their decisions, else `OTHER`."""
    pairs = sorted([sound.id, sound.decision.value] for sound in sounds)
    return PUBLIC if hashlib.sha256(canonical_json(pairs)).hexdigest() == _PUBLISHED else OTHER


def read_sounds(path: Path, answers: Path | None = None) -> list[Sound]:
    """The benchmark's rows, in order; InputError for a bad row, a doubled id, or a path that names no category.

    `answers`: the response file, whose `standard_answers` are added; a sound it has and `path` has not is an InputError.
    """
    sounds = _sounds(path)
    if answers is not None:
        given = _sounds(answers)
        if strange := next((name for name in given if name not in sounds), None):
            raise InputError(
                "is no sound of the metadata", file=answers, field="id", value=strange, remedy="Name files of one set"
            )
        sounds |= {
            name: sounds[name].model_copy(update={"standard_answers": one.standard_answers}) for name, one in given.items()
        }
    return list(sounds.values())


def _sounds(path: Path) -> dict[str, Sound]:
    sounds = dict(_checked(read_rows(path, otherwise=".jsonl")))
    if not sounds:
        raise InputError("holds no rows", file=path, remedy="Name the benchmark's metadata (.jsonl)")
    return sounds


def _checked(rows: Iterable[Row]) -> Iterable[tuple[str, Sound]]:
    for name, row in unique_rows((row.text("id"), row) for row in rows):
        try:
            sound = Sound.model_validate({key: value for key, value in row.values.items() if value is not None})
        except ValidationError as error:
            found = explain(error, Sound)
            raise row.error(found.why, found.field, found.value, found.remedy) from None
        parts = PurePosixPath(sound.path).parts
        if len(parts) < 4 or ".." in parts or parts[0] == "/":
            remedy = "Paths look like proactive-sound-effect/Domain/Sub-category/DECISION/id.wav, below the metadata's folder"
            raise row.error("names no domain and sub-category", "path", sound.path, remedy)
        yield name, sound


def read_predictions(path: Path, known: set[str]) -> dict[str, Prediction]:
    """Predictions by id. A decision that cannot be read is None; a row not of `known`, or there twice, is an InputError.

    A row without `decision` (or with an empty one) may carry the model's whole answer (`RAW`), in the public prompt's form; one
    that has the decision alone in another field is an InputError.
    """
    return {
        name: _prediction(name, row, known)
        for name, row in unique_rows((_name(row, known), row) for row in read_rows(path, otherwise=".jsonl"))
    }


def _name(row: Row, known: set[str]) -> str:
    name = row.values["id"] if row.has("id") else row.text("id")
    if not isinstance(name, str) or name not in known:
        remedy = "Score against the metadata the predictions were made for"
        raise row.error("is no sound of the metadata", "id", name, remedy)
    return name


def _prediction(name: str, row: Row, known: set[str]) -> Prediction:
    said = next((text for key in RAW if isinstance(text := row.values.get(key), str)), "")
    decision, reply = parse_answer(said)
    if not row.values.keys() & NO_HINT:
        for key, value in row.values.items():
            if key != "reply" and parse_decision(value) is not None:
                remedy = f"Did you mean `decision`? Rename {key}; a model's whole answer is called {RAW[0]}"
                raise row.error("there is no `decision`, and this field holds one", key, value, remedy)
    if row.values.get("decision") not in (None, ""):
        decision = parse_decision(row.values["decision"])
        given = text if isinstance(text := row.values.get("reply"), str) else ""
        reply = parse_answer(given)[1] if _REPLY.search(given) else given
    measured = {key: _number(row.values, key) for key in ("seconds", "level_db")}
    return Prediction(id=name, decision=decision, reply=storable(reply), **measured)


def _number(values: Mapping[str, object], key: str) -> float | None:
    value = values.get(key)
    good = isinstance(value, int | float) and not isinstance(value, bool) and (key != "seconds" or 0 <= value < 1e9)
    return float(value) if good and isinstance(value, int | float) else None
