"""The model of the learning proof on a proactive set of held-out clips.

`python -m soundflow.bench.experiments.proactive_proof -o runs/proactive`. Recordings, training and corpora are those of
`bench.experiments.learning` and are reused if `make learn` was run. The set is built by the recipe in `examples/` from held-out
recordings without any clip of a training corpus. The model is tested on the tiers Single and Multiple, with N = 1 … 5, and with
the continuity and head analyses; one report shows the results. The same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from soundflow.backends.embed.embedders import open_embedder, resolved
from soundflow.bench.experiments.analyses.analyse import analyse
from soundflow.bench.experiments.learning.corpora import CORPORA, make_corpus, make_index
from soundflow.bench.experiments.learning.proof import STAGES, ProofTask, learn
from soundflow.bench.harness import measure as bench
from soundflow.bench.harness.predictions import PREDICTIONS
from soundflow.bench.proactive.build import META, RESPONSES, TIER, build
from soundflow.bench.proactive.metadata import read_predictions, read_sounds
from soundflow.bench.proactive.replies import match_replies
from soundflow.bench.proactive.results import proactive_result, read_results, write_result
from soundflow.bench.proactive.run import ProactiveSet, StreamGroup, run_stream
from soundflow.bench.proactive.score import Score, score
from soundflow.bench.proactive.stability import run_stability
from soundflow.bench.report.page import write_report
from soundflow.model.device import Placement
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.documents import read_yaml, to_yaml
from soundflow.schemas.retrieval import RetrievalConfig

RECIPE: Final = Path(__file__).parents[3] / "examples" / "proactive_bench.yaml"
MODEL: Final = "nano, 1.2 M, make learn"
ANALYSED: Final = 12
"""Number of held-out streams for the analyses."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the proof; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m soundflow.bench.experiments.proactive_proof",
        description="Test the model of the learning proof on a proactive set of held-out clips.",
    )
    add, default_out, default_learn = parser.add_argument, Path("runs/proactive"), Path("runs/learn")
    add("-o", "--out", type=Path, default=default_out, help=f"Write the set, runs and report here (default {default_out}).")
    learn_help = f"Directory of the learning proof, which is trained if missing (default {default_learn})."
    add("--learn", type=Path, default=default_learn, help=learn_help)
    add("--seed", type=int, default=0, help="Seed of the learning proof whose model is tested (default 0).")
    add("--threshold", type=float, default=0.5, help="Minimum probability at which the model responds (default 0.5).")
    bench.add_device(parser)
    arguments = parser.parse_args(argv)
    place = Placement.of(arguments.device, arguments.dtype)
    out: Path = arguments.out
    corpora, checkpoint = trained(arguments.learn, arguments.seed)
    recipe = read_yaml(RECIPE)
    recipe |= {"name": "proactive-proof", "clips": str((arguments.learn / "clips").resolve()), "split": "test"}
    write_atomic(out / "recipe.yaml", to_yaml(recipe).encode())
    training = [corpora[name] for name, spec in CORPORA.items() if spec.split == "train"]
    built = build(out / "recipe.yaml", out / "set", training)
    print(f"set: {built['sounds']} sounds, {built['respond']} RESPOND, {built['categories']} sub-categories")
    print(f"left out: {built['left_out']}")
    scores = prove(out, checkpoint, arguments.threshold, place)
    analysis = analyse(checkpoint, [corpora["heldout"]], ANALYSED, MODEL, place)
    write_atomic(out / "analysis.json", analysis.canonical_json() + b"\n")
    write_report(out / "report.html", read_results([out]), [analysis])
    for tier, found in scores.items():
        print(f"\n{tier}")
        print("\n".join(found.lines()))
    print("\n".join(["", *analysis.lines()]))
    print(f"{out / 'report.html'}")
    return 0


def trained(root: Path, seed: int) -> tuple[dict[str, Path], Path]:
    """Return the corpora and the last checkpoint of one seed of the learning proof; missing ones are made."""
    root.mkdir(parents=True, exist_ok=True)
    make_index(root)
    corpora = {name: make_corpus(root, name, spec, seed=number) for number, (name, spec) in enumerate(CORPORA.items())}
    run = root / f"seed-{seed}"
    learn(ProofTask.of(corpora, run, seed))
    return corpora, run / list(STAGES)[-1].replace("/", "-") / "model"


def prove(out: Path, checkpoint: Path, threshold: float = 0.5, placement: Placement | None = None) -> dict[str, Score]:
    """Run both tiers and N = 1 … 5 of the set in `out`/set; write the results and return the score by tier."""
    place = out / "set"
    sounds = read_sounds(place / META, place / RESPONSES)
    proactive = ProactiveSet(sounds, place)
    embedder = open_embedder(resolved(RetrievalConfig()))
    scores = {}
    for tier in ("single", "multiple"):
        groups = proactive.tier(tier, 0, place / TIER if tier == "multiple" else None)
        progress = run_stream(proactive, groups, out / tier, checkpoint, threshold=threshold, placement=placement)
        found = read_predictions(out / tier / PREDICTIONS, {sound.id for sound in sounds})
        scores[tier] = score(sounds, found, replies=match_replies(sounds, found, embedder))
        write_result(out / tier, proactive_result(scores[tier], tier, MODEL, progress.is_complete, chat=False))

    def run(groups: Sequence[StreamGroup], where: Path) -> Any:
        return run_stream(proactive, groups, where, checkpoint, threshold=threshold, placement=placement)

    result, _, _ = run_stability(proactive, out / "stability", run, MODEL, "runtime")
    write_result(out / "stability", result)
    return scores


if __name__ == "__main__":
    raise SystemExit(main())
