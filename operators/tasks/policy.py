"""What a sub-task decides: which clips it plays, what is answered to them, and when the evidence is complete.

A policy has no state. Everything random comes from the `Casting` it is handed or is drawn by its caller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

import prompts
from operators import wording
from operators.clips import Candidate, Candidates, Palette
from schemas import constants as c
from schemas.clip import Clip
from schemas.recipe import SceneConfig
from schemas.scenario import Scenario
from schemas.scene import SceneResponse, nfc
from schemas.stream import PlannedClip
from schemas.taxonomy import Task, label_words

Sounding = Clip | PlannedClip
"""What a clip and its place in a plan both have: kind, label, caption, transcript, reply."""


class Answer(NamedTuple):
    """What may be said at an event, whole, and who wrote it."""

    text: str
    source: str


class Casting(Protocol):
    """What a policy may ask of the planner while it chooses clips for one stream; each clip plays once."""

    palette: Palette
    scene: SceneConfig
    rng: np.random.Generator

    def pick(self, clips: Candidates, strict: bool = False) -> str | None:
        """The id of a clip not yet used; None when all are, or (`strict`) when none that is left suits the place."""
        ...

    def alike(self, what: str, clips: Candidates, value: Callable[[Candidate], str]) -> Candidates:
        """Those of one value, which is drawn once per stream: a voice, say (paper, appendix on curation)."""
        ...

    def conversation(self, clips: Candidates, more: bool) -> Candidates:
        """The turns, in order, of the dialogue that one of `clips` belongs to, drawn once per stream; empty for none.

        `more`: when all its turns were used, another one of the same speaker, where there is one.
        """
        ...

    def next_of(self, clips: Candidates) -> str | None:
        """The id of the first of `clips` that was not used yet; None when all were."""
        ...

    def note(self, what: str, value: str | float | bool) -> None:
        """Keep a decision in the plan."""
        ...


class Policy(ABC):
    """One sub-task of StreamAudio-2M."""

    task: ClassVar[Task]
    task_rule: ClassVar[str]
    """For an LLM that plans scenes: which foreground events are answered."""
    response_rule: ClassVar[str]
    """For an LLM that refines events: how an answer sounds. Empty where answers come from the clips alone."""
    spoken: ClassVar[bool] = False
    """Whether the events that are answered are speech."""

    @abstractmethod
    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """What it draws its foreground from: name for people → clips."""

    def scenery(self, palette: Palette) -> Sequence[Candidates]:
        """The lists that decide which places have enough sounds for a scene."""
        return list(self.needs(palette).values())

    def backdrop(self, palette: Palette) -> Candidates:
        """Clips for the background."""
        return palette.background or palette.benign

    @abstractmethod
    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """The clip of foreground event `turn` (from 0); None when there is none left (`strict`: none that suits)."""

    @abstractmethod
    def answers(self, clip: Sounding) -> list[Answer]:
        """Every answer it may give to a foreground clip, derivable from the clip alone; empty = stay silent."""

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """An answer as responses with their evidence. By default one, once the clip's last active sample is heard."""
        return (SceneResponse(text=answer.text, source=answer.source, evidence=whole(clip)),)

    def respond(self, clip: Clip, scene: SceneConfig, rng: np.random.Generator) -> tuple[SceneResponse, ...]:
        """The responses of one of the answers, drawn; none = stay silent."""
        answers = self.answers(clip)
        return self.responses(clip, answers[int(rng.integers(len(answers)))], scene) if answers else ()

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Whether a clip may play a foreground event of which a planner says that it is answered, or is not."""
        return bool(self.answers(clip)) == responds

    def contradiction(self, scenario: Scenario) -> str:
        """What a planned scenario has wrong about who is answered, in words; empty when nothing."""
        return ""

    def accepts(self, clip: Sounding, text: str) -> bool:
        """Whether a text somebody else worded may be the answer to a clip: see `operators.wording`."""
        return bool(self.response_rule) and self.suits(clip, True) and not wording.problem(text, clip.label, clip.caption)

    def instructions(self, clips: Sequence[Clip]) -> list[str]:
        """What the model may be told before a stream with these clips in the foreground."""
        return prompts.variants(f"instruction_{self.task.value}")

    def texts(self, clip: Sounding) -> set[str]:
        """The answers' texts as a plan holds them."""
        return {nfc(answer.text) for answer in self.answers(clip)}


def whole(clip: Clip) -> int:
    """Samples until the clip's evidence is complete: one past its last active sample."""
    return clip.active_end if 0 < clip.active_end <= clip.samples else clip.samples


def turn_end(clip: Clip) -> int:
    """Samples until the speaker has finished: the end of the last word. What is active within half a chunk of it still belongs
    to it (aligners are not exact), what comes later does not (a cough, a door)."""
    if not clip.words:
        return whole(clip)
    last = max(clip.words[-1].end, 1)
    return max(last, whole(clip)) if whole(clip) - last <= c.HALF_CHUNK_SAMPLES else last


def describe(clip: Sounding) -> tuple[str, bool]:
    """What is heard, and whether that is a phrase (a caption: `a dog barking`) or bare words (a label: `dog bark`).

    A caption that cannot be said is none: captions come from anywhere, and what is said is what a model learns to say.
    """
    if clip.kind == "speech":
        return "someone speaking", True
    caption, label = clip.caption.strip().rstrip("."), " ".join(label_words(clip.label)) or clip.label
    is_phrase = " " in caption and label_words(caption) != label_words(clip.label) and wording.speakable(caption)
    return (caption, True) if is_phrase else (label, False)


def about(template: str, clip: Sounding) -> list[Answer]:
    """Every variant of a template about what is heard."""
    sound, is_phrase = describe(clip)
    return [Answer(text, "label") for text in prompts.variants(template + ("" if is_phrase else "_label"), sound=sound)]
