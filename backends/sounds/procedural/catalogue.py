"""All procedural sounds by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.backends.sounds.procedural import impacts, machines, nature, signals
from soundflow.backends.sounds.procedural.dsp import Choice, ProceduralSound, Range

SOUNDS: Final[Mapping[str, ProceduralSound]] = MappingProxyType(
    {sound.name: sound for module in (signals, impacts, nature, machines) for sound in module.SOUNDS}
)
DISTANCE: Final = Range(0.0, 1.0, "0 near … 1 far", less="close nearby near", more="distant far faint muffled")
"""A parameter of every sound: the effect of air and room."""


def parameters_of(sound: ProceduralSound) -> dict[str, Range | Choice]:
    """Return all parameters of `sound` by name."""
    return {**sound.parameters, "distance": DISTANCE}
