"""The paper's ablations (tables 3 to 6) with the small corpus and model of `bench.experiments.learning`.

`python -m soundflow.bench.experiments.ablations [-o runs/ablations] [--seeds N] [--only VARIANT …] [--workers N] [--scale F]`.
Each variant changes one property of the reference, trains the same number of steps from the same seeds, and is evaluated on the
same held-out streams, made with the settings of the reference. A cell is one variant and one seed. Cells run seed by seed, and
the tables are written after each cell; an interrupted run is resumed by the same command. A model of a million parameters on
three hours need not agree with 3B models on 302,000 hours; the intervals show which differences are meaningful.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.bench.experiments.learning.corpora import (
    BOTH,
    CLIPS_PER_CLASS,
    CORPORA,
    MANY,
    Scene,
    Spec,
    make_corpus,
    make_index,
)
from soundflow.bench.experiments.learning.proof import ProofTask, learn_all
from soundflow.bench.experiments.learning.statistics import interval
from soundflow.bench.harness import measure as bench
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import TfjpConfig
from soundflow.streaming.simulate import LONG, THREE_B, Script, simulate
from soundflow.training.config import StageConfig, load_stage
from soundflow.training.report import ReportTable, put_page, render

WITHOUT_TFJP: Final = TfjpConfig(silence_limit_ms=10_000, denoise=False, max_passes=1)
"""Neither cuts silence nor denoises. Clips are still trimmed to their core and aligned to half chunks."""
TOLERANCE_MS: Final = 800
"""Maximum distance between trigger and event, at any chunk size."""
CORPUS_OF: Final = {"hear": "single", "stream": "train"}
"""Stage → corpus: stage 0 of the proof, then full training on streams of both sub-tasks."""
STREAMS: Final = Spec("train", 480, BOTH, MANY)
STREAM_STEPS: Final = 240


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of the experiment: 1 for the benchmark, 0.01 for tests."""

    factor: float = 1.0

    def of(self, number: int, least: int = 1) -> int:
        """Scale a number of steps, streams or clips."""
        return max(round(number * self.factor), least)

    def spec(self, spec: Spec) -> Spec:
        """Scale a corpus."""
        return replace(spec, streams=self.of(spec.streams))

    def stages(self, loss_weight: float, chunk_ms: int) -> dict[str, StageConfig]:
        """Return both stages of a variant."""
        hear, stream = load_stage("cpu/0"), load_stage("cpu/3")
        changes = {"loss_weight": loss_weight, "window_chunks": 24_000 // chunk_ms, "trainable": hear.trainable}
        return {
            "hear": hear.model_copy(update={**changes, "steps": self.of(hear.steps, 2)}),
            "stream": stream.model_copy(update={**changes, "steps": self.of(STREAM_STEPS, 2)}),
        }


@dataclass(frozen=True, slots=True)
class Variant:
    """One change of the reference."""

    name: str
    paper: str
    """Trigger accuracy in the paper, or the figures it gives instead."""
    table: str
    scene: Scene = field(default_factory=dict)
    """Changes of the recipe's scene."""
    tfjp: bool = True
    loss_weight: float = 1.0
    chunk_ms: int = 400

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return self.name.replace(" ", "-").replace(".", "_")


DATA, LAMBDA, CHUNK = "Streaming training and data (paper, table 4)", "Dual-loss weight (table 6)", "Chunk size (table 5)"
REFERENCE: Final = Variant("reference", "96.77 %", DATA)
VARIANTS: Final = (
    REFERENCE,
    Variant("without TFJP", "85.35 % (from 92.42 %)", DATA, tfjp=False),
    Variant("without event selection", "88.51 % (from 92.42 %)", DATA, scene={"planner": "random"}),
    Variant("without silence mix", "not given", DATA, scene={"benign_share": 0.0}),
    Variant("lambda 0.5", "95.3 %", LAMBDA, loss_weight=0.5),
    Variant("lambda 2", "96.9 %", LAMBDA, loss_weight=2.0),
    Variant("chunk 0.2 s", "MMAU 49.74, 258 ms", CHUNK, chunk_ms=200),
    Variant("chunk 0.6 s", "MMAU 58.46, 674 ms", CHUNK, chunk_ms=600),
    Variant("chunk 0.8 s", "MMAU 59.13, 786 ms", CHUNK, chunk_ms=800),
)
SHOWN: Final = {LAMBDA: ("lambda 1", "96.7 %"), CHUNK: ("chunk 0.4 s", "MMAU 58.15, 392 ms")}
"""Name and paper figure of the reference in the other tables."""
FIGURES: Final = ("f1", "recall", "precision", "false_alarms_per_min", "text_accuracy", "mean_delay_ms")
DEFINITIONS: Final = (
    f"A trigger matches an event at most {TOLERANCE_MS} ms before or after it (at least one chunk); recall is the trigger"
    " accuracy of events. The held-out streams, of unseen clips, are the same for every variant."
)
Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Variant → seed → figures."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the missing cells; always return exit code 0, since an ablation has no limit."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.ablations",
        description="Run the paper's ablations with a small corpus and model.",
    )
    add = parser.add_argument
    out, names, cores = Path("runs/ablations"), [variant.name for variant in VARIANTS], min(os.cpu_count() or 1, 3)
    add("-o", "--out", type=Path, default=out, help=f"Write corpora, runs and tables to this directory (default {out}).")
    add("--seeds", type=int, default=3, help="Number of seeds per variant; 0 writes only table 3 without training (default 3).")
    add(
        "--only",
        nargs="*",
        choices=names,
        metavar="VARIANT",
        help=f"Train only these variants (default: all): {', '.join(names)}.",
    )
    workers_help = f"Number of cells trained at a time; 0 trains in this process (default {cores})."
    add("--workers", type=int, choices=range(65), metavar="N", default=cores, help=workers_help)
    add("--scale", type=float, default=1.0, help="Factor of steps and corpora; 0.01 is a functional test (default 1).")
    add("--device", default="cpu", help="Device to train on: auto, cpu, cuda or cuda:N (default cpu, as in the published table).")
    arguments = parser.parse_args(argv)
    root: Path = arguments.out
    root.mkdir(parents=True, exist_ok=True)
    scale = Scale(arguments.scale)
    variants = [variant for variant in VARIANTS if not arguments.only or variant.name in arguments.only]
    corpora = {variant.name: _corpora(root, variant, scale) for variant in variants if arguments.seeds}
    cells = [(variant, seed) for seed in range(arguments.seeds) for variant in variants]
    results: dict[str, dict[int, dict[str, float]]] = {variant.name: {} for variant in variants}
    _write(root, results, scale)
    tasks = [replace(_task(root, cell, corpora[cell[0].name], scale), device=arguments.device) for cell in cells]
    for number, result in learn_all(tasks, arguments.workers):
        variant, seed = cells[number]
        results[variant.name][seed] = found = _figures(result, variant)
        figures = ", ".join(f"{name} {found[name]:.3f}" for name in FIGURES)
        print(f"{variant.name}, seed {seed}: {figures}; {found['cpu_seconds']:.0f} CPU seconds", flush=True)
        _write(root, results, scale)
    print(root / "report.html")
    return 0


def _corpora(root: Path, variant: Variant, scale: Scale) -> dict[str, Path]:
    """Make the corpora of a variant; return name → directory. Variants share the corpora that they do not change."""
    per_class = {split: scale.of(count, 2) for split, count in CLIPS_PER_CLASS.items()}
    clips = make_index(root, per_class=per_class).name
    own_clips, suffix = clips, ""
    if not variant.tfjp:
        own_clips, suffix = make_index(root, WITHOUT_TFJP, "clips-without-tfjp").name, f"-{variant.slug}"
    train = f"train-{variant.slug}" if variant.scene else f"train{suffix}"
    return {
        "heldout": make_corpus(root, "heldout", scale.spec(CORPORA["heldout"]), seed=3, clips=clips),
        "single": make_corpus(root, f"single{suffix}", scale.spec(CORPORA["single"]), seed=0, clips=own_clips),
        "train": make_corpus(root, train, scale.spec(STREAMS), seed=11, clips=own_clips, scene=variant.scene),
    }


def _task(root: Path, cell: tuple[Variant, int], corpora: Mapping[str, Path], scale: Scale) -> ProofTask:
    variant, seed = cell
    within = max(TOLERANCE_MS // variant.chunk_ms, 1)
    stages = scale.stages(variant.loss_weight, variant.chunk_ms)
    run = root / variant.slug / f"seed-{seed}"
    return ProofTask(corpora, run, seed, stages, CORPUS_OF, variant.chunk_ms, (within,), untrained=False)


def _figures(result: Mapping[str, Any], variant: Variant) -> dict[str, float]:
    (figures,) = result["trained"].values()
    delay = figures["mean_delay_chunks"] * variant.chunk_ms
    return dict(figures) | {"mean_delay_ms": delay, "cpu_seconds": result["cpu_seconds"]}


def _write(root: Path, results: Results, scale: Scale) -> None:
    done = {name: {str(seed): found[seed] for seed in sorted(found)} for name, found in results.items() if found}
    differences = {name: difference(found, results.get(REFERENCE.name, {})) for name, found in results.items()}
    summary = {
        "variants": done,
        "f1_less_reference": {name: found for name, found in differences.items() if found},
        "scheduling": _scheduling(),
        "scale": scale.factor,
        "definitions": DEFINITIONS,
        "machine": bench.machine(),
    }
    put_page(root / "summary.json", json.dumps(summary, indent=2, sort_keys=True) + "\n")
    put_page(root / "report.html", _page(results, scale))


def difference(found: Mapping[int, Mapping[str, float]], reference: Mapping[int, Mapping[str, float]]) -> list[float] | None:
    """Return the difference in F1 to the reference over common seeds: mean, and bounds of 95 % for two seeds or more."""
    pairs = [found[seed]["f1"] - reference[seed]["f1"] for seed in sorted(found.keys() & reference.keys())]
    return [float(np.mean(pairs)), *(interval(pairs) or ())] if pairs else None


def _scheduling() -> dict[str, dict[str, float]]:
    """Compute table 3 on the virtual clock of `streaming.simulate`, with the stated costs of a 3B model."""
    script = Script(LONG, dict.fromkeys(range(25, LONG, 50), 40))
    return {mode: simulate(mode, script, THREE_B).summary() for mode in ("fifo", "lockstep", "tick-barrier")}


def _page(results: Results, scale: Scale) -> str:
    tables = [_scheduling_table()]
    reference_cells = results.get(REFERENCE.name, {})
    for title in (DATA, CHUNK, LAMBDA):
        rows = []
        for variant in VARIANTS:
            reference = variant is REFERENCE
            if (found := results.get(variant.name)) and (variant.table == title or reference):
                name, paper = SHOWN.get(title, (variant.name, variant.paper)) if reference else (variant.name, variant.paper)
                change = None if reference else difference(found, reference_cells)
                figures = [_cell([one[figure] for one in found.values()]) for figure in FIGURES]
                rows.append([name, paper, str(len(found)), *figures, _bounded(change) if change else "–"])
        head = ["", "paper", "seeds", *(name.replace("_", " ") for name in FIGURES), "difference in f1, paired by seed"]
        if rows:
            tables.append(ReportTable(title, head, rows, DEFINITIONS))
    about = "One change at a time: mean and 95 % interval (Student's t over seeds). The figures of the paper are of 3B models."
    if scale.factor != 1:
        about += f" Steps and corpora are scaled by {scale.factor:g}; these figures have no meaning."
    return render("Ablations", about, [], [], tables)


def _scheduling_table() -> ReportTable:
    paper = {"fifo": "392 ms, 0.0 %", "lockstep": "831 ms, 5.2 %"}
    rows = []
    for mode, found in _scheduling().items():
        latencies = [f"{found[name]:.0f} ms" for name in ("fcl_start_ms", "fcl_ms", "resume_ms")]
        rows.append([mode, paper.get(mode, "–"), *latencies, f"{found['stall_pct']:.1f} %"])
    head = ["", "paper", "first token after chunk start", "after chunk end", "resume", "stalls"]
    about = (
        "On the virtual clock: ten minutes with three responses of 40 tokens per minute."
        " `bench/speed/fifo` measures the same on a real clock."
    )
    return ReportTable("Asynchronous inference (table 3)", head, rows, about)


def _cell(values: Sequence[float]) -> str:
    return _bounded([float(np.mean(values)), *(interval(values) or ())])


def _bounded(figures: Sequence[float]) -> str:
    """Format a mean with its bounds, if there are any."""
    mean, *bounds = figures
    return f"{mean:.3f} ({bounds[0]:.3f} … {bounds[1]:.3f})" if bounds else f"{mean:.3f}"


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
