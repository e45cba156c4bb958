"""Readers of the benchmark's public files and of predictions. An invalid row raises InputError with file, row and remedy.

Metadata: one JSON object per line, {id, path, description, decision}. The response file repeats the sounds that call for a
response, with `standard_answers`. The path `…/<Domain>/<Sub-category>/<DECISION>/<id>.wav` contains domain and sub-category.
Predictions: {id, decision, reply}, or the public form {id, _raw_reply} with the complete output of the model.
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
from soundflow.schemas.text import without_thoughts


class Decision(StrEnum):
    """Whether the assistant responds to a sound."""

    RESPOND = "RESPOND"
    IGNORE = "IGNORE"


class Sound(Schema):
    """One row of the benchmark."""

    id: str = Field(min_length=1)
    path: str
    description: str
    decision: Decision
    standard_answers: tuple[str, ...] = ()
    """Acceptable responses to a sound that calls for one."""

    @property
    def domain(self) -> str:
        """One of the six domains."""
        return PurePosixPath(self.path).parts[-4]

    @property
    def category(self) -> str:
        """One of the seventeen sub-categories."""
        return PurePosixPath(self.path).parts[-3]

    def file(self, root: Path) -> Path:
        """Return the path of the recording; `root` contains `proactive-sound-effect` or is that folder itself."""
        parts = PurePosixPath(self.path).parts
        whole = root.joinpath(*parts)
        return whole if whole.is_file() or root.name != parts[0] else root.joinpath(*parts[1:])


class Prediction(Schema):
    """A model's decision on one sound. `decision` None is unreadable and counts as wrong."""

    id: str
    decision: Decision | None
    reply: str = ""
    seconds: float | None = Field(None, ge=0)
    """Seconds of audio that were played for this sound, if known."""
    level_db: float | None = None
    """Level (dBFS) of the sound's loudest 400 ms, if known."""
    had_thoughts: bool = False
    """Whether the output contained thoughts of the model, which do not count."""


_TAG: Final = r"<\s*{0}\s*>(.*?)<\s*/\s*{0}\s*>"
_DECISION: Final = re.compile(_TAG.format("decision"), re.IGNORECASE | re.DOTALL)
_REPLY: Final = re.compile(_TAG.format("reply"), re.IGNORECASE | re.DOTALL)
_WORD: Final = re.compile(r"\b(RESPOND|IGNORE)\b", re.IGNORECASE)
PUBLIC: Final = "proactive-sound-bench"
OTHER: Final = "proactive-set"
"""Name of a set in results: the published sounds, or any other set, which fills no table of the paper."""
_PUBLISHED: Final = "3c2aa6c2e386794ca55954393495b2ec4929ed9c34aae1d9860955686edae8ab"
"""SHA-256 over the sorted [id, decision] pairs of the published metadata (644 rows)."""
RAW: Final = ("_raw_reply", "answer", "reply")
"""Fields that may contain the complete output of the model in a row without decision; the first is that of the public scorer."""
NO_HINT: Final = frozenset({"decision", RAW[0], "answered_by"})
"""Fields that mark a row as being in a known form; the last is of our own runs."""


def parse_answer(text: str) -> tuple[Decision | None, str]:
    """Parse (decision, reply) from an answer to the public prompt, `<Decision>…</Decision><Reply>…</Reply>`.

    Same rule as the public scorer: closed tags in any case, and the first of the two words inside. Otherwise the decision is
    None, which counts as wrong (the public scorer drops such answers from its denominator). Thoughts of the model are left out.
    """
    text = without_thoughts(text).answer or ""
    tagged, reply = _DECISION.search(text), _REPLY.search(text)
    word = _WORD.search(tagged[1]) if tagged else None
    return Decision(word[1].upper()) if word else None, reply[1].strip() if reply else ""


def parse_decision(text: object) -> Decision | None:
    """Parse RESPOND or IGNORE, ignoring case and surrounding punctuation; None for any other value."""
    answer = without_thoughts(text).answer or "" if isinstance(text, str) else ""
    word = answer.strip(" \t\r\n.!\"'*`").upper()
    return Decision(word) if word in Decision.__members__ else None


def set_name(sounds: Iterable[Sound]) -> str:
    """Return `PUBLIC` if these are the published sounds with their decisions, else `OTHER`."""
    pairs = sorted([sound.id, sound.decision.value] for sound in sounds)
    return PUBLIC if hashlib.sha256(canonical_json(pairs)).hexdigest() == _PUBLISHED else OTHER


def read_sounds(path: Path, answers: Path | None = None) -> list[Sound]:
    """Read the sounds of the benchmark, in order, with the `standard_answers` of the response file `answers`.

    Raises InputError for an invalid row, a duplicate id, a path without sub-category, or a sound that only `answers` contains.
    """
    sounds = _sounds(path)
    if answers is not None:
        responses = _sounds(answers)
        if unknown := next((name for name in responses if name not in sounds), None):
            raise InputError(
                "is not a sound of the metadata", file=answers, field="id", value=unknown, remedy="Name two files of the same set"
            )
        sounds |= {
            name: sounds[name].model_copy(update={"standard_answers": one.standard_answers}) for name, one in responses.items()
        }
    return list(sounds.values())


def _sounds(path: Path) -> dict[str, Sound]:
    sounds = dict(_checked(read_rows(path, otherwise=".jsonl")))
    if not sounds:
        raise InputError("contains no rows", file=path, remedy="Name the metadata of the benchmark (.jsonl)")
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
            remedy = "Write it as proactive-sound-effect/Domain/Sub-category/DECISION/id.wav, relative to the audio folder"
            raise row.error("does not contain domain and sub-category", "path", sound.path, remedy)
        yield name, sound


def read_predictions(path: Path, known: set[str]) -> dict[str, Prediction]:
    """Read predictions by id. An unreadable decision is None.

    A row without decision may contain the complete output of the model (`RAW`) in the form of the public prompt. Raises
    InputError for an id that is not in `known`, a duplicate id, or a row that has its decision in another field.
    """
    return {
        name: _prediction(name, row, known)
        for name, row in unique_rows((_name(row, known), row) for row in read_rows(path, otherwise=".jsonl"))
    }


def _name(row: Row, known: set[str]) -> str:
    name = row.values["id"] if row.has("id") else row.text("id")
    if not isinstance(name, str) or name not in known:
        remedy = "Name the metadata that the predictions belong to with --meta"
        raise row.error("is not a sound of the metadata", "id", name, remedy)
    return name


def _prediction(name: str, row: Row, known: set[str]) -> Prediction:
    output = next((text for key in RAW if isinstance(text := row.values.get(key), str)), "")
    decision, reply = parse_answer(output)
    if not row.values.keys() & NO_HINT:
        for key, value in row.values.items():
            if key != "reply" and parse_decision(value) is not None:
                remedy = f"Did you mean `decision`? Rename {key}; the field of a model's complete output is {RAW[0]}"
                raise row.error("this field contains a decision, and `decision` is missing", key, value, remedy)
    if row.values.get("decision") not in (None, ""):
        decision = parse_decision(row.values["decision"])
        reply = text if isinstance(text := row.values.get("reply"), str) else ""
        reply = parse_answer(reply)[1] if _REPLY.search(reply) else without_thoughts(reply).answer or ""
    measured = {key: _number(row.values, key) for key in ("seconds", "level_db")}
    texts = [text for key in (*RAW, "decision") if isinstance(text := row.values.get(key), str)]
    had_thoughts = any(without_thoughts(text).has_thoughts for text in texts)
    return Prediction(id=name, decision=decision, reply=storable(reply), had_thoughts=had_thoughts, **measured)


def _number(values: Mapping[str, object], key: str) -> float | None:
    value = values.get(key)
    is_valid = isinstance(value, int | float) and not isinstance(value, bool) and (key != "seconds" or 0 <= value < 1e9)
    return float(value) if is_valid and isinstance(value, int | float) else None
