"""What bench/experiments/coherence knows of sounds: where each can be heard, whether it takes the listener over, whether it is
steady.

The classes are those of public data sets (ESC-50, UrbanSound8K, the events and scenes of DCASE 2013, 2016 and TAU, FSD50K).
Where they can be heard was written down for this benchmark from what the words mean. It shares nothing with the tables the
planners use (`prompts/places.v1.yaml`, `schemas/taxonomy.py`), which are what is judged.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final, NamedTuple

SETTINGS: Final = frozenset("home office venue street station park farm forest shore".split())
_ENDINGS = re.compile(r"(?<=\w\w)(ing|ed|es|s|e)$")


class SoundClass(NamedTuple):
    """One class of sound."""

    settings: frozenset[str]
    """Where it can be heard."""
    exclusive: bool
    """It takes the listener over: it cannot be the backdrop of something else."""
    steady: bool
    """It has no beginning and no end, as the constant sound of a place has none."""


def _read(name: str) -> dict[str, SoundClass]:
    """The part `== name` of the table: `label: places, flags`, a line each."""
    text = (resources.files("soundflow.bench.experiments") / "known_sounds.txt").read_text(encoding="utf-8")
    known = {}
    for line in text.partition(f"== {name}\n")[2].partition("== ")[0].splitlines():
        if not line.startswith("#"):
            label, _, told = line.partition(": ")
            places, *flags = told.split(", ")
            settings = SETTINGS if places == "anywhere" else frozenset(places.split())
            assert settings <= SETTINGS and set(flags) <= {"exclusive", "steady"}, line
            known[label] = SoundClass(settings, "exclusive" in flags, "steady" in flags)
    return known


PUBLIC, HELD_OUT = "public", "held out"
SETS: Final = {name: _read(name) for name in (PUBLIC, HELD_OUT)}
"""The words of PUBLIC were seen when the planner's tables were last extended, those of HELD_OUT were not."""
SOUNDS: Final = SETS[PUBLIC] | SETS[HELD_OUT]


def known(text: str) -> str:
    """The class a free text names, the one with most words of several; empty for none."""
    said = _stems(text)
    named = [label for label in SOUNDS if _stems(label) <= said]
    return max(named, key=lambda label: (len(label.split()), label), default="")


def _stems(text: str) -> frozenset[str]:
    """Words without their endings: cry and crying are one."""
    return frozenset(_ENDINGS.sub("", word) for word in re.findall(r"[a-z]+", text.lower()))
