"""The speech chain of appendix B.4 for one dialogue: rewrite, render with one voice, check with the gate, retry or discard.

Only the user's turns are rendered; the assistant's stay text. All draws are functions of the configuration's seed and the
dialogue's id, so neither time nor order changes them. Every take is recorded with its settings and the gate's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.asr import Recogniser
from soundflow.operators.speech.gate import check_rendering
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.speech import Dialogue, GateConfig, Pace, Voice
from soundflow.schemas.spoken import Take

CHAIN_VERSION: Final = "3"
SPEEDS: Final = (1.0, 0.92, 1.06, 0.86, 1.12)
"""Speeds of the takes of a turn, for backends that accept a speed. Slower speech is usually clearer."""

Rewrite = Callable[[str, str, int], Outcome[str]]
"""(text, language, seed) → the spoken form. Rejected: `unspoken_language`, `llm_…`; raises BackendError."""


@dataclass(frozen=True, slots=True)
class SpeechTools:
    """What the speech chain works with."""

    voice_pool: VoicePool
    recogniser: Recogniser
    rewrite: Rewrite
    pace: Callable[[Voice], Pace]
    gate: GateConfig
    seed: int
    pronunciations: Pronunciations = field(default_factory=Pronunciations)


@dataclass(frozen=True, slots=True)
class RenderedTurn:
    """One user turn: its spoken form, all takes, and the samples (16 kHz) of the take that passed; None when none did."""

    text: str
    takes: tuple[Take, ...]
    samples: NDArray[np.float32] | None
    rejected: tuple[NDArray[np.float32], ...] = ()
    """Samples of the rejected takes, in order: they are the first of `takes`."""


@dataclass(frozen=True, slots=True)
class RenderedDialogue:
    """A dialogue, rendered or discarded."""

    voice: Voice | None
    turns: tuple[RenderedTurn, ...]
    """All turns, or those up to the one that was refused."""
    refused: str = ""
    """Why the dialogue was discarded; empty when it was not."""


def render_dialogue(dialogue: Dialogue, tools: SpeechTools) -> RenderedDialogue:
    """Render a dialogue. Raises BackendError when a backend fails, InputError when every other dialogue would fail too."""
    voices = tools.voice_pool.voices_for(dialogue.language)
    if not voices:
        return RenderedDialogue(None, (), "no_voice")
    voice = voices[int(_rng(tools.seed, dialogue.id, 0, "voice").integers(len(voices)))]
    turns: list[RenderedTurn] = []
    for number, turn in enumerate(dialogue.turns):
        seed = int(_rng(tools.seed, dialogue.id, number, "rewriter").integers(2**31))
        rewritten = tools.rewrite(turn.user, dialogue.language, seed)
        if not isinstance(rewritten, Ok):
            turns.append(RenderedTurn(turn.user, (), None))
            return RenderedDialogue(voice, tuple(turns), rewritten.reason if isinstance(rewritten, Rejected) else "failed")
        turns.append(render_turn(rewritten.value, voice, dialogue.language, dialogue.id, number, tools))
        if turns[-1].samples is None:
            return RenderedDialogue(voice, tuple(turns), turns[-1].takes[-1].refused)
    return RenderedDialogue(voice, tuple(turns))


def render_turn(text: str, voice: Voice, language: str, dialogue_id: str, turn: int, tools: SpeechTools) -> RenderedTurn:
    """Render a turn until a take passes the gate, at most 1 + `retries` times. Each retry changes all settings it can."""
    takes: list[Take] = []
    rejected: list[NDArray[np.float32]] = []
    spoken = tools.pronunciations.respell(text, language)
    for take, take_voice in _takes(voice, dialogue_id, turn, tools):
        rendering = tools.voice_pool.speaker(take_voice).say(spoken, take_voice, seed=take.seed, speed=take.speed)
        pace = tools.pace(take_voice)
        outcome = check_rendering(
            rendering.samples,
            text,
            language,
            tools.recogniser,
            pace,
            speed=take.speed,
            config=tools.gate,
            pronunciations=tools.pronunciations,
        )
        metrics = outcome.value if isinstance(outcome, Ok) else outcome.metrics
        refused = "" if isinstance(outcome, Ok) else outcome.reason
        takes.append(take.model_copy(update={"refused": refused, "metrics": metrics, "made_by": rendering.made_by}))
        if isinstance(outcome, Ok):
            return RenderedTurn(text, tuple(takes), rendering.samples, tuple(rejected))
        rejected.append(rendering.samples)
    return RenderedTurn(text, tuple(takes), None, tuple(rejected))


def _takes(voice: Voice, dialogue_id: str, turn: int, tools: SpeechTools) -> Iterator[tuple[Take, Voice]]:
    """Yield the settings of each take; stop when a retry would change nothing."""
    variants = tools.voice_pool.variants(voice)
    knobs = tools.voice_pool.speaker(voice).knobs
    last: Take | None = None
    for number in range(1 + tools.gate.retries):
        variant = variants[number % len(variants)]
        seed = int(_rng(tools.seed, dialogue_id, turn, "take", number).integers(2**31)) if "seed" in knobs else 0
        speed = SPEEDS[number % len(SPEEDS)] if "speed" in knobs else 1.0
        changed: tuple[str, ...] = ()
        if last is not None:
            differs = {"voice": variant.name != last.voice, "seed": seed != last.seed, "speed": speed != last.speed}
            changed = tuple(name for name, is_changed in {**differs, "draw": "draw" in knobs}.items() if is_changed)
            if not changed:
                return
        last = Take(voice=variant.name, seed=seed, speed=speed, changed=changed)
        yield last, variant


def _rng(seed: int, dialogue_id: str, turn: int, purpose: str, take: int = 0) -> np.random.Generator:
    return rng_for(f"speech/{seed}/{dialogue_id}", 0, turn, purpose, take)
