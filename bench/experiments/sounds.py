"""Properties of sound classes for `bench.experiments.coherence`: settings, whether they demand attention, whether they are
steady.

The classes are those of public data sets (ESC-50, UrbanSound8K, the events and scenes of DCASE 2013, 2016 and TAU, FSD50K). The
settings were written for this benchmark from the meaning of the words, independently of the tables of the planners
(`prompts/places.v1.yaml`, `schemas/taxonomy.py`), which the benchmark evaluates.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final, NamedTuple

SETTINGS: Final = frozenset("home office venue street station park farm forest shore".split())
_ENDINGS = re.compile(r"(?<=\w\w)(ing|ed|es|s|e)$")


class SoundClass(NamedTuple):
    """Properties of a sound class."""

    settings: frozenset[str]
    """Settings in which it occurs."""
    exclusive: bool
    """Whether it demands attention, and so cannot be a background."""
    steady: bool
    """Whether it has neither beginning nor end, like the ambience of a place."""


def _read(name: str) -> dict[str, SoundClass]:
    """Read the section `== name` of the table, with lines `label: settings, flags`."""
    text = (resources.files("soundflow.bench.experiments") / "known_sounds.txt").read_text(encoding="utf-8")
    known = {}
    for line in text.partition(f"== {name}\n")[2].partition("== ")[0].splitlines():
        if not line.startswith("#"):
            label, _, properties = line.partition(": ")
            places, *flags = properties.split(", ")
            settings = SETTINGS if places == "anywhere" else frozenset(places.split())
            assert settings <= SETTINGS and set(flags) <= {"exclusive", "steady"}, line
            known[label] = SoundClass(settings, "exclusive" in flags, "steady" in flags)
    return known


PUBLIC, HELD_OUT = "public", "held out"
SETS: Final = {name: _read(name) for name in (PUBLIC, HELD_OUT)}
"""The words of PUBLIC were known when the tables of the planner were last extended; those of HELD_OUT were not."""
SOUNDS: Final = SETS[PUBLIC] | SETS[HELD_OUT]


def known(text: str) -> str:
    """Return the class that a text names (the one with the most words if there are several), or an empty string."""
    stems = _stems(text)
    named = [label for label in SOUNDS if _stems(label) <= stems]
    return max(named, key=lambda label: (len(label.split()), label), default="")


def _stems(text: str) -> frozenset[str]:
    """Return the words without endings, so that cry and crying are equal."""
    return frozenset(_ENDINGS.sub("", word) for word in re.findall(r"[a-z]+", text.lower()))
