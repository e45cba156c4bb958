"""Stability under concatenation (paper, Fig. ablation_stability): the same sounds with N = 1 … 5 of them per stream.

For each N every sound occurs once, in a stream with up to N - 1 others of any sub-category. `kept` is the ratio of the figure at
N to the figure at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from soundflow.bench.harness.collect import RunProgress
from soundflow.bench.harness.grid import Grid, percent
from soundflow.bench.harness.predictions import PREDICTIONS
from soundflow.bench.proactive.metadata import Sound, read_predictions, set_name
from soundflow.bench.proactive.multiple import Stream
from soundflow.bench.proactive.results import Result
from soundflow.bench.proactive.run import ProactiveSet, StreamGroup
from soundflow.bench.proactive.score import Score, score
from soundflow.schemas.identity import rng_for

COUNTS: Final = (1, 2, 3, 4, 5)
STABILITY_VERSION: Final = "1"
"""Increase it when the same sounds and seed would give other streams."""


def concatenated(sounds: Sequence[Sound], count: int, seed: int = 0) -> list[Stream]:
    """Return streams of `count` sounds, shuffled by a seeded generator; the last stream may be shorter."""
    ids = sorted(sound.id for sound in sounds)
    order = rng_for(f"proactive-stability/{STABILITY_VERSION}/{seed}/{count}", 0, 0, "deal").permutation(len(ids))
    shuffled = [ids[place] for place in order]
    return [
        Stream(
            id=f"n{count}-{seed}-{start // count:04d}",
            tier="stability",
            version=STABILITY_VERSION,
            seed=seed,
            domain="",
            category="",
            sounds=tuple(shuffled[start : start + count]),
        )
        for start in range(0, len(shuffled), count)
    ]


def run_stability(
    proactive: ProactiveSet,
    out: Path,
    run: Callable[[Sequence[StreamGroup], Path], RunProgress],
    model: str,
    tester: str,
    counts: Sequence[int] = COUNTS,
    seed: int = 0,
) -> tuple[Result, dict[int, Score], list[RunProgress]]:
    """Run every N in the directory `out`/nN (each resumable); return the result, the score by N and the progress of each run."""
    scores, progress = {}, []
    for count in counts:
        place = out / f"n{count}"
        progress.append(run([StreamGroup(stream) for stream in concatenated(proactive.available, count, seed)], place))
        found = read_predictions(place / PREDICTIONS, {sound.id for sound in proactive.sounds})
        scores[count] = score(proactive.sounds, found)
    balanced = {count: one.counts.balanced_accuracy for count, one in scores.items()}
    first = balanced[counts[0]]
    rows: dict[str, dict[str, float | None]] = {
        f"N = {count}": {
            "accuracy": percent(one.counts.accuracy),
            "balanced accuracy": percent(balanced[count]),
            "from (95 %)": percent(one.intervals["balanced_accuracy"][0]),
            "to (95 %)": percent(one.intervals["balanced_accuracy"][1]),
            "kept": percent(balanced[count] / first) if first else None,
            "false alarms/h": one.counts.rates(one.hours)["false_alarms_per_hour"],
        }
        for count, one in scores.items()
    }
    last = scores[counts[-1]]
    result = Result(
        benchmark=set_name(proactive.sounds),
        mode="stability",
        model=model,
        tester=tester,
        figures={f"{what}, {name}": value for name, cells in rows.items() for what, value in cells.items()},
        n=last.n,
        missing=last.missing,
        complete=all(one.is_complete for one in progress),
        grid=Grid.of(rows),
        curve={count: round(100.0 * value, 4) for count, value in balanced.items()},
    )
    return result, scores, progress
