"""The report of a run: one self-contained HTML page without scripts or network access, written atomically."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2

from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.training.logs import read_log
from soundflow.training.metrics import StepLog
from soundflow.training.trainer import RunRecord

CHARTS: Final = (
    ("l_lm", "l_stream"),
    ("trigger_precision", "trigger_recall"),
    ("silence_share",),
    ("learning_rate",),
    ("grad_norm",),
    ("tokens_per_second",),
    ("mfu",),
)
LEFT, RIGHT, TOP, BOTTOM = 44, 352, 10, 150
POINTS: Final = 400
"""Maximum points per curve."""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A titled table of text cells."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str = ""


def render(
    title: str, about: str, totals: Sequence[tuple[str, str]], lines: Sequence[StepLog], tables: Sequence[ReportTable]
) -> str:
    """Render the page."""
    template = jinja2.Environment(autoescape=True).from_string(
        (resources.files("soundflow.training") / "report_page.html").read_text(encoding="utf-8")
    )
    charts = [chart for names in CHARTS if (chart := _chart(names, lines))]
    return template.render(title=title, about=about, totals=totals, charts=charts, tables=tables)


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write RUN/report.html (or `out`) of a run, finished or not. Raises InputError if `run` is not a run directory."""
    if not (run / "run.json").is_file():
        raise InputError("is not a run (no run.json)", file=run, remedy="Pass an output directory of `soundflow train`")
    record = RunRecord.from_json((run / "run.json").read_bytes(), file=run / "run.json")
    lines = read_log(run)
    last = lines[-1] if lines else None
    totals = [("steps of " + str(record.stage.steps), str(last.step if last else 0))]
    if last is not None:
        totals += [
            ("L_LM", _figure(last.l_lm)),
            ("L_stream", _figure(last.l_stream)),
            ("trigger precision", _figure(last.trigger_precision)),
            ("trigger recall", _figure(last.trigger_recall)),
            ("tokens", f"{last.tokens:,}"),
            ("tokens/s", f"{last.tokens_per_second:,.0f}"),
            ("MFU, estimate", f"{100 * last.mfu:.1f} %"),
        ]
    about = record.stage.model_dump(mode="json")
    rows = [(name, str(value)) for name, value in about.items() if name not in ("name", "about")]
    rows += [("corpus", record.corpus[:12]), ("model", record.model), ("seed", str(record.seed))]
    page = render(record.stage.name, record.stage.about, totals, lines, [ReportTable("Configuration", ("", ""), rows)])
    return put_page(out or run / "report.html", page)


def put_page(path: Path, page: str) -> Path:
    """Write a page atomically; return its path."""
    write_atomic(path, page.encode())
    return path


def _chart(names: Sequence[str], lines: Sequence[StepLog]) -> dict[str, Any] | None:
    series = [[(line.step, getattr(line, name)) for line in lines if getattr(line, name) is not None] for name in names]
    values = [value for points in series for _, value in points]
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    high = high if high > low else low + (abs(low) or 1.0)
    steps = lines[0].step, lines[-1].step

    def x(step: int) -> float:
        return LEFT + (RIGHT - LEFT) * (step - steps[0]) / max(steps[1] - steps[0], 1)

    def y(value: float) -> float:
        return float(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low))

    thin = [points[:: max(len(points) // POINTS, 1)] for points in series]
    return {
        "names": names,
        "first": steps[0],
        "last": steps[1],
        "ticks": [{"y": round(y(tick), 1), "text": _figure(tick)} for tick in (low, (low + high) / 2, high)],
        "lines": [" ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points) for points in thin],
    }


def _figure(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < abs(value) < 0.01:
        return f"{value:.1e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
