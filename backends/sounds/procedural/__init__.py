"""The offline synthesiser: sounds from formulas, parameters and a seed.

A caption is rejected unless every word of it is understood (`captions`). Parameters are drawn within what the caption states, and
a clip is a pure function of its plan. The provenance says `procedural`: these are imitations, not recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.backends.sounds.procedural.captions import describe, understand
from soundflow.backends.sounds.procedural.catalogue import SOUNDS, parameters_of
from soundflow.backends.sounds.procedural.dsp import RATE, Choice, ProceduralSound, Range, finish, room
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.schemas.generation import Maker
from soundflow.schemas.outcome import Ok, Outcome, Rejected

PROCEDURAL_VERSION: Final = "2"
"""Raise it when any plan renders to other samples."""
LICENCE: Final = "CC0-1.0"
RING_OUT: Final = 1.0
"""Seconds that a clip may continue after the last counted event."""


@dataclass(frozen=True, slots=True)
class SoundPlan:
    """Everything that `render` needs for a clip."""

    sound: str
    samples: int
    seed: int
    parameters: Mapping[str, float | str]
    count: int | None = None
    """Number of events, if the caption states one."""


class Procedural:
    """The synthesiser as a `Generator`."""

    maker = Maker(backend="procedural", model=PROCEDURAL_VERSION, licence=LICENCE)

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        """Synthesise a sound; equal requests give equal samples. Rejected: `cannot_make`, `cannot_last`."""
        planned = plan_sound(caption, seconds, seed)
        if not isinstance(planned, Ok):
            return planned
        plan = planned.value
        details = {"sound": plan.sound, "count": plan.count, **plan.parameters}
        return Ok(GeneratedSound(render(plan), describe(SOUNDS[plan.sound], plan.parameters, plan.count), details))


def plan_sound(caption: str, seconds: tuple[float, float], seed: int) -> Outcome[SoundPlan]:
    """Draw length and parameters of the sound that `caption` describes; `seconds` is (shortest, longest).

    Rejected: `cannot_make` if a word of the caption is not understood, `cannot_last` if the sound does not have such a length.
    """
    understood = understand(caption)
    if not isinstance(understood, Ok):
        return understood
    match, sound = understood.value, understood.value.sound
    rng = np.random.Generator(np.random.PCG64(seed))
    parameters = {name: _draw(spec, match.wishes.get(name), rng) for name, spec in parameters_of(sound).items()}
    low, high = max(seconds[0], sound.seconds[0]), min(seconds[1], sound.seconds[1])
    if match.count is not None:
        rate = _rate_for(sound, match.count, float(parameters[sound.counted]), seconds)
        parameters[sound.counted] = rate
        needed = (match.count - 1) / rate + sound.tail
        low, high = max(seconds[0], needed), min(seconds[1], needed + RING_OUT)
    if low > high:
        return Rejected("cannot_last", {"sound": sound.name, "seconds": list(sound.seconds), "wanted": list(seconds)})
    samples = round((low + (high - low) * rng.uniform()) * RATE)
    return Ok(SoundPlan(sound.name, samples, int(rng.integers(2**63)), parameters, match.count))


def _rate_for(sound: ProceduralSound, count: int, drawn: float, seconds: tuple[float, float]) -> float:
    """The rate nearest to `drawn`, within the range of the sound, at which `count` events fit into `seconds` if possible."""
    spec = sound.parameters[sound.counted]
    assert isinstance(spec, Range)
    gaps = count - 1
    slowest = gaps / (seconds[1] - sound.tail) if seconds[1] > sound.tail else spec.high
    quiet = sound.tail + RING_OUT
    fastest = gaps / (seconds[0] - quiet) if gaps and seconds[0] > quiet else spec.high
    return float(f"{np.clip(np.clip(drawn, slowest, fastest), spec.low, spec.high):.5g}")


def render(plan: SoundPlan) -> NDArray[np.float32]:
    """Render a plan: float32 (plan.samples,), 16 kHz, -26 dBFS active, tapered. Equal plans give equal samples."""
    sound = SOUNDS[plan.sound]
    rng = np.random.Generator(np.random.PCG64(plan.seed))
    raw = sound.make(plan.samples, {**plan.parameters, "count": plan.count or 0}, rng)
    return finish(room(raw, rng, float(plan.parameters["distance"]), sound.wet))


def _draw(spec: Range | Choice, wish: str | None, rng: np.random.Generator) -> float | str:
    """Draw a value; a wish restricts it to the lower or upper third. Rounded to the five digits that the provenance shows."""
    if isinstance(spec, Choice):
        options = list(spec.options)
        drawn = options[int(rng.integers(len(options)))]
        return drawn if wish is None else wish
    share = rng.uniform() if wish is None else rng.uniform(0.02, 0.31) + (0.67 if wish == "more" else 0.0)
    return float(f"{spec.low + (spec.high - spec.low) * share:.5g}")
