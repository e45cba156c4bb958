"""The interface of a sub-task: which clips a stream plays, what its instruction says and what the assistant responds.

A policy has no state and draws at random only through the `ClipSelection` or the generator it is passed. Responses are a
function of the stream's brief and its foreground clips, so `operators/tasks/supervision.py` can derive them again from a stored
plan.

To add a sub-task, edit two places:

1. `schemas/taxonomy.py`: add a member to `Task` and list it in `SUB_TASKS` under its capability. `Task` is a closed enum because
   recipes, plans and fingerprints contain its values.
2. `operators/tasks/__init__.py`: add an instance of the policy to `_ALL`.

   If recipes name the capability, they now draw the new sub-task too: raise `SUPERVISION_VERSION` to keep old builds separate.

A policy defines `task`, `summary`, `task_rule`, `required_clips`, `choose_foreground`, and `respond_to_clip` or
`respond_to_stream`; all other methods have defaults. `SoundPolicy` and `SpokenPolicy` already choose clips for sub-tasks about
sounds and about speech. `examples/python/own_subtask.py` is a complete sub-task, and plans streams with it before either place
is edited.
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

ClipLike = Clip | PlannedClip
"""A clip of the index or a clip in a stored plan: both have kind, label, caption, transcript and reply."""


class ResponseOption(NamedTuple):
    """One wording of the response to a clip. Of several options, one is drawn."""

    text: str
    source: str
    """Who wrote the text: see `SceneResponse.source`."""
    early: bool = False
    """Respond after `proactive_evidence_seconds` of the clip instead of at its end."""


StreamOptions = list[list[ResponseOption]]
"""The response options of each foreground clip, in order. An empty list means: stay silent."""


class ClipSelection(Protocol):
    """The clips of one stream while they are being chosen. Each clip plays at most once.

    Names passed to `draw_group`, `draw_once` and `record` are stored in the plan's `draws`.
    """

    palette: Palette
    """All clips of the index, by what they are good for."""
    scene: SceneConfig
    rng: np.random.Generator

    def pick(self, clips: Candidates, strict: bool = False) -> str | None:
        """Draw an unused clip and return its id; None when all are used.

        `strict`: return None rather than a clip that does not fit the place of the scene.
        """
        ...

    def pick_next(self, clips: Candidates) -> str | None:
        """Return the id of the first unused clip; None when all are used."""
        ...

    def draw_group(self, name: str, clips: Candidates, key: Callable[[Candidate], str]) -> Candidates:
        """Return the clips that share one value of `key`, such as one voice. The value is drawn once per stream and `name`."""
        ...

    def draw_once(self, name: str, below: int) -> int:
        """Return an integer in [0, below), drawn once per stream and `name`."""
        ...

    def draw_dialogue(self, clips: Candidates, more: bool) -> Candidates:
        """Return the turns, in order, of the dialogue of one of `clips`, drawn once per stream; empty when there is none.

        `more`: when all its turns are used, continue with another dialogue of the same speaker, if there is one.
        """
        ...

    def record(self, name: str, value: str | float | bool) -> None:
        """Store a random decision in the plan."""
        ...


class Policy(ABC):
    """A sub-task of StreamAudio-2M.

    The planner calls `choose_foreground` for each event, then `finish_foreground`, `draw_brief`, `respond_to_stream`,
    `draw_responses` for each clip, `can_play_in_background` for each other clip, and `instructions`.
    """

    task: Task
    summary: str
    """One sentence for `soundflow tasks`."""
    task_rule: str
    """Text for the LLM role `scenario_planner`: which foreground events get a response. Part of the fingerprint."""
    response_rule: str = ""
    """Text for the LLM role `event_refiner`: how a response is worded. Empty: no LLM words responses. Part of the fingerprint."""
    responds_to_speech: ClassVar[bool] = False
    """Whether the events that get a response are speech."""
    has_fixed_order: ClassVar[bool] = False
    """Whether the order of clips is given, as in a dialogue. An LLM then plans no scenario."""

    @abstractmethod
    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return the lists that foreground clips are drawn from, by a description for error messages. None may be empty."""

    def find_caution(self, palette: Palette) -> str:
        """Return why a new recipe should not enable the sub-task although these clips can serve it; empty if it may."""
        return ""

    def place_bound_clips(self, palette: Palette) -> Sequence[Candidates]:
        """Return the lists of which a place must have enough clips to be the place of a scene."""
        return list(self.required_clips(palette).values())

    def background_clips(self, palette: Palette) -> Candidates:
        """Return the clips that background events are drawn from."""
        return palette.background or palette.benign

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Return whether a sound may play in the background: false if it would call for a response in the foreground."""
        return True

    @abstractmethod
    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Return the clip id of foreground event `index` (from 0); None ends the foreground.

        `optional`: the stream already has the minimum number of events, so it may end rather than play a clip that does not fit.
        """

    def finish_foreground(self, selection: ClipSelection, chosen: list[str]) -> list[str]:
        """Return the chosen clip ids with those that are mixed in or appended."""
        return chosen

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return what the instruction says of this stream in particular, such as the sound to count.

        `clips`: the foreground. None when these clips make no stream of the sub-task.
        """
        return {}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings of the instruction, of which one is drawn.

        The default renders `prompts/instruction_<task>.v1.j2`. Adding a template changes the fingerprint of every corpus; an
        override that returns literal text does not.
        """
        return prompts.variants(f"instruction_{self.task.value}", **brief)

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Return the response options of each foreground clip.

        Override it when a response depends on the brief or on other clips.
        """
        return [self.respond_to_clip(clip) for clip in clips]

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Return the response options of a clip on its own; empty to stay silent."""
        return []

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Return a response option as responses with their evidence, in samples of the clip.

        The default is one response, due when the clip or its speaker has ended, or earlier for an `early` option.
        """
        evidence = turn_end(clip)
        if option.early:
            evidence = min(evidence, max(1, round(scene.proactive_evidence_seconds * c.SAMPLE_RATE)))
        return (SceneResponse(text=option.text, source=option.source, evidence=evidence),)

    def draw_responses(
        self, clip: Clip, options: Sequence[ResponseOption], scene: SceneConfig, rng: np.random.Generator
    ) -> tuple[SceneResponse, ...]:
        """Draw one of the options and schedule it; empty when there are none."""
        return self.schedule(clip, options[int(rng.integers(len(options)))], scene) if options else ()

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Return whether a clip may play a foreground event for which the scenario plans a response (`responds`) or silence."""
        return bool(self.respond_to_clip(clip)) == responds

    def can_play_with(self, clip: Clip, others: Sequence[Clip]) -> bool:
        """Return whether a clip may play in one stream with the foreground clips `others`."""
        return True

    def find_contradiction(self, scenario: Scenario) -> str:
        """Return how a scenario contradicts `task_rule`, as a sentence for the LLM that planned it; empty when it does not."""
        return ""

    def is_acceptable_wording(self, clip: ClipLike, text: str) -> bool:
        """Return whether a text that an LLM worded may be the response to a clip: see `wording.find_problem`."""
        return bool(self.response_rule) and not wording.find_problem(text, clip.label, clip.caption)

    def response_texts(self, clip: ClipLike) -> set[str]:
        """Return the texts of `respond_to_clip` in the form that plans store (NFC)."""
        return {nfc(option.text) for option in self.respond_to_clip(clip)}


def evidence_end(clip: Clip) -> int:
    """Return the number of samples up to and including the last active one."""
    return clip.active_end if 0 < clip.active_end <= clip.samples else clip.samples


def turn_end(clip: Clip) -> int:
    """Return the number of samples until the speaker has finished; for a sound, until it has ended.

    A turn ends with its last word. Activity that ends within half a chunk of it still belongs to the word, since aligners are
    inexact; later activity (a cough, a door) does not.
    """
    if not clip.words:
        return evidence_end(clip)
    last = max(clip.words[-1].end, 1)
    return max(last, evidence_end(clip)) if evidence_end(clip) - last <= c.HALF_CHUNK_SAMPLES else last


def describe(clip: ClipLike) -> tuple[str, bool]:
    """Return a description of what is heard, and whether it is a phrase (`a dog barking`) rather than a label (`dog bark`).

    A caption that is not speakable is ignored: captions come from untrusted corpora, and models learn to say them.
    """
    if clip.kind == "speech":
        return "someone speaking", True
    caption, label = clip.caption.strip().rstrip("."), clip_name(clip)
    is_phrase = " " in caption and label_words(caption) != label_words(clip.label) and wording.is_speakable(caption)
    return (caption, True) if is_phrase else (label, False)


def clip_name(clip: ClipLike) -> str:
    """Return the words of a clip's label, by which briefs and responses refer to it."""
    return label_name(clip.label)


def label_name(label: str) -> str:
    """Return the words of a label, in lower case."""
    return " ".join(label_words(label)) or label


def is_distinct(name: str, other: str) -> bool:
    """Return whether two names share no word.

    `bell` and `level crossing bell` share one, so a stream that counts bells has only one of them.
    """
    return not set(name.split()) & set(other.split())


def respond_with(template: str, **values: object) -> list[ResponseOption]:
    """Return an option for each variant of the prompt template `template`."""
    return [ResponseOption(text, "template") for text in prompts.variants(template, **values)]


def respond_with_description(template: str, clip: ClipLike, *, early: bool = False) -> list[ResponseOption]:
    """Return an option for each variant of `template`, or of `<template>_label` when only the label describes the clip."""
    sound, is_phrase = describe(clip)
    texts = prompts.variants(template + ("" if is_phrase else "_label"), sound=sound)
    return [ResponseOption(text, "label", early) for text in texts]
