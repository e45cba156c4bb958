"""One self-contained HTML page: the paper's tables with what was run beside them, every run's own table, plots. No scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2
import yaml

from soundflow.bench.harness.grid import format_cell
from soundflow.bench.proactive.metadata import OTHER
from soundflow.bench.proactive.results import Result
from soundflow.bench.report.analyses import Analysis
from soundflow.bench.report.plots import analysis_plots, domain_plot, segment_plot, takes_plots
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import Schema

NOT_RUN: Final = "not run"


class Column(Schema):
    """A column of a paper's table, and which figure of which run fills it."""

    name: str
    benchmark: str
    mode: str
    figure: str


class PaperRow(Schema):
    """What the paper prints for one model; None is a cell it leaves empty."""

    model: str
    values: tuple[float | None, ...]


class PaperTable(Schema):
    """One of the paper's tables."""

    title: str
    source: str
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title; `ours` are the numbers of rows that were run here."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str = ""
    ours: frozenset[int] = frozenset()


def paper_tables() -> list[PaperTable]:
    """The paper's, as printed."""
    text = (resources.files("soundflow.bench.report") / "paper.yaml").read_text(encoding="utf-8")
    return [PaperTable.model_validate(one) for one in yaml.safe_load(text)]


def write_report(path: Path, results: Sequence[tuple[Path, Result]], analyses: Sequence[Analysis] = ()) -> Path:
    """Write the page, whole or not at all. `analyses`: of checkpoints."""
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
    """The paper's rows, then one for every model that was run here; what was not run says so."""
    rows = [[row.model, *map(format_cell, row.values)] for row in table.rows]
    begin, about = len(rows), f"As printed in the {table.source}."
    for model in sorted({result.model for result in results}):
        runs = [[one for one in results if _fills(one, column, model)] for column in table.columns]
        rows.append(
            [f"{model} (here)", *(_here(found, column.figure) for found, column in zip(runs, table.columns, strict=True))]
        )
        if any(len(found) > 1 for found in runs):
            about += f" Of several runs of {model} the first by path is shown."
    if begin == len(rows):
        rows.append(["nothing (here)", *[NOT_RUN] * len(table.columns)])
    head = ["", *(column.name for column in table.columns)]
    return Table(table.title, head, rows, about, frozenset(range(begin, len(rows))))


def _here(runs: Sequence[Result], figure: str) -> str:
    """A figure of the first run with the rows it is of: a part of a benchmark is not taken for the whole."""
    run = runs[0] if runs else None
    value = None if run is None else run.figures.get(figure)
    if run is None or value is None:
        return NOT_RUN
    return f"{value:.2f} (n={run.n:,}{'' if run.complete else ', incomplete'})"


def run_table(place: Path, result: Result) -> Table:
    """Everything one run tells."""
    name = f"{OTHER} (not the published sounds)" if result.benchmark == OTHER else result.benchmark
    title = f"{name}, {result.mode}" + (f", {result.segments} a stream" if result.segments > 1 else "")
    about = f"{result.model} as {result.tester}, {place.name}: {result.n} rows, {result.missing} missing (wrong)."
    if not result.complete:
        about += " The run is not complete."
    about += "".join(f" {note}." for note in result.notes)
    spans = {name: f"{low:.2f} … {high:.2f}" for name, (low, high) in result.intervals.items()}
    if result.grid is not None:
        told = "; ".join(f"{name.replace('_', ' ')} {span}" for name, span in spans.items())
        about += f" 95 %: {told}." if told else ""
        cells = [[name, *map(format_cell, values)] for name, values in result.grid.rows]
        ours = frozenset(number for number, row in enumerate(cells) if row[0] == result.model)
        return Table(title, ["", *result.grid.head], cells, about, ours)
    rows = [
        [name, NOT_RUN if value is None else format_cell(value), spans.get(name, "–")] for name, value in result.figures.items()
    ]
    return Table(title, ("", "figure", "95 %"), rows, about)


def _fills(result: Result, column: Column, model: str) -> bool:
    same = (result.benchmark, result.mode) == (column.benchmark, column.mode)
    return same and result.model == model and result.segments == 1
