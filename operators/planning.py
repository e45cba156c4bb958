"""Scene planning without an LLM: the `random` and the `template` planner.

Both choose clips and order; `operators.supervision` decides what is answered. The plan says which planner it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np

import prompts
from operators.clips import ClipBrief, ClipPool
from operators.supervision import evidence, respond
from schemas import constants as c
from schemas.base import InputError
from schemas.clip import ClipRole
from schemas.outcome import Ok, Outcome, Rejected
from schemas.recipe import Recipe
from schemas.scene import Draw, Scene, SceneEvent
from schemas.taxonomy import Task, Urgency, label_words, urgency

PLANNING_VERSION = "2"
FITTING_SHARE: Final = 0.85
"""How often the template planner takes a sound of the scene's place when there are also sounds of no place."""


class Candidate(NamedTuple):
    """A clip a planner may choose, with what it chooses by."""

    id: str
    samples: int
    source: str
    places: frozenset[str]
    """Places whose words its label or caption holds; empty for sounds that may happen anywhere."""


Candidates = list[Candidate]


@dataclass(frozen=True)
class Palette:
    """The clips of an index by what they are good for. Built once per worker; lists are in id order."""

    speech: Candidates = field(default_factory=list)
    sounds: Candidates = field(default_factory=list)
    """Foreground sounds with a label."""
    dialogue: Candidates = field(default_factory=list)
    """Speech with a paired reply; voice chat prefers it."""
    hazards: Candidates = field(default_factory=list)
    """Foreground sounds that call for a response."""
    benign: Candidates = field(default_factory=list)
    background: Candidates = field(default_factory=list)
    ambient: Candidates = field(default_factory=list)

    @classmethod
    def of(cls, pool: ClipPool, split: str | None = None) -> Self:
        """Sort the clips of `pool` (of one split, when given) into the lists."""
        palette = cls()
        for brief in pool.briefs():
            if split is None or brief.split == split:
                palette._add(brief)
        return palette

    def _add(self, brief: ClipBrief) -> None:
        verdict = urgency(brief.label, brief.caption)
        clip = Candidate(brief.id, brief.samples, brief.source, places_of(f"{brief.label} {brief.caption}"))
        if brief.kind == "speech":
            if brief.role is ClipRole.FOREGROUND:
                self.speech.append(clip)
                if brief.has_reply:
                    self.dialogue.append(clip)
        elif brief.role is ClipRole.FOREGROUND and brief.label:
            self.sounds.append(clip)
            if verdict is Urgency.RESPOND:
                self.hazards.append(clip)
            if verdict is Urgency.IGNORE:
                self.benign.append(clip)
        # What nobody answers must not be something to answer: hazards never play in the background.
        elif brief.role is ClipRole.BACKGROUND and verdict is not Urgency.RESPOND:
            self.background.append(clip)
        elif brief.role is ClipRole.AMBIENT and verdict is not Urgency.RESPOND:
            self.ambient.append(clip)

    def needs(self, task: Task) -> dict[str, Candidates]:
        """The lists `task` draws its foreground from."""
        if task is Task.EVENT_DESCRIPTION:
            return {"labelled sounds": self.sounds}
        if task is Task.PROACTIVE_RESPOND:
            return {"sounds that call for a response": self.hazards, "benign sounds": self.benign}
        return {"speech clips with a transcript": self.spoken(task)}

    def spoken(self, task: Task) -> Candidates:
        """Speech for `task`: voice chat prefers turns with a paired reply."""
        return self.dialogue if task is Task.VOICE_CHAT and self.dialogue else self.speech


def places_of(text: str) -> frozenset[str]:
    """The places of `prompts.places()` a label or caption speaks of."""
    words = set(label_words(text))
    return frozenset(name for name, place in prompts.places().items() if words & set(place["words"]))


def available_tasks(palette: Palette, at_least: int = 1) -> set[Task]:
    """Tasks whose lists hold `at_least` clips each."""
    return {task for task in Task if all(len(clips) >= at_least for clips in palette.needs(task).values())}


def check(recipe: Recipe, palette: Palette, file: object = None) -> None:
    """Raise InputError when an asked-for task has too few clips for its shortest scene."""
    fewest = int(recipe.scene.events[0])
    for task, weight in recipe.tasks.items():
        for what, clips in palette.needs(task).items():
            total = sum(map(len, palette.needs(task).values()))
            if weight > 0 and (not clips or total < fewest):
                raise InputError(
                    f"too few clips: the index has {len(clips)} {what}, a stream needs {max(fewest, 1)} different clips",
                    file=file,
                    field=f"tasks.{task.value}",
                    remedy=f"Index more clips, lower scene.events, or take {task.value} out of tasks",
                )


def plan_scene(recipe: Recipe, palette: Palette, pool: ClipPool, rng: np.random.Generator) -> Outcome[Scene]:
    """Plan one stream: its task, what happens in it and what is answered.

    Ok(Scene), or Rejected(`too_few_clips`) when the draw left no event. Deterministic in (recipe, palette, rng).
    """
    return _Planner(recipe, palette, pool, rng).plan()


class _Planner:
    def __init__(self, recipe: Recipe, palette: Palette, pool: ClipPool, rng: np.random.Generator):
        self.scene, self.palette, self.pool, self.rng = recipe.scene, palette, pool, rng
        self.tasks = {task: weight for task, weight in sorted(recipe.tasks.items()) if weight > 0}
        self.draws: list[Draw] = []
        self.used: set[str] = set()
        self.place = ""

    def plan(self) -> Outcome[Scene]:
        weights = np.array(list(self.tasks.values()), dtype=np.float64)
        task = list(self.tasks)[int(self.rng.choice(len(weights), p=weights / weights.sum()))]
        turns = self._between("foreground events", self.scene.events)
        title = self._choose_place(task, turns)
        foreground = self._foreground(task, turns)
        if not foreground:
            return Rejected("too_few_clips", {"task": task.value})
        events = [self._foreground_event(task, clip) for clip in foreground]
        backdrop = self.palette.background or (self.palette.benign if task is not Task.EVENT_DESCRIPTION else [])
        for role, clips, count in (
            (ClipRole.BACKGROUND, backdrop, self.scene.background),
            (ClipRole.AMBIENT, self.palette.ambient, self.scene.ambient),
        ):
            for _ in range(self._between(f"{role.value} events", count)):
                chosen = self._pick(clips, strict=True)
                if chosen is not None:
                    events.append(SceneEvent(clip_id=chosen.id, role=role))
        instructions = prompts.variants(f"instruction_{task.value}")
        instruction = instructions[self._integer("instruction variant", len(instructions))]
        draws = (Draw(what="task", value=task.value), *self.draws)
        planner = self.scene.planner
        return Ok(Scene(task=task, planner=planner, title=title, instruction=instruction, events=tuple(events), draws=draws))

    def _choose_place(self, task: Task, turns: int) -> str:
        """The template planner's place: one of those with enough sounds for the scene, or the one with most. The random
        planner has none."""
        if self.scene.planner == "random":
            return "clips drawn independently"
        needed = (
            [self.palette.sounds] if task in (Task.VOICE_CHAT, Task.STREAMING_ASR) else list(self.palette.needs(task).values())
        )
        counts = {name: min(sum(name in clip.places for clip in clips) for clips in needed) for name in sorted(prompts.places())}
        enough = [name for name, count in counts.items() if count >= -(-turns // len(needed))]
        names = enough or [name for name, count in counts.items() if count == max(counts.values())]
        self.place = names[self._integer("place", len(names))]
        return str(prompts.places()[self.place]["title"])

    def _foreground(self, task: Task, turns: int) -> Candidates:
        chosen: Candidates = []
        length = 0
        speakers = self._speaker(task) if task in (Task.VOICE_CHAT, Task.STREAMING_ASR) else []
        for turn in range(turns):
            enough = len(chosen) >= self.scene.events[0]
            clip = self._foreground_clip(task, turn, speakers, strict=enough)
            if clip is None:
                break
            length += clip.samples + round(self.scene.gap_seconds[1] * c.SAMPLE_RATE)
            if chosen and length > self.scene.max_seconds * c.SAMPLE_RATE:
                self.draws.append(Draw(what="left out, stream long enough after event", value=turn))
                break
            chosen.append(clip)
        return chosen

    def _foreground_clip(self, task: Task, turn: int, speakers: Candidates, strict: bool) -> Candidate | None:
        if task is Task.EVENT_DESCRIPTION:
            return self._pick(self.palette.sounds, strict=strict)
        if task is Task.PROACTIVE_RESPOND:
            benign = bool(self.rng.random() < self.scene.benign_share)
            self.draws.append(Draw(what=f"event {turn} is benign", value=benign))
            first, second = (self.palette.benign, self.palette.hazards) if benign else (self.palette.hazards, self.palette.benign)
            return self._pick(first, strict=strict) or (None if strict else self._pick(second))
        if turn and self.palette.sounds and self.rng.random() < self.scene.distractor_share:
            self.draws.append(Draw(what=f"event {turn} is a distractor", value=True))
            distractor = self._pick(self.palette.sounds, strict=True)
            if distractor is not None:
                return distractor
        return self._pick(speakers) or self._pick(self.palette.spoken(task))

    def _speaker(self, task: Task) -> Candidates:
        """Speech of one source: a voice is drawn once per dialogue (paper, appendix on curation)."""
        speech = self.palette.spoken(task)
        sources = sorted({clip.source for clip in speech})
        source = sources[self._integer("voice source", len(sources))]
        self.draws.append(Draw(what="voice", value=source))
        return [clip for clip in speech if clip.source == source]

    def _pick(self, clips: Sequence[Candidate], strict: bool = False) -> Candidate | None:
        """A clip not yet used in this stream; in a place mostly one that fits it, else one that may happen anywhere.

        None when all are used, or (`strict`) when only sounds of other places are left.
        """
        free = [clip for clip in clips if clip.id not in self.used]
        if self.place:
            fitting = [clip for clip in free if self.place in clip.places]
            anywhere = [clip for clip in free if not clip.places]
            both = fitting and anywhere
            preferred = (fitting if self.rng.random() < FITTING_SHARE else anywhere) if both else fitting or anywhere
            free = preferred if preferred or strict else free
        if not free:
            return None
        clip = free[int(self.rng.integers(len(free)))]
        self.used.add(clip.id)
        return clip

    def _foreground_event(self, task: Task, chosen: Candidate) -> SceneEvent:
        clip = self.pool.get(chosen.id)
        answer = respond(task, clip, self.rng)
        low, high = (round(seconds * c.SAMPLE_RATE) for seconds in self.scene.gap_seconds)
        return SceneEvent(
            clip_id=clip.id,
            role=ClipRole.FOREGROUND,
            response=answer.text if answer else None,
            response_source=answer.source if answer else "",
            evidence=evidence(task, clip.active_end, clip.samples, self.scene.proactive_evidence_seconds) if answer else None,
            gap=int(self.rng.integers(low, high + 1)),
        )

    def _between(self, what: str, bounds: tuple[float, float]) -> int:
        value = int(self.rng.integers(int(bounds[0]), int(bounds[1]) + 1))
        self.draws.append(Draw(what=what, value=value))
        return value

    def _integer(self, what: str, below: int) -> int:
        value = int(self.rng.integers(below))
        self.draws.append(Draw(what=what, value=value))
        return value
