"""Scores of a proactive benchmark. Every sound counts; missing and unreadable predictions are wrong.

Accuracy alone favors silence (58.54 % of the public sounds call for no response). So the table also has balanced accuracy,
precision and recall of RESPOND, bootstrap intervals, and rows of trivial detectors. The energy detector needs levels of the
recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.bench.harness.grid import Cell, Grid, percent
from soundflow.bench.proactive.metadata import OTHER, Decision, Prediction, Sound, set_name
from soundflow.bench.proactive.replies import ReplyScore
from soundflow.schemas.identity import rng_for

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
SEED: Final = "0" * 64
ENERGY: Final = "energy threshold"
NO_ENERGY: Final = "not run: the predictions contain no levels; add --audio"


@dataclass(frozen=True, slots=True)
class Counts:
    """A confusion matrix in which a prediction can also be missing or unreadable."""

    hits: int
    """RESPOND, answered."""
    misses: int
    """RESPOND, ignored or without a readable prediction."""
    false_alarms: int
    """IGNORE, answered."""
    quiet: int
    """IGNORE, ignored."""
    wrong: int
    """IGNORE without a readable prediction."""

    @property
    def accuracy(self) -> float:
        """Share of correct decisions."""
        return _ratio(self.hits + self.quiet, self.hits + self.misses + self.false_alarms + self.quiet + self.wrong)

    @property
    def recall(self) -> float:
        """Share of RESPOND sounds that were answered."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def specificity(self) -> float:
        """Share of IGNORE sounds that were ignored."""
        return _ratio(self.quiet, self.quiet + self.false_alarms + self.wrong)

    @property
    def precision(self) -> float:
        """Share of answered sounds that are RESPOND; NaN if no sound was answered."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and specificity, or the defined one if there is only one class."""
        return float(np.nanmean([self.recall, self.specificity]))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    def rates(self, hours: float | None = None) -> dict[str, float | None]:
        """Return all rates by name; None where a rate is undefined. False alarms per hour need the `hours` of audio."""
        names = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1")
        found = {name: None if np.isnan(value := getattr(self, name)) else round(float(value), 6) for name in names}
        return found | {"false_alarms_per_hour": round(self.false_alarms / hours, 3) if hours else None}


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a set of predictions."""

    counts: Counts
    intervals: Mapping[str, tuple[float, float]]
    """95 % bootstrap intervals over sounds."""
    domains: Mapping[str, Counts]
    categories: Mapping[str, Counts]
    baselines: Mapping[str, Counts]
    n: int
    missing: int
    unreadable: int
    thoughts: int = 0
    """Answers that contained thoughts of the model."""
    set_name: str = OTHER
    """Name of the set: the published sounds or others."""
    hours: float | None = None
    """Hours of audio that were played; None if unknown for a sound."""
    replies: ReplyScore | None = None
    accuracy_with_replies: float | None = None
    """Share of correct decisions if a hit also requires a matching reply (second accuracy of the public scorer)."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        replies = None
        if self.replies is not None and self.accuracy_with_replies is not None:
            replies = self.replies.to_json() | {"accuracy_with_replies": round(self.accuracy_with_replies, 6)}
        return {
            **self.counts.rates(self.hours),
            "set": self.set_name,
            "n": self.n,
            "missing": self.missing,
            "unreadable": self.unreadable,
            "thoughts": self.thoughts,
            "intervals": {name: [round(bound, 6) for bound in bounds] for name, bounds in self.intervals.items()},
            "hours": None if self.hours is None else round(self.hours, 6),
            "replies": replies,
            "domains": {name: counts.rates() for name, counts in self.domains.items()},
            "categories": {name: counts.rates() for name, counts in self.categories.items()},
            "baselines": {name: counts.rates(self.hours) for name, counts in self.baselines.items()}
            | ({} if ENERGY in self.baselines else {ENERGY: NO_ENERGY}),
        }

    def grid(self, name: str = "predictions") -> Grid:
        """Return the rates of the predictions (row `name`), of trivial detectors, and by domain."""
        rows: dict[str, dict[str, Cell]] = {
            one: _cells(counts, self.hours) for one, counts in ((name, self.counts), *self.baselines.items())
        }
        if ENERGY not in rows:
            rows[ENERGY] = dict.fromkeys(rows[name], "not run")
        return Grid.of(rows | {f"  {one}": _cells(counts, None) for one, counts in self.domains.items()})

    def lines(self) -> list[str]:
        """Return the lines to print in a terminal."""
        table = [*self.grid().lines(), *([] if ENERGY in self.baselines else [f"{ENERGY}: {NO_ENERGY}"])]
        if self.replies is not None and self.accuracy_with_replies is not None:
            replies = self.replies
            table.append(
                f"replies: {len(replies.matched)} of {len(replies.similarity)} match a standard answer ({replies.embedder},"
                f" cosine >= {replies.threshold:g}); accuracy {self.accuracy_with_replies:.2%} if only those count as hits"
            )
        spans = ", ".join(f"{name} {low:.1%}…{high:.1%}" for name, (low, high) in self.intervals.items())
        counts = f"{self.n} sounds, {self.missing} missing, {self.unreadable} unreadable (both counted as wrong)"
        table.append(f"{counts}; 95 % intervals: {spans}")
        if self.thoughts:
            table.append(f"answers with thoughts of the model, which are not scored: {self.thoughts}")
        return table


def score(
    sounds: Sequence[Sound],
    predictions: Mapping[str, Prediction],
    detectors: Mapping[str, NDArray[np.bool_]] | None = None,
    replies: ReplyScore | None = None,
) -> Score:
    """Score `predictions` (by id) on `sounds`. `detectors` are additional baselines: name → decisions (n,), true for RESPOND.

    If every prediction has level and seconds, the score includes the energy detector and false alarms per hour.
    """
    expected = np.array([sound.decision is Decision.RESPOND for sound in sounds])
    predicted = [predictions.get(sound.id) for sound in sounds]
    readable = np.array([found is not None and found.decision is not None for found in predicted])
    answered = np.array([found is not None and found.decision is Decision.RESPOND for found in predicted])
    everything = np.ones(expected.size, dtype=np.bool_)
    levels = [None if found is None else found.level_db for found in predicted]
    trivial = {"always respond": everything, "never respond": ~everything, **by_energy(levels), **(detectors or {})}
    seconds = [None if found is None else found.seconds for found in predicted]
    right = np.where(expected, answered, readable & ~answered)
    with_replies = None
    if replies is not None:
        matched = np.array([sound.id in replies.matched for sound in sounds])
        with_replies = float((right & (matched | ~expected)).mean())
    return Score(
        counts=_counts(expected, answered, readable),
        intervals=_intervals(expected, right),
        domains=_grouped([sound.domain for sound in sounds], expected, answered, readable),
        categories=_grouped([f"{sound.domain} / {sound.category}" for sound in sounds], expected, answered, readable),
        baselines={name: _counts(expected, choice, everything) for name, choice in trivial.items()},
        n=expected.size,
        set_name=set_name(sounds),
        missing=sum(found is None for found in predicted),
        unreadable=sum(found is not None and found.decision is None for found in predicted),
        thoughts=sum(found is not None and found.had_thoughts for found in predicted),
        hours=None if None in seconds else sum(one for one in seconds if one is not None) / 3600 or None,
        replies=replies,
        accuracy_with_replies=with_replies,
    )


def by_energy(levels_db: Sequence[float | None]) -> dict[str, NDArray[np.bool_]]:
    """Return the energy detector, which answers sounds above the median level; empty if a level is missing."""
    known = np.array([level for level in levels_db if level is not None])
    return {ENERGY: known > np.median(known)} if known.size and known.size == len(levels_db) else {}


def _counts(expected: NDArray[np.bool_], answered: NDArray[np.bool_], readable: NDArray[np.bool_]) -> Counts:
    return Counts(
        hits=int((expected & answered).sum()),
        misses=int((expected & ~answered).sum()),
        false_alarms=int((~expected & answered).sum()),
        quiet=int((~expected & ~answered & readable).sum()),
        wrong=int((~expected & ~readable).sum()),
    )


def _grouped(
    names: Sequence[str], expected: NDArray[np.bool_], answered: NDArray[np.bool_], readable: NDArray[np.bool_]
) -> dict[str, Counts]:
    groups = np.array(names)
    masks = {name: groups == name for name in sorted(set(names))}
    return {name: _counts(expected[mask], answered[mask], readable[mask]) for name, mask in masks.items()}


def _intervals(expected: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
    """Return seeded percentile bootstrap intervals over sounds; balanced accuracy is resampled within each class.

    The number of correct decisions among n resampled sounds is binomial and drawn as such, so memory does not grow with n.
    """
    rng = rng_for(SEED, 0, 0, "bootstrap")
    classes = [right[expected == kind] for kind in (True, False) if (expected == kind).any()]
    spread = {
        "accuracy": _resampled(right, rng),
        "balanced_accuracy": np.mean([_resampled(part, rng) for part in classes], axis=0),
    }
    tail = (1.0 - LEVEL) / 2
    return {name: (float(np.quantile(values, tail)), float(np.quantile(values, 1 - tail))) for name, values in spread.items()}


def _resampled(right: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.binomial(right.size, right.mean(), RESAMPLES) / right.size


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _cells(counts: Counts, hours: float | None) -> dict[str, Cell]:
    rates = counts.rates(hours)
    shares = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    found: dict[str, Cell] = {f"{name.replace('_', ' ')}, %": percent(rates[name]) for name in shares}
    return found | {"false alarms/h": rates["false_alarms_per_hour"]}
