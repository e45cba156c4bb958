"""What a sub-task decides: which clips it plays, what it is told, what is answered to them, and when the evidence is complete.

A policy has no state. Everything random comes from the `Casting` it is handed or is drawn by its caller. What is answered is a
SCRIPT: a function of the brief (what the instruction says of this stream) and of all foreground clips in order, so that whoever
has the stored plan can derive every response again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidate, Candidates, Palette
from soundflow.operators.tasks import wording
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scenario import Scenario
from soundflow.schemas.scene import Brief, SceneResponse, nfc
from soundflow.schemas.stream import PlannedClip
from soundflow.schemas.taxonomy import Task, label_words

Sounding = Clip | PlannedClip
"""What a clip and its place in a plan both have: kind, label, caption, transcript, reply."""


class Answer(NamedTuple):
    """What may be said at an event, whole, and who wrote it."""

    text: str
    source: str
    early: bool = False
    """Said when the sound is recognised (`proactive_evidence_seconds`), not when it has ended."""


Script = list[list[Answer]]
"""For each foreground clip every answer it may get; empty = stay silent."""


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

    def once(self, what: str, below: int) -> int:
        """A number below `below`, drawn once per stream."""
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

    task: Task
    task_rule: ClassVar[str]
    """For an LLM that plans scenes: which foreground events are answered."""
    response_rule: ClassVar[str] = ""
    """For an LLM that refines events: how an answer sounds. Empty where answers come from brief and clips alone."""
    spoken: ClassVar[bool] = False
    """Whether the events that are answered are speech."""
    in_order: ClassVar[bool] = False
    """Whether its clips stand in an order of their own, such as a dialogue's: there is then no scene for an LLM to plan."""

    @abstractmethod
    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """What it draws its foreground from: name for people → clips."""

    def scenery(self, palette: Palette) -> Sequence[Candidates]:
        """The lists that decide which places have enough sounds for a scene."""
        return list(self.needs(palette).values())

    def backdrop(self, palette: Palette) -> Candidates:
        """Clips for the background."""
        return palette.background or palette.benign

    def behind(self, brief: Brief, label: str) -> bool:
        """Whether a sound of this label may play in the background: not where it would be something to answer."""
        return True

    @abstractmethod
    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """The clip of foreground event `turn` (from 0); None when there is none left (`strict`: none that suits)."""

    def complete(self, cast: Casting, chosen: list[str]) -> list[str]:
        """The foreground with what is mixed in, or has to follow, once its clips are chosen."""
        return chosen

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """What the instruction says of a stream with these clips in the foreground; None when they make none of this sub-task."""
        return {}

    def instructions(self, brief: Brief) -> list[str]:
        """What the model may be told before the stream."""
        return prompts.variants(f"instruction_{self.task.value}", **brief)

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """What may be answered to each foreground clip. By default every clip stands for itself."""
        return [self.answers(clip) for clip in clips]

    def answers(self, clip: Sounding) -> list[Answer]:
        """Every answer a clip may get for itself; empty = stay silent. For sub-tasks whose script is no more than that."""
        return []

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """An answer as responses with their evidence: by default one, once what it answers has ended, or was recognised."""
        heard = turn_end(clip)
        if answer.early:
            heard = min(heard, max(1, round(scene.proactive_evidence_seconds * c.SAMPLE_RATE)))
        return (SceneResponse(text=answer.text, source=answer.source, evidence=heard),)

    def respond(
        self, clip: Clip, answers: Sequence[Answer], scene: SceneConfig, rng: np.random.Generator
    ) -> tuple[SceneResponse, ...]:
        """The responses of one of the answers of the script, drawn; none = stay silent."""
        return self.responses(clip, answers[int(rng.integers(len(answers)))], scene) if answers else ()

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Whether a clip may play a foreground event of which a planner says that it is answered, or is not."""
        return bool(self.answers(clip)) == responds

    def goes_with(self, clip: Clip, playing: Sequence[Clip]) -> bool:
        """Whether a foreground clip may play in one stream with these."""
        return True

    def contradiction(self, scenario: Scenario) -> str:
        """What a planned scenario has wrong about who is answered, in words; empty when nothing."""
        return ""

    def accepts(self, clip: Sounding, text: str) -> bool:
        """Whether a text somebody else worded may be the answer to a clip that is answered: see `operators.tasks.wording`."""
        return bool(self.response_rule) and not wording.problem(text, clip.label, clip.caption)

    def texts(self, clip: Sounding) -> set[str]:
        """The texts of a clip's own answers as a plan holds them."""
        return {nfc(answer.text) for answer in self.answers(clip)}


def whole(clip: Clip) -> int:
    """Samples until the clip's evidence is complete: one past its last active sample."""
    return clip.active_end if 0 < clip.active_end <= clip.samples else clip.samples


def turn_end(clip: Clip) -> int:
    """Samples until the speaker has finished: the end of the last word. What is active within half a chunk of it still belongs
    to it (aligners are not exact), what comes later does not (a cough, a door). Of a sound, all of it."""
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
    caption, label = clip.caption.strip().rstrip("."), name_of(clip)
    is_phrase = " " in caption and label_words(caption) != label_words(clip.label) and wording.speakable(caption)
    return (caption, True) if is_phrase else (label, False)


def name_of(clip: Sounding) -> str:
    """The words of a clip's label: what brief and script call it."""
    return called(clip.label)


def called(label: str) -> str:
    """The words of a label."""
    return " ".join(label_words(label)) or label


def apart(one: str, other: str) -> bool:
    """Whether two names share no word: who counts bells must not be asked whether a bell of a level crossing is one."""
    return not set(one.split()) & set(other.split())


def about(template: str, clip: Sounding, *, early: bool = False) -> list[Answer]:
    """Every variant of a template about what is heard."""
    sound, is_phrase = describe(clip)
    texts = prompts.variants(template + ("" if is_phrase else "_label"), sound=sound)
    return [Answer(text, "label", early) for text in texts]
