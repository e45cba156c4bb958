"""The learning proof: builds the corpora, trains from several seeds, evaluates, and writes a summary and a report.

`python -m soundflow.bench.experiments.learning -o runs/learn`. The same command resumes an interrupted run. Exit code 1 means
that a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.bench.experiments.learning.corpora import CORPORA, make_corpus, make_index
from soundflow.bench.experiments.learning.proof import STAGES, WITHIN, ProofTask, learn_all, trivial
from soundflow.bench.experiments.learning.statistics import interval
from soundflow.bench.harness import measure as bench
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus
from soundflow.training.logs import read_log
from soundflow.training.report import ReportTable, put_page, render

BEST: Final = f"k={WITHIN[-1]}"
F1_LIMIT: Final = 0.85
FALSE_ALARM_LIMIT: Final = 2.0
FIGURES: Final = ("f1", "recall", "precision", "false_alarms_per_min", "balanced_chunk_accuracy", "text_accuracy")
DEFINITIONS: Final = (
    "An event is a response of the timeline, a trigger a chunk (400 ms) at which the model opens one. A trigger matches an event"
    " if it is at most k chunks before or after it; each matches at most one. Recall: share of matched events. Precision: share"
    " of matched triggers. False alarms: triggers without a match. Balanced chunk accuracy: mean of the accuracies on response"
    " chunks and on silent chunks, without tolerance. Text accuracy: share of matched events whose text their sub-task allows."
    " Intervals: 95 %, Student's t over seeds."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the proof; return exit code 1 if a limit is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.learning",
        description="Train a small model on corpora of the pipeline and evaluate it on held-out streams.",
    )
    add, out, cores = parser.add_argument, Path("runs/learn"), min(os.cpu_count() or 1, 3)
    add("-o", "--out", type=Path, default=out, help=f"Write corpora, runs and report to this directory (default {out}).")
    add("--seeds", type=int, default=3, help="Number of seeds to train (default 3).")
    workers_help = f"Number of seeds trained at a time; 0 trains in this process (default {cores})."
    add("--workers", type=int, choices=range(65), metavar="N", default=cores, help=workers_help)
    add("--device", default="cpu", help="Device to train on: auto, cpu, cuda or cuda:N (default cpu, as in the published table).")
    arguments = parser.parse_args(argv)
    root: Path = arguments.out
    root.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    make_index(root)
    corpora = {name: make_corpus(root, name, spec, seed=number) for number, (name, spec) in enumerate(CORPORA.items())}
    print(f"corpora: {time.process_time() - begin:.0f} CPU seconds", flush=True)
    tasks = [ProofTask.of(corpora, root / f"seed-{seed}", seed, arguments.device) for seed in range(arguments.seeds)]
    results = []
    for _, result in learn_all(tasks, arguments.workers):
        results.append(result)
        found = ", ".join(f"{name} {result['trained'][BEST][name]:.3f}" for name in FIGURES)
        print(f"seed {result['seed']}: {found}; {result['cpu_seconds']:.0f} CPU seconds", flush=True)
    results.sort(key=lambda result: result["seed"])
    baselines = trivial(StoredCorpus(corpora["heldout"]))
    baselines["untrained"] = {k: _mean([result["untrained"][k] for result in results]) for k in results[0]["untrained"]}
    cpu = time.process_time() - begin + sum(result["cpu_seconds"] for result in results)
    summary = summarise(results, baselines, cpu)
    put_page(root / "summary.json", json.dumps(summary, indent=2, sort_keys=True) + "\n")
    put_page(root / "report.html", _page(root, results, baselines, summary))
    for line in _lines(summary):
        print(line)
    print(f"{root / 'report.html'}, {root / 'summary.json'}")
    return 0 if summary["ok"] else 1


def summarise(results: Sequence[Mapping[str, Any]], baselines: Mapping[str, Any], cpu: float) -> dict[str, Any]:
    """Return summary.json: means over seeds at the largest k, intervals, baselines, and whether the limits are met."""
    best = [result["trained"][BEST] for result in results]
    mean = _mean(best)
    return {
        **{name: mean[name] for name in FIGURES},
        "intervals": {name: interval([figures[name] for figures in best]) for name in FIGURES},
        "within_chunks": WITHIN[-1],
        "definitions": DEFINITIONS,
        "per_seed": {str(result["seed"]): result["trained"] for result in results},
        "baselines": {name: found[BEST] for name, found in baselines.items()},
        "seeds": len(results),
        "cpu_seconds": cpu,
        "limits": {"f1": F1_LIMIT, "false_alarms_per_min": FALSE_ALARM_LIMIT},
        "machine": bench.machine(),
        "ok": mean["f1"] >= F1_LIMIT and mean["false_alarms_per_min"] < FALSE_ALARM_LIMIT,
    }


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}


def _lines(summary: Mapping[str, Any]) -> list[str]:
    names = ["f1", "recall", "precision", "false_alarms_per_min", "text_accuracy"]
    lines = [f"{'':<16}" + "".join(f"{name:>22}" for name in names)]
    for label, found in {"trained": summary, **summary["baselines"]}.items():
        lines.append(f"{label:<16}" + "".join(f"{found[name]:>22.3f}" for name in names))
    return [*lines, f"{summary['seeds']} seeds, {summary['cpu_seconds']:.0f} CPU seconds in total"]


def _page(root: Path, results: Sequence[Mapping[str, Any]], baselines: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    def row(label: str, found: Mapping[str, float]) -> list[str]:
        return [label, *(f"{found[name]:.3f}" for name in FIGURES)]

    head = ["", *FIGURES]
    intervals = summary["intervals"]
    spread = [
        "95 % interval over seeds",
        *("–" if intervals[name] is None else f"{intervals[name][0]:.3f} … {intervals[name][1]:.3f}" for name in FIGURES),
    ]
    rows = [row("trained", summary), spread, *(row(name.replace("_", " "), found[BEST]) for name, found in baselines.items())]
    tables = [ReportTable(f"Held-out streams, {BEST}", head, rows, DEFINITIONS)]
    for within in WITHIN:
        key = f"k={within}"
        tables.append(ReportTable(f"By seed, {key}", head, [row(f"seed {one['seed']}", one["trained"][key]) for one in results]))
    corpora = [
        (name, spec.split, str(spec.streams), ", ".join(f"{task} {weight:g}" for task, weight in spec.tasks.items()))
        for name, spec in CORPORA.items()
    ]
    tables.append(ReportTable("Corpora", ("", "clips", "streams", "tasks"), corpora, "The splits have no clip in common."))
    lines, before = [], 0
    for name in STAGES:
        log = read_log(root / "seed-0" / name.replace("/", "-"))
        lines += [line.model_copy(update={"step": line.step + before}) for line in log]
        before += log[-1].step
    totals = [("F1 at k = 2", f"{summary['f1']:.3f}"), ("false alarms/min", f"{summary['false_alarms_per_min']:.2f}")]
    totals += [("seeds", str(summary["seeds"])), ("CPU minutes in total", f"{summary['cpu_seconds'] / 60:.1f}")]
    about = "A model of 1.2 million parameters, trained from scratch in five stages on a CPU. The curves show seed 0."
    return render("Learning proof", about, totals, lines, tables)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
