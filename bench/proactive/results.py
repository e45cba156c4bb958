"""What a run came to: `result.json` in its directory, which the report gathers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from soundflow.bench.harness.grid import Grid, percent
from soundflow.bench.proactive.score import Score
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema, explain

RESULT: Final = "result.json"


class DrawnTake(Schema):
    """A long recording: when what was heard, and when a response opened, in seconds."""

    id: str
    seconds: float
    labels: tuple[tuple[float, float, str], ...]
    """Start, end, decision."""
    said: tuple[float, ...]


class Result(Schema):
    """One run's figures."""

    benchmark: str
    mode: str
    """Of the seven: text or audio; of ProactiveSound-Bench: single or multiple."""
    segments: int = 1
    """Items that share a stream."""
    model: str
    """How the report calls who was tested."""
    tester: str
    """`runtime` or `chat`."""
    figures: dict[str, float | None]
    """By name, in the paper's units."""
    n: int
    missing: int
    complete: bool
    """Whether every row was asked."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 %, of figures."""
    notes: tuple[str, ...] = ()
    grid: Grid | None = None
    """The run's table, where figures alone are none."""
    domains: dict[str, float | None] = Field(default_factory=dict)
    """Balanced accuracy by domain of a proactive set."""
    curve: dict[int, float] = Field(default_factory=dict)
    """Balanced accuracy over N sounds in a stream."""
    takes: tuple[DrawnTake, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)
    """What else a scorer knows."""


def write_result(directory: Path, result: Result) -> Path:
    """Put a run's figures into its directory, whole or not at all."""
    path = directory / RESULT
    write_atomic(path, json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return path


def read_results(places: Iterable[Path]) -> list[tuple[Path, Result]]:
    """Every result in or below these directories, sorted by path; InputError for a damaged one, or when there is none."""
    found = []
    for place in places:
        paths = [place / RESULT] if (place / RESULT).is_file() else sorted(place.rglob(RESULT))
        if not paths:
            raise InputError("holds no result", file=place, remedy="Name a directory of `soundflow bench run` or `proactive run`")
        for path in paths:
            try:
                found.append((path.parent, Result.model_validate_json(path.read_bytes())))
            except ValidationError as error:
                raise explain(error, Result, path) from None
    return found


def proactive_result(score: Score, tier: str, model: str, complete: bool, chat: bool) -> Result:
    """A proactive score as a result, its figures in percent, domains by their names."""
    document = score.to_json()
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    figures = {name: percent(document[name]) for name in names} | {"false_alarms_per_hour": document["false_alarms_per_hour"]}
    if document["replies"] is not None:
        figures["accuracy_with_replies"] = percent(document["replies"]["accuracy_with_replies"])
    figures |= {name: percent(rates["accuracy"]) for name, rates in document["domains"].items()}
    rates = {name: document[name] for name in (*names, "specificity", "false_alarms_per_hour")}
    kept = {name: document[name] for name in ("baselines", "domains", "categories", "hours", "replies", "unreadable")}
    return Result(
        benchmark=score.set_name,
        mode=tier,
        model=model,
        tester="chat" if chat else "runtime",
        figures=figures,
        n=document["n"],
        missing=document["missing"],
        complete=complete,
        intervals={name: (round(100 * low, 4), round(100 * high, 4)) for name, (low, high) in score.intervals.items()},
        grid=score.grid(model),
        domains={name: percent(rates["balanced_accuracy"]) for name, rates in document["domains"].items()},
        details=kept | {"score": rates},
    )
