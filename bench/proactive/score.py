"""Scores of a proactive benchmark: every sound counts, what is missing or unreadable is wrong, and luck has its own rows.

Accuracy alone flatters silence (58.54 % of the public sounds ask for none), so balanced accuracy, precision and recall of
RESPOND stand beside it, with bootstrap intervals, and the trivial predictors are always in the table. Without the recordings
the threshold on energy cannot be run; the table says so.
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
NO_ENERGY: Final = "not run: the predictions tell no levels; give --audio"


@dataclass(frozen=True, slots=True)
class Counts:
    """A confusion matrix. `wrong` sounds have no readable prediction: they are neither RESPOND nor IGNORE, and wrong."""

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
        """Share of sounds decided right."""
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
        """Share of answers that were called for; NaN when nothing was answered."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and specificity; where there is one class only, that class's."""
        return float(np.nanmean([self.recall, self.specificity]))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    def rates(self, hours: float | None = None) -> dict[str, float | None]:
        """Every rate, by name; None where it is not defined. `hours` of audio give false alarms an hour."""
        names = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1")
        found = {name: None if np.isnan(value := getattr(self, name)) else round(float(value), 6) for name in names}
        return found | {"false_alarms_per_hour": round(self.false_alarms / hours, 3) if hours else None}


@dataclass(frozen=True, slots=True)
class Score:
    """What a set of predictions is worth."""

    counts: Counts
    intervals: Mapping[str, tuple[float, float]]
    """95 % bootstrap intervals over sounds."""
    domains: Mapping[str, Counts]
    categories: Mapping[str, Counts]
    baselines: Mapping[str, Counts]
    n: int
    missing: int
    unreadable: int
    set_name: str = OTHER
    """Of which sounds: the published ones or others."""
    hours: float | None = None
    """Audio that was played; None where it is not known of every sound."""
    replies: ReplyScore | None = None
    accuracy_with_replies: float | None = None
    """Share of sounds decided right where a hit also needs a reply that will do (the public scorer's second accuracy)."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        replies = None
        if self.replies is not None and self.accuracy_with_replies is not None:
            replies = self.replies.to_json() | {"accuracy_with_replies": round(self.accuracy_with_replies, 6)}
        return {
            **self.counts.rates(self.hours),
            "set": self.set_name,
            "n": self.n,
            "missing": self.missing,
            "unreadable": self.unreadable,
            "intervals": {name: [round(bound, 6) for bound in bounds] for name, bounds in self.intervals.items()},
            "hours": None if self.hours is None else round(self.hours, 6),
            "replies": replies,
            "domains": {name: counts.rates() for name, counts in self.domains.items()},
            "categories": {name: counts.rates() for name, counts in self.categories.items()},
            "baselines": {name: counts.rates(self.hours) for name, counts in self.baselines.items()}
            | ({} if ENERGY in self.baselines else {ENERGY: NO_ENERGY}),
        }

    def grid(self, name: str = "predictions") -> Grid:
        """The rates of the predictions, called `name`, of the trivial detectors, and by domain."""
        rows: dict[str, dict[str, Cell]] = {
            one: _told(counts, self.hours) for one, counts in ((name, self.counts), *self.baselines.items())
        }
        if ENERGY not in rows:
            rows[ENERGY] = dict.fromkeys(rows[name], "not run")
        return Grid.of(rows | {f"  {one}": _told(counts, None) for one, counts in self.domains.items()})

    def lines(self) -> list[str]:
        """A table for people."""
        table = [*self.grid().lines(), *([] if ENERGY in self.baselines else [f"{ENERGY}: {NO_ENERGY}"])]
        if self.replies is not None and self.accuracy_with_replies is not None:
            told = self.replies
            table.append(
                f"replies: {len(told.matched)} of {len(told.similarity)} match a standard answer ({told.embedder}, cosine"
                f" {told.threshold:g} and more); {self.accuracy_with_replies:.2%} accuracy when only those count"
            )
        spans = ", ".join(f"{name} {low:.1%}…{high:.1%}" for name, (low, high) in self.intervals.items())
        table.append(
            f"{self.n} sounds, {self.missing} missing, {self.unreadable} unreadable (both count as wrong); 95 %: {spans}"
        )
        return table


def score(
    sounds: Sequence[Sound],
    predictions: Mapping[str, Prediction],
    more: Mapping[str, NDArray[np.bool_]] | None = None,
    replies: ReplyScore | None = None,
) -> Score:
    """Score `predictions` (by id) on `sounds`. `more`: further baselines, name → answered or not, one per sound.

    Where every prediction tells level and seconds, the threshold on energy and false alarms an hour are there too.
    """
    wanted = np.array([sound.decision is Decision.RESPOND for sound in sounds])
    given = [predictions.get(sound.id) for sound in sounds]
    readable = np.array([found is not None and found.decision is not None for found in given])
    answered = np.array([found is not None and found.decision is Decision.RESPOND for found in given])
    everything = np.ones(wanted.size, dtype=np.bool_)
    levels = [None if found is None else found.level_db for found in given]
    trivial = {"always respond": everything, "never respond": ~everything, **by_energy(levels), **(more or {})}
    seconds = [None if found is None else found.seconds for found in given]
    right = np.where(wanted, answered, readable & ~answered)
    with_replies = None
    if replies is not None:
        will_do = np.array([sound.id in replies.matched for sound in sounds])
        with_replies = float((right & (will_do | ~wanted)).mean())
    return Score(
        counts=_counts(wanted, answered, readable),
        intervals=_intervals(wanted, right),
        domains=_grouped([sound.domain for sound in sounds], wanted, answered, readable),
        categories=_grouped([f"{sound.domain} / {sound.category}" for sound in sounds], wanted, answered, readable),
        baselines={name: _counts(wanted, choice, everything) for name, choice in trivial.items()},
        n=wanted.size,
        set_name=set_name(sounds),
        missing=sum(found is None for found in given),
        unreadable=sum(found is not None and found.decision is None for found in given),
        hours=None if None in seconds else sum(one for one in seconds if one is not None) / 3600 or None,
        replies=replies,
        accuracy_with_replies=with_replies,
    )


def by_energy(levels_db: Sequence[float | None]) -> dict[str, NDArray[np.bool_]]:
    """The detector that answers the louder half: level above the median, which no label has a say in. Empty without levels."""
    known = np.array([level for level in levels_db if level is not None])
    return {ENERGY: known > np.median(known)} if known.size and known.size == len(levels_db) else {}


def _counts(wanted: NDArray[np.bool_], answered: NDArray[np.bool_], readable: NDArray[np.bool_]) -> Counts:
    return Counts(
        hits=int((wanted & answered).sum()),
        misses=int((wanted & ~answered).sum()),
        false_alarms=int((~wanted & answered).sum()),
        quiet=int((~wanted & ~answered & readable).sum()),
        wrong=int((~wanted & ~readable).sum()),
    )


def _grouped(
    names: Sequence[str], wanted: NDArray[np.bool_], answered: NDArray[np.bool_], readable: NDArray[np.bool_]
) -> dict[str, Counts]:
    groups = np.array(names)
    masks = {name: groups == name for name in sorted(set(names))}
    return {name: _counts(wanted[mask], answered[mask], readable[mask]) for name, mask in masks.items()}


def _intervals(wanted: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over sounds, seeded; balanced accuracy is resampled within each class.

    How many of n resampled sounds are right is binomial, so it is drawn as such: no memory however many sounds there are.
    """
    rng = rng_for(SEED, 0, 0, "bootstrap")
    classes = [right[wanted == kind] for kind in (True, False) if (wanted == kind).any()]
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


def _told(counts: Counts, hours: float | None) -> dict[str, Cell]:
    rates = counts.rates(hours)
    shares = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    found: dict[str, Cell] = {f"{name.replace('_', ' ')}, %": percent(rates[name]) for name in shares}
    return found | {"false alarms/h": rates["false_alarms_per_hour"]}
