"""The decision of a sound: whether it calls for a response, and who decided it.

The manifest of a recording comes first (column `decision`), then the recipe (`taxonomy`), then the words of label and caption
(`schemas.taxonomy.urgency`). A clip, its brief and its place in a plan carry the decision of manifest or recipe, so that
`decision_of` needs nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from soundflow.schemas.base import InputError
from soundflow.schemas.taxonomy import Task, Urgency, is_label_pattern, kind_of_danger, label_name, label_pattern, urgency


class DecisionSource(StrEnum):
    """Origin of a decision."""

    MANIFEST = "manifest"
    RECIPE = "recipe"
    TAXONOMY = "taxonomy"


class DecidableSound(Protocol):
    """What a decision depends on: a clip, its brief, or its place in a plan."""

    @property
    def label(self) -> str:
        """See `schemas.clip.ClipFacts`."""

    @property
    def caption(self) -> str:
        """See `schemas.clip.ClipFacts`."""

    @property
    def decision(self) -> Urgency | None:
        """The decision of manifest or recipe; None if neither has one."""


class Decided(NamedTuple):
    """A decision and its origin."""

    decision: Urgency
    source: DecisionSource


def decision_of(sound: DecidableSound) -> Urgency:
    """Return the decision of a sound: the one it carries, else that of the taxonomy."""
    return sound.decision or urgency(sound.label, sound.caption)


def danger_of(sound: DecidableSound) -> Task | None:
    """Return the proactive sub-task of a dangerous sound; None for no danger or a danger of another kind."""
    return kind_of_danger(sound.label, sound.caption) if decision_of(sound) is Urgency.RESPOND else None


class DecisionRules:
    """The `taxonomy` of a recipe: decisions by label or by a pattern of labels.

    Labels are compared by their words, so that `Dog_Bark` is `dog bark`. In a pattern, `*` stands for any characters and `?` for
    one. A label comes before patterns, and a pattern with more literal characters before the others.
    """

    def __init__(self, rules: Mapping[str, Urgency] | None = None) -> None:
        """Raises InputError for a label without characters, or two that are compared alike but have different decisions."""
        self._labels: dict[str, tuple[str, Urgency]] = {}
        patterns: list[tuple[str, re.Pattern[str], Urgency]] = []
        for key, decision in (rules or {}).items():
            if not key.strip(" \t_-"):
                raise InputError("is not a label or a pattern of labels", value=key, remedy="Write words, such as 'kettle*'")
            if is_label_pattern(key):
                patterns.append((key, label_pattern(key), decision))
                continue
            known = self._labels.setdefault(label_name(key), (key, decision))
            if known[1] is not decision:
                why = f"the labels {known[0]!r} and {key!r} are compared alike but have different decisions"
                raise InputError(why, remedy="Remove one of them")
        self._patterns = sorted(patterns, key=lambda entry: (-len(re.sub(r"[*?]", "", entry[0])), entry[0]))

    def __bool__(self) -> bool:
        return bool(self._labels or self._patterns)

    def find(self, label: str) -> Urgency | None:
        """Return the decision for a label; None if no rule matches it."""
        name = label_name(label)
        known = self._labels.get(name)
        if known is not None:
            return known[1]
        return next((decision for _, pattern, decision in self._patterns if pattern.fullmatch(name)), None)

    def decide(self, sound: DecidableSound) -> Decided:
        """Return the decision of a clip of the index and its origin: manifest, recipe or taxonomy, in this order."""
        if sound.decision is not None:
            return Decided(sound.decision, DecisionSource.MANIFEST)
        ruled = self.find(sound.label)
        if ruled is not None:
            return Decided(ruled, DecisionSource.RECIPE)
        return Decided(urgency(sound.label, sound.caption), DecisionSource.TAXONOMY)

    def overruled(self, sounds: Iterable[DecidableSound]) -> Counter[str]:
        """Return the names of the labels whose manifest contradicts the recipe, with their numbers of sounds."""
        stated = ((sound, self.find(sound.label)) for sound in sounds if sound.decision is not None)
        return Counter(label_name(sound.label) for sound, rule in stated if rule not in (None, sound.decision))

    def unmatched(self, labels: Collection[str]) -> list[str]:
        """Return the labels and patterns of the recipe that match none of `labels`, in alphabetical order."""
        names = {label_name(label) for label in labels}
        unknown = [key for name, (key, _) in self._labels.items() if name not in names]
        unknown += [key for key, pattern, _ in self._patterns if not any(map(pattern.fullmatch, names))]
        return sorted(unknown)
