"""`python -m soundflow.bench.experiments.proactive_proof -o runs/proactive`: the learning proof's model on a proactive set it was
not trained on.

Recordings, training and its corpora are those of `bench.experiments.learning` (found again when `make learn` ran); the set is
built of the recordings held out, by the recipe in `examples/`, and no clip of a training corpus is in it. Single, Multiple, N = 1
… 5, continuity and heads, one report. Run again, it goes on where it was."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from soundflow.backends.embed.embedders import open_embedder, resolved
from soundflow.bench.experiments.analyses.analyse import analyse
from soundflow.bench.experiments.learning.corpora import CORPORA, make_corpus, make_index
from soundflow.bench.experiments.learning.proof import STAGES, ProofTask, learn
from soundflow.bench.harness.predictions import PREDICTIONS
from soundflow.bench.proactive.build import META, RESPONSES, TIER, build
from soundflow.bench.proactive.metadata import read_predictions, read_sounds
from soundflow.bench.proactive.replies import match_replies
from soundflow.bench.proactive.results import proactive_result, read_results, write_result
from soundflow.bench.proactive.run import ProactiveSet, StreamGroup, run_stream
from soundflow.bench.proactive.score import Score, score
from soundflow.bench.proactive.stability import run_stability
from soundflow.bench.report.page import write_report
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.retrieval import RetrievalConfig

RECIPE: Final = Path(__file__).parents[3] / "examples" / "proactive_bench.yaml"
MODEL: Final = "nano, 1.2 M, make learn"
ANALYSED: Final = 12
"""Held-out streams whose first window the analyses read."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.proactive_proof", description="The learning proof's model, proactively."
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/proactive"))
    parser.add_argument(
        "--learn", type=Path, default=Path("runs/learn"), help="where `make learn` works; trained there if need be"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float, default=0.5, help="respond from this probability on")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    corpora, checkpoint = trained(arguments.learn, arguments.seed)
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    recipe |= {"name": "proactive-proof", "clips": str((arguments.learn / "clips").resolve()), "split": "test"}
    write_atomic(out / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False).encode())
    training = [corpora[name] for name, spec in CORPORA.items() if spec.split == "train"]
    built = build(out / "recipe.yaml", out / "set", training)
    print(f"set: {built['sounds']} sounds, {built['respond']} RESPOND, {built['categories']} sub-categories; {built['left_out']}")
    scores = prove(out, checkpoint, arguments.threshold)
    analysis = analyse(checkpoint, [corpora["heldout"]], ANALYSED, MODEL)
    write_atomic(out / "analysis.json", analysis.canonical_json() + b"\n")
    write_report(out / "report.html", read_results([out]), [analysis])
    for tier, found in scores.items():
        print(f"\n{tier}")
        print("\n".join(found.lines()))
    print("\n".join(["", *analysis.lines()]))
    print(f"{out / 'report.html'}")
    return 0


def trained(root: Path, seed: int) -> tuple[dict[str, Path], Path]:
    """Corpora and last checkpoint of one seed of the learning proof, made where they are missing."""
    root.mkdir(parents=True, exist_ok=True)
    make_index(root)
    corpora = {name: make_corpus(root, name, spec, seed=number) for number, (name, spec) in enumerate(CORPORA.items())}
    run = root / f"seed-{seed}"
    learn(ProofTask.of(corpora, run, seed))
    return corpora, run / list(STAGES)[-1].replace("/", "-") / "model"


def prove(out: Path, checkpoint: Path, threshold: float = 0.5) -> dict[str, Score]:
    """Both tiers and N = 1 … 5 of the set in `out`/set; results are written beside the runs."""
    place = out / "set"
    sounds = read_sounds(place / META, place / RESPONSES)
    proactive = ProactiveSet(sounds, place)
    embedder = open_embedder(resolved(RetrievalConfig()))
    scores = {}
    for tier in ("single", "multiple"):
        groups = proactive.tier(tier, 0, place / TIER if tier == "multiple" else None)
        progress = run_stream(proactive, groups, out / tier, checkpoint, threshold=threshold)
        found = read_predictions(out / tier / PREDICTIONS, {sound.id for sound in sounds})
        scores[tier] = score(sounds, found, replies=match_replies(sounds, found, embedder))
        write_result(out / tier, proactive_result(scores[tier], tier, MODEL, progress.is_complete, chat=False))

    def run(groups: Sequence[StreamGroup], where: Path) -> Any:
        return run_stream(proactive, groups, where, checkpoint, threshold=threshold)

    result, _, _ = run_stability(proactive, out / "stability", run, MODEL, "runtime")
    write_result(out / "stability", result)
    return scores


if __name__ == "__main__":
    raise SystemExit(main())
