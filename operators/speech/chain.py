"""The chain of appendix B.4 for one dialogue: rewrite, render with one voice, gate, try again, discard the whole dialogue.

Only the user's turns are rendered; what the assistant answers stays text. The draws are functions of the config's seed and the
dialogue's id, so neither time nor order has a say. What is told of every take is what it was made with and what the gate said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.asr import Recogniser
from soundflow.operators.speech.gate import examine
from soundflow.operators.speech.studio import Studio
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.speech import Dialogue, GateConfig, Pace, Voice
from soundflow.schemas.spoken import Take

CHAIN_VERSION: Final = "2"
SPEEDS: Final = (1.0, 0.92, 1.06, 0.86, 1.12)
"""Of the takes of a turn, where a backend takes a speed: slower is mostly clearer."""

Rewrite = Callable[[str, str, int], Outcome[str]]
"""(text, language, seed) → the text as it is spoken. Rejected: `unspoken_language`, `llm_…`; raises BackendError."""


@dataclass(frozen=True, slots=True)
class Booth:
    """What a dialogue is spoken with."""

    studio: Studio
    recogniser: Recogniser
    rewrite: Rewrite
    pace: Callable[[Voice], Pace]
    gate: GateConfig
    seed: int


@dataclass(frozen=True, slots=True)
class PerformedTurn:
    """One user turn: what is said, every take, and the samples (16 kHz) of the one that passed."""

    text: str
    takes: tuple[Take, ...]
    samples: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Performance:
    """A dialogue, spoken or discarded (`refused` says why); `turns` go up to the one that was refused."""

    voice: Voice | None
    turns: tuple[PerformedTurn, ...]
    refused: str = ""


def perform(dialogue: Dialogue, booth: Booth) -> Performance:
    """Speak a dialogue. Raises BackendError when a backend breaks, InputError when no dialogue will fare better."""
    pool = booth.studio.pool(dialogue.language)
    if not pool:
        return Performance(None, (), "no_voice")
    voice = pool[int(_rng(booth.seed, dialogue.id, 0, "voice").integers(len(pool)))]
    turns: list[PerformedTurn] = []
    for number, turn in enumerate(dialogue.turns):
        said = booth.rewrite(turn.user, dialogue.language, int(_rng(booth.seed, dialogue.id, number, "rewriter").integers(2**31)))
        if not isinstance(said, Ok):
            turns.append(PerformedTurn(turn.user, (), None))
            return Performance(voice, tuple(turns), said.reason if isinstance(said, Rejected) else "failed")
        turns.append(say_turn(said.value, voice, dialogue.language, dialogue.id, number, booth))
        if turns[-1].samples is None:
            return Performance(voice, tuple(turns), turns[-1].takes[-1].refused)
    return Performance(voice, tuple(turns))


def say_turn(text: str, voice: Voice, language: str, dialogue: str, turn: int, booth: Booth) -> PerformedTurn:
    """Render one turn until the gate lets it pass, at most 1 + R times. Each new take changes all that can change."""
    takes: list[Take] = []
    for take, speaker_voice in _takes(voice, dialogue, turn, booth):
        rendering = booth.studio.speaker(speaker_voice).say(text, speaker_voice, seed=take.seed, speed=take.speed)
        outcome = examine(
            rendering.samples, text, language, booth.recogniser, booth.pace(speaker_voice), speed=take.speed, config=booth.gate
        )
        told = outcome.value if isinstance(outcome, Ok) else outcome.metrics
        refused = "" if isinstance(outcome, Ok) else outcome.reason
        takes.append(take.model_copy(update={"refused": refused, "metrics": told, "made_by": rendering.made_by}))
        if isinstance(outcome, Ok):
            return PerformedTurn(text, tuple(takes), rendering.samples)
    return PerformedTurn(text, tuple(takes), None)


def _takes(voice: Voice, dialogue: str, turn: int, booth: Booth) -> Iterator[tuple[Take, Voice]]:
    """What each take is made with; ends early where nothing would change."""
    variants = booth.studio.variants(voice)
    knobs = booth.studio.speaker(voice).knobs
    last: Take | None = None
    for number in range(1 + booth.gate.retries):
        chosen = variants[number % len(variants)]
        seed = int(_rng(booth.seed, dialogue, turn, "take", number).integers(2**31)) if "seed" in knobs else 0
        speed = SPEEDS[number % len(SPEEDS)] if "speed" in knobs else 1.0
        changed: tuple[str, ...] = ()
        if last is not None:
            now = {"voice": chosen.name != last.voice, "seed": seed != last.seed, "speed": speed != last.speed}
            changed = tuple(name for name, differs in {**now, "draw": "draw" in knobs}.items() if differs)
            if not changed:
                return
        last = Take(voice=chosen.name, seed=seed, speed=speed, changed=changed)
        yield last, chosen


def _rng(seed: int, dialogue: str, turn: int, purpose: str, take: int = 0) -> np.random.Generator:
    return rng_for(f"speech/{seed}/{dialogue}", 0, turn, purpose, take)
