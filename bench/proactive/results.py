"""Result of a run: `result.json` in its directory, the input of the report."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from soundflow.bench.harness.grid import Grid, percent
from soundflow.bench.proactive.score import Score
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema

RESULT: Final = "result.json"


class DrawnTake(Schema):
    """Data for the plot of a long recording: labels and responses over time, in seconds."""

    id: str
    seconds: float
    labels: tuple[tuple[float, float, str], ...]
    """Start, end, decision."""
    said: tuple[float, ...]  # a stored name
    """Times of the responses."""


class Result(Schema):
    """Figures of a run."""

    benchmark: str
    mode: str
    """text or audio for the seven public benchmarks; single, multiple or stability for ProactiveSound-Bench."""
    segments: int = 1
    """Number of items per stream."""
    model: str
    """Name of the tested model in the report."""
    tester: str
    """`runtime` or `chat`."""
    figures: dict[str, float | None]
    """Name → figure, in the units of the paper."""
    n: int
    missing: int
    complete: bool
    """Whether every row was run."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of figures."""
    notes: tuple[str, ...] = ()
    grid: Grid | None = None
    """Table of the run, if it is more than a list of figures."""
    domains: dict[str, float | None] = Field(default_factory=dict)
    """Balanced accuracy by domain of a proactive set."""
    curve: dict[int, float] = Field(default_factory=dict)
    """Balanced accuracy by N, the number of sounds per stream."""
    takes: tuple[DrawnTake, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)
    """Additional output of the scorer."""


def write_result(directory: Path, result: Result) -> Path:
    """Write result.json of a run atomically."""
    path = directory / RESULT
    write_atomic(path, json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return path


def read_results(places: Iterable[Path]) -> list[tuple[Path, Result]]:
    """Read all results in or below directories, sorted by path; raises InputError for a damaged or missing result."""
    found = []
    for place in places:
        paths = [place / RESULT] if (place / RESULT).is_file() else sorted(place.rglob(RESULT))
        if not paths:
            raise InputError("contains no result.json", file=place, remedy="Name a directory that `soundflow bench` wrote")
        for path in paths:
            found.append((path.parent, Result.from_json(path.read_bytes(), file=path)))
    return found


def proactive_result(score: Score, tier: str, model: str, complete: bool, chat: bool) -> Result:
    """Convert a proactive score to a result, in percent, with a figure per domain."""
    document = score.to_json()
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    figures = {name: percent(document[name]) for name in names} | {"false_alarms_per_hour": document["false_alarms_per_hour"]}
    if document["replies"] is not None:
        figures["accuracy_with_replies"] = percent(document["replies"]["accuracy_with_replies"])
    figures |= {name: percent(rates["accuracy"]) for name, rates in document["domains"].items()}
    rates = {name: document[name] for name in (*names, "specificity", "false_alarms_per_hour")}
    kept = {name: document[name] for name in ("baselines", "domains", "categories", "hours", "replies", "unreadable", "thoughts")}
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
