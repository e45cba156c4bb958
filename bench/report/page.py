"""One self-contained HTML page without scripts: a table per run, the paper's tables with rows of the tested models, plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2

from soundflow.bench.harness.grid import format_cell
from soundflow.bench.proactive.metadata import OTHER
from soundflow.bench.proactive.results import Result
from soundflow.bench.report.analyses import Analysis
from soundflow.bench.report.plots import analysis_plots, domain_plot, segment_plot, takes_plots
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import Schema
from soundflow.schemas.documents import parse_yaml

NOT_RUN: Final = "not run"


class Column(Schema):
    """A column of a table of the paper, and the figure that fills it: benchmark, mode and name."""

    name: str
    benchmark: str
    mode: str
    figure: str


class PaperRow(Schema):
    """Figures that the paper prints for one model; None is an empty cell."""

    model: str
    values: tuple[float | None, ...]


class PaperTable(Schema):
    """A table of the paper."""

    title: str
    source: str
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title; `ours` are the indices of the rows that were measured here."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str = ""
    ours: frozenset[int] = frozenset()


def paper_tables() -> list[PaperTable]:
    """Return the tables of the paper, as printed."""
    text = (resources.files("soundflow.bench.report") / "paper.yaml").read_text(encoding="utf-8")
    return [PaperTable.model_validate(one) for one in parse_yaml(text)]


def write_report(path: Path, results: Sequence[tuple[Path, Result]], analyses: Sequence[Analysis] = ()) -> Path:
    """Write the page atomically."""
    found = [result for _, result in results]
    tables = [run_table(place, result) for place, result in results]
    tables += [compare_with_paper(table, found) for table in paper_tables()]
    plots = [plot for plot in (domain_plot(found), segment_plot(found)) if plot] + takes_plots(found)
    plots += [plot for one in analyses for plot in analysis_plots(one)]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (resources.files("soundflow.bench.report") / "page.html").read_text(encoding="utf-8")
    )
    models = sorted({result.model for result in found})
    page = template.render(tables=tables, plots=plots, models=models, runs=len(found))
    write_atomic(path, page.encode())
    return path


def compare_with_paper(table: PaperTable, results: Sequence[Result]) -> Table:
    """Return the paper's rows and one row per tested model, with `not run` in cells without a figure."""
    rows = [[row.model, *map(format_cell, row.values)] for row in table.rows]
    begin, about = len(rows), f"As printed in the {table.source}."
    for model in sorted({result.model for result in results}):
        runs = [[one for one in results if _fills(one, column, model)] for column in table.columns]
        rows.append(
            [f"{model} (here)", *(_here(found, column.figure) for found, column in zip(runs, table.columns, strict=True))]
        )
        if any(len(found) > 1 for found in runs):
            about += f" {model} has several runs; the first by path is shown."
    if begin == len(rows):
        rows.append(["no model (here)", *[NOT_RUN] * len(table.columns)])
    head = ["", *(column.name for column in table.columns)]
    return Table(table.title, head, rows, about, frozenset(range(begin, len(rows))))


def _here(runs: Sequence[Result], figure: str) -> str:
    """Format a figure of the first run with its number of rows, so that a partial run is not taken for a complete one."""
    run = runs[0] if runs else None
    value = None if run is None else run.figures.get(figure)
    if run is None or value is None:
        return NOT_RUN
    return f"{value:.2f} (n={run.n:,}{'' if run.complete else ', incomplete'})"


def run_table(place: Path, result: Result) -> Table:
    """Return the table of one run."""
    name = f"{OTHER} (not the published sounds)" if result.benchmark == OTHER else result.benchmark
    title = f"{name}, {result.mode}" + (f", {result.segments} items per stream" if result.segments > 1 else "")
    about = f"{result.model} ({result.tester}), run {place.name}: {result.n} rows, {result.missing} missing (counted as wrong)."
    if not result.complete:
        about += " The run is incomplete."
    about += "".join(f" {note}." for note in result.notes)
    spans = {name: f"{low:.2f} … {high:.2f}" for name, (low, high) in result.intervals.items()}
    if result.grid is not None:
        intervals = "; ".join(f"{name.replace('_', ' ')} {span}" for name, span in spans.items())
        about += f" 95 % intervals: {intervals}." if intervals else ""
        cells = [[name, *map(format_cell, values)] for name, values in result.grid.rows]
        ours = frozenset(number for number, row in enumerate(cells) if row[0] == result.model)
        return Table(title, ["", *result.grid.head], cells, about, ours)
    rows = [
        [name, NOT_RUN if value is None else format_cell(value), spans.get(name, "–")] for name, value in result.figures.items()
    ]
    return Table(title, ("", "figure", "95 % interval"), rows, about)


def _fills(result: Result, column: Column, model: str) -> bool:
    same = (result.benchmark, result.mode) == (column.benchmark, column.mode)
    return same and result.model == model and result.segments == 1
