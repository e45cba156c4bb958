"""The paper's ablations (tables 3 to 6) on the small corpus and model of `bench.learning`, beside the paper's own figures.

`python -m bench.ablations [-o runs/ablations] [--seeds N] [--only VARIANT …]`. Every variant changes one thing of the reference,
trains the same number of steps from the same seeds, and hears the same held-out streams, made with everything on. Run again, it
goes on where it was. What comes out is written down whatever it is: a table of 3B models on 302,000 hours and one of a million
parameters on four hours need not agree, and intervals say how much a difference means.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import _common as bench
from bench.fifo import LONG, THREE_B
from bench.learning.corpora import BOTH, CORPORA, MANY, Scene, Spec, make_corpus, make_index
from bench.learning.proof import Task, learn
from bench.learning.statistics import interval
from schemas.clip import TfjpConfig
from streaming.simulate import Script, simulate
from training.config import DrainConfig, StageConfig
from training.report import Table, put_page, render

TRAIN: Final = Spec("train", 480, BOTH, MANY)
WITHOUT_TFJP: Final = TfjpConfig(silence_limit_ms=10_000, denoise=False, max_passes=1)
"""No silence is cut and nothing denoised; clips are still trimmed to their core and aligned to half chunks."""
TOLERANCE_MS: Final = 800
"""A trigger may be this early or late, at any chunk size."""
STAGE: Final = StageConfig(
    name="ablation",
    about="everything from scratch in one stage",
    trainable=("adapter", "lm", "audio_encoder"),
    learning_rate=2e-3,
    steps=240,
    effective_batch=4,
    micro_batch=4,
    warmup_ratio=0.1,
    drain=DrainConfig(),
    save_every=1_000,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One change to the reference."""

    name: str
    paper: str
    """The paper's trigger accuracy, or what it tells instead."""
    table: str
    scene: Scene = MANY
    tfjp: bool = True
    loss_weight: float = 1.0
    chunk_ms: int = 400
    steps: int = STAGE.steps


DATA, LAMBDA, CHUNK = "Streaming training and data (paper, table 4)", "Dual-loss weight (table 6)", "Chunk size (table 5)"
REFERENCE: Final = Variant("reference", "96.77 %", DATA)
VARIANTS: Final = (
    REFERENCE,
    Variant("without TFJP", "85.35 % (from 92.42 %)", DATA, tfjp=False),
    Variant("without event selection", "88.51 % (from 92.42 %)", DATA, scene=dict(MANY) | {"planner": "random"}),
    Variant("without silence mix", "not told", DATA, scene=dict(MANY) | {"benign_share": 0.0}),
    Variant("lambda 0.5", "95.3 %", LAMBDA, loss_weight=0.5),
    Variant("lambda 2", "96.9 %", LAMBDA, loss_weight=2.0),
    Variant("chunk 0.2 s", "MMAU 49.74, 258 ms", CHUNK, chunk_ms=200),
    Variant("chunk 0.6 s", "MMAU 58.46, 674 ms", CHUNK, chunk_ms=600),
    Variant("chunk 0.8 s", "MMAU 59.13, 786 ms", CHUNK, chunk_ms=800),
)
SHOWN: Final = {LAMBDA: ("lambda 1", "96.7 %"), CHUNK: ("chunk 0.4 s", "MMAU 58.15, 392 ms")}
"""What the reference is called, and what the paper tells of it, in the other tables."""
FIGURES: Final = ("f1", "recall", "precision", "false_alarms_per_min", "text_accuracy", "mean_delay_ms")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not there yet; always exit code 0: an ablation has no limit to keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.ablations", description="The paper's ablations, small.")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[variant.name for variant in VARIANTS], help="train only these")
    arguments = parser.parse_args(argv)
    root: Path = arguments.out
    root.mkdir(parents=True, exist_ok=True)
    make_index(root)
    heldout = make_corpus(root, "heldout", CORPORA["heldout"], seed=3)
    results: dict[str, list[dict[str, Any]]] = {}
    for variant in VARIANTS:
        if arguments.only and variant.name not in arguments.only:
            continue
        corpora = {"train": _corpus(root, variant), "heldout": heldout}
        results[variant.name] = []
        for seed in range(arguments.seeds):
            result = learn(_task(root, variant, corpora, seed))
            results[variant.name].append(_figures(result, variant))
            found = ", ".join(f"{name} {results[variant.name][-1][name]:.3f}" for name in FIGURES)
            print(f"{variant.name}, seed {seed}: {found}", flush=True)
    summary = {"variants": results, "scheduling": _scheduling(), "machine": bench.machine()}
    (root / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(put_page(root / "report.html", _page(results)))
    return 0


def _corpus(root: Path, variant: Variant) -> Path:
    clips = "clips"
    if not variant.tfjp:
        clips = "clips-without-tfjp"
        make_index(root, WITHOUT_TFJP, clips)
    scene = dict(variant.scene)
    shared = variant.tfjp and scene == dict(MANY)
    return make_corpus(root, "train" if shared else f"train-{_slug(variant)}", TRAIN, seed=11, clips=clips, scene=scene)


def _task(root: Path, variant: Variant, corpora: Mapping[str, Path], seed: int) -> Task:
    stage = STAGE.model_copy(update={"loss_weight": variant.loss_weight, "window_chunks": 24_000 // variant.chunk_ms})
    within = max(TOLERANCE_MS // variant.chunk_ms, 1)
    run = root / _slug(variant) / f"seed-{seed}"
    return Task(corpora, run, seed, {"all": stage}, {"all": "train"}, variant.chunk_ms, (within,), untrained=False)


def _figures(result: Mapping[str, Any], variant: Variant) -> dict[str, float]:
    (figures,) = result["trained"].values()
    return dict(figures) | {"mean_delay_ms": figures["mean_delay_chunks"] * variant.chunk_ms}


def _slug(variant: Variant) -> str:
    return variant.name.replace(" ", "-").replace(".", "_")


def _scheduling() -> dict[str, dict[str, float]]:
    """Table 3 on the virtual clock of `streaming.simulate`, with the costs of a 3B model that `bench.fifo` states."""
    script = Script(LONG, dict.fromkeys(range(25, LONG, 50), 40))
    return {mode: simulate(mode, script, THREE_B).summary() for mode in ("fifo", "lockstep", "tick-barrier")}


def _page(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    tables = [_scheduling_table()]
    for title in (DATA, CHUNK, LAMBDA):
        rows = []
        for variant in VARIANTS:
            reference = variant is REFERENCE
            if variant.name in results and (variant.table == title or reference):
                name, paper = SHOWN.get(title, (variant.name, variant.paper)) if reference else (variant.name, variant.paper)
                rows.append([name, paper, *(_cell([one[figure] for one in results[variant.name]]) for figure in FIGURES)])
        tables.append(Table(title, ["", "paper", *FIGURES], rows, f"Tolerance {TOLERANCE_MS} ms."))
    about = "One change at a time, small: mean and 95 % interval (Student's t over seeds). The paper's figures are of 3B models."
    return render("Ablations", about, [], [], tables)


def _scheduling_table() -> Table:
    told = {"fifo": "392 ms, 0.0 %", "lockstep": "831 ms, 5.2 %"}
    rows = []
    for mode, found in _scheduling().items():
        latencies = [f"{found[name]:.0f} ms" for name in ("fcl_start_ms", "fcl_ms", "resume_ms")]
        rows.append([mode, told.get(mode, "–"), *latencies, f"{found['stall_pct']:.1f} %"])
    head = ["", "paper", "first token after chunk start", "after chunk end", "resume", "stalls"]
    about = (
        "On the virtual clock, ten minutes, three replies of 40 tokens a minute; `bench/fifo` measures the same on a real one."
    )
    return Table("Asynchronous inference (table 3)", head, rows, about)


def _cell(values: Sequence[float]) -> str:
    bounds = interval(values)
    mean = f"{np.mean(values):.3f}"
    return mean if bounds is None else f"{mean} ({bounds[0]:.3f} … {bounds[1]:.3f})"


if __name__ == "__main__":
    raise SystemExit(main())
