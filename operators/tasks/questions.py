"""Questions about the sounds of a stream: open questions, multiple choice, and a description of the whole scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import (
    ClipLike,
    ClipSelection,
    ResponseOption,
    StreamOptions,
    clip_name,
    describe,
    is_distinct,
    label_name,
    respond_with,
    respond_with_description,
)
from soundflow.schemas.clip import Clip
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, is_music

QUESTION_KINDS: Final = ("first", "second", "kinds", "spoken")
"""Questions of the instruction. `spoken`: the questions are clips of the stream."""
LETTERS: Final = "ABCD"
PLAYED_OPTIONS: Final = 2
"""Maximum number of options that play in the stream, unless there are too few other sounds."""


class AudioOpenQa(SoundPolicy):
    """A question about the whole stream in the instruction, or spoken questions between sounds if the index has any."""

    task = Task.AUDIO_OPEN_QA
    summary = "Answer a question about the sounds."
    task_rule = (
        "the assistant listens to all foreground sounds and answers a question about them at the last one: only that responds."
    )

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick sounds, and spoken questions neither first nor twice in a row."""
        kinds = ("last", "first", "count")
        questions = [clip for kind in kinds for clip in selection.palette.of_kind(f"question:sound_{kind}")]
        is_spoken = questions and selection.draw_once("questions are spoken", 2)
        if is_spoken and index % 2 == 1 + selection.draw_once("the first question waits", 2):
            question = selection.pick(questions)
            if question is not None:
                return question
        return selection.pick(selection.palette.sounds, strict=optional)

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return `spoken`, or draw a question and the number of sounds it is about."""
        if any(clip.kind == "speech" for clip in clips):
            return {"question": "spoken"}
        question = QUESTION_KINDS[int(rng.integers(3))]
        return {"question": question, "count": len(clips)} if len(clips) > 1 else None

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings for the question. Raises ValueError for an unknown one."""
        if brief["question"] not in QUESTION_KINDS:
            raise ValueError(f"question: unknown question {brief['question']!r}. Known: {', '.join(QUESTION_KINDS)}")
        return prompts.variants(f"instruction_audio_open_qa_{brief['question']}", **brief)

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Answer at each spoken question, or once at the last of the sounds that the question is about."""
        options: StreamOptions = []
        sounds: list[ClipLike] = []
        for clip in clips:
            if clip.kind == "speech":
                kind = prompts.question_kind(clip.transcript or "") if brief["question"] == "spoken" else ""
                is_question = sounds and kind.startswith("sound_")
                options.append(_answer(kind.removeprefix("sound_"), sounds) if is_question else [])
                continue
            sounds.append(clip)
            options.append(_answer(str(brief["question"]), sounds) if len(sounds) == brief.get("count") else [])
        return options


def _answer(question: str, sounds: Sequence[ClipLike]) -> list[ResponseOption]:
    """Return the answers to a question about the sounds so far; empty when there is none."""
    if question == "count":
        return respond_with("response_sound_count", count=len(sounds))
    if question == "kinds":
        return respond_with("response_sound_kinds", count=len({clip_name(clip) for clip in sounds}))
    place = {"first": 0, "second": 1, "last": -1}.get(question)
    if place is None or place >= len(sounds):
        return []
    return respond_with_description("response_event_description", sounds[place])


class ChoiceQa(SoundPolicy):
    """Multiple choice: options with letters in the instruction; the letter and text of an option when it plays."""

    task_rule = (
        "some of the foreground sounds are options of a multiple-choice question and are answered with their letter when they "
        "are heard; all others are not."
    )

    def __init__(self, task: Task, summary: str, *, music: bool) -> None:
        self.task, self.summary, self.music = task, summary, music

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return sounds, or music."""
        return {"pieces of music": palette.of_kind("music")} if self.music else super().required_clips(palette)

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick any of the required clips."""
        clips = next(iter(self.required_clips(selection.palette).values()))
        return selection.pick(clips, strict=optional and not self.music)

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Exclude the options, and music if the question is about music."""
        is_option = any(not is_distinct(label_name(label), option) for option in _options(brief))
        return not is_option and not (self.music and is_music(label))

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Draw three or four options that share no word, in random order.

        One or two of them play in the stream; as far as the palette has such sounds, the others do not.
        """
        played = list(dict.fromkeys(clip_name(clip) for clip in clips if clip.kind == "sound"))
        unique = [name for name in played if all(is_distinct(name, other) for other in played if other != name)]
        musical = {clip_name(clip) for clip in clips if is_music(clip.label, clip.caption)}
        unique = [name for name in unique if name in musical] if self.music else unique
        shuffled = [unique[int(place)] for place in rng.permutation(len(unique))]
        options = shuffled[:PLAYED_OPTIONS]
        if not options:
            return None
        others = palette.of_kind("music") if self.music else palette.sounds
        for place in rng.permutation(len(others)):
            name = others[int(place)].name
            if len(options) < len(LETTERS) and all(is_distinct(name, other) for other in (*played, *options)):
                options.append(name)
        options += shuffled[PLAYED_OPTIONS : PLAYED_OPTIONS + max(PLAYED_OPTIONS + 1 - len(options), 0)]
        if len(options) < PLAYED_OPTIONS + 1:
            return None
        return {"options": tuple(options[int(place)] for place in rng.permutation(len(options)))}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings with the options, each after its letter."""
        listed = "; ".join(f"{letter}: {option}" for letter, option in zip(LETTERS, _options(brief), strict=False))
        return prompts.variants("instruction_music_choice_qa" if self.music else "instruction_audio_choice_qa", options=listed)

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Say the letter and text of each option that plays."""
        letters = dict(zip(_options(brief), LETTERS, strict=False))
        names = [clip_name(clip) if clip.kind == "sound" else "" for clip in clips]
        return [[ResponseOption(f"{letters[name]}: {name}", "label")] if name in letters else [] for name in names]


def _options(brief: Brief) -> tuple[str, ...]:
    options = brief["options"]
    return options if isinstance(options, tuple) else ()


class SceneDescription(SoundPolicy):
    """Describe the whole scene once, at its last sound."""

    task = Task.SCENE_DESCRIPTION
    summary = "Describe the scene after its last sound."
    task_rule = "the assistant listens to all foreground sounds and describes the scene at the last one: only that responds."

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return the number of sounds in the scene."""
        return {"count": len(clips)} if len(clips) > 1 else None

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Describe all sounds at the last one."""
        sounds = ", then ".join(describe(clip)[0] for clip in clips)
        return [
            respond_with("response_scene_description", sounds=sounds) if number == brief["count"] else []
            for number, _ in enumerate(clips, 1)
        ]


QUESTION_POLICIES = (
    AudioOpenQa(),
    ChoiceQa(Task.AUDIO_CHOICE_QA, "Answer a multiple-choice question about the sounds.", music=False),
    ChoiceQa(Task.MUSIC_CHOICE_QA, "Answer a multiple-choice question about music.", music=True),
    SceneDescription(),
)
