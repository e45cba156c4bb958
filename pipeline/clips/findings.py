"""What `clips align` and `clips interpret` found out about speech: kept in the working memory of an index, put into its rows.

A finding is named by audio, text and languages, so that it outlives the row it was made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.pipeline.clips.ledger import Ledger
from soundflow.schemas.base import Schema, canonical_json
from soundflow.schemas.clip import Interpreted, Word

Row = Mapping[str, Any]
"""Fields of `schemas.clip.Clip`, as the table holds them."""


class Missed(Schema):
    """A clip of which something could not be found out, and why: a line of a list."""

    id: str
    reason: str
    detail: str = ""


class Times(Schema):
    """When the words of a transcript are heard, or why that is not known."""

    words: tuple[Word, ...] = ()
    reason: str = ""
    detail: str = ""


class Interpretation(Schema):
    """A translation in segments, or why there are none."""

    interpreted: Interpreted | None = None
    reason: str = ""
    detail: str = ""


def times_key(row: Row) -> str:
    """Names what is known of the words of a row."""
    return _key("times", row, "clean_sha256", "transcript", "language")


def interpretation_key(row: Row) -> str:
    """Names what is known of the interpretation of a row; what a model made of it has no say in it."""
    return _key("interpreted", as_given(row), "clean_sha256", "transcript", "language", "translation", "translation_language")


def as_given(row: Row) -> dict[str, Any]:
    """A row without what a model made of it."""
    own = {"translation": None, "translation_language": ""} if row["interpreter"].startswith(MODEL_PREFIX) else {}
    return {**row, "segments": [], "interpreter": "", **own}


def with_findings(ledger: Ledger, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a source with what earlier runs found out."""
    row |= {"words": [], "segments": [], "interpreter": ""}
    if not row["transcript"]:
        return row
    times = ledger.found(times_key(row))
    row["words"] = [word.model_dump() for word in Times.from_json(times[1]).words] if times else []
    return interpreted(row, ledger.found(interpretation_key(row)))


def interpreted(row: dict[str, Any], found: tuple[str, str] | None) -> dict[str, Any]:
    """A row with its interpretation; segments rest on words, so a row without word times has none."""
    told = Interpretation.from_json(found[1]).interpreted if found else None
    return as_given(row) | (told.model_dump() if told and row["words"] else {})


def _key(kind: str, row: Row, *names: str) -> str:
    return hashlib.sha256(canonical_json([kind, *(row[name] for name in names)])).hexdigest()
