"""Questions about the sounds of a stream: open ones, and choices between options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import Answer, Casting, Script, Sounding, about, apart, called, describe, name_of
from soundflow.operators.tasks.watching import say
from soundflow.schemas.clip import Clip
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, is_music

QUESTIONS_ASKED: Final = ("first", "second", "kinds", "spoken")
"""What the instruction asks; the last: it is asked in the stream."""
LETTERS: Final = "ABCD"
HEARD: Final = 2
"""So many of the options are heard, where the stream has them."""


class AudioOpenQa(SoundPolicy):
    """A question about the stream as a whole in the instruction; or spoken questions in between, where the index has such."""

    task = Task.AUDIO_OPEN_QA
    task_rule = (
        "the assistant listens to all foreground sounds and answers a question about them at the last one: only that responds."
    )

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """Sounds; spoken questions never first, and never two in a row."""
        asked = [clip for kind in ("last", "first", "count") for clip in cast.palette.of_kind(f"question:sound_{kind}")]
        if asked and cast.once("questions are spoken", 2) and turn % 2 == 1 + cast.once("the first question waits", 2):
            question = cast.pick(asked)
            if question is not None:
                return question
        return cast.pick(cast.palette.sounds, strict)

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Spoken; else which of how many is asked for."""
        if any(clip.kind == "speech" for clip in clips):
            return {"question": "spoken"}
        question = QUESTIONS_ASKED[int(rng.integers(3))]
        return {"question": question, "count": len(clips)} if len(clips) > 1 else None

    def instructions(self, brief: Brief) -> list[str]:
        """For the question."""
        if brief["question"] not in QUESTIONS_ASKED:
            raise ValueError(f"no such question: {brief['question']}")
        return prompts.variants(f"instruction_audio_open_qa_{brief['question']}", **brief)

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """At each spoken question, or once at the last of the sounds that are asked about."""
        script: Script = []
        before: list[Sounding] = []
        for clip in clips:
            if clip.kind == "speech":
                kind = prompts.asked(clip.transcript or "") if brief["question"] == "spoken" else ""
                script.append(_told(kind.removeprefix("sound_"), before) if before and kind.startswith("sound_") else [])
                continue
            before.append(clip)
            script.append(_told(str(brief["question"]), before) if len(before) == brief.get("count") else [])
        return script


def _told(question: str, heard: Sequence[Sounding]) -> list[Answer]:
    """The answer to a question about the sounds heard so far; none when there is none."""
    if question == "count":
        return say("response_sound_count", count=len(heard))
    if question == "kinds":
        return say("response_sound_kinds", count=len({name_of(clip) for clip in heard}))
    place = {"first": 0, "second": 1, "last": -1}.get(question)
    return about("response_event_description", heard[place]) if place is not None and place < len(heard) else []


class ChoiceQa(SoundPolicy):
    """Options with letters in the instruction; the letter and the text of an option when it is heard."""

    task_rule = (
        "some of the foreground sounds are options of a multiple-choice question and are answered with their letter when they "
        "are heard; all others are not."
    )

    def __init__(self, task: Task, *, music: bool) -> None:
        self.task, self.music = task, music

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Sounds, or music."""
        return {"pieces of music": palette.of_kind("music")} if self.music else super().needs(palette)

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """Any."""
        return cast.pick(next(iter(self.needs(cast.palette).values())), strict and not self.music)

    def behind(self, brief: Brief, label: str) -> bool:
        """No option, and no music where music is asked about."""
        return all(apart(called(label), option) for option in _options(brief)) and not (self.music and is_music(label))

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Three or four names that share no word: one or two that are heard, the others, as far as there are any, of sounds that
        are not; in any order."""
        heard = list(dict.fromkeys(name_of(clip) for clip in clips if clip.kind == "sound"))
        clear = [name for name in heard if all(apart(name, other) for other in heard if other != name)]
        musical = {name_of(clip) for clip in clips if is_music(clip.label, clip.caption)}
        clear = [name for name in clear if name in musical] if self.music else clear
        in_front = [clear[int(place)] for place in rng.permutation(len(clear))]
        options = in_front[:HEARD]
        if not options:
            return None
        pool = palette.of_kind("music") if self.music else palette.sounds
        for place in rng.permutation(len(pool)):
            name = pool[int(place)].name
            if len(options) < len(LETTERS) and all(apart(name, other) for other in (*heard, *options)):
                options.append(name)
        options += in_front[HEARD : HEARD + max(HEARD + 1 - len(options), 0)]
        if len(options) < HEARD + 1:
            return None
        return {"options": tuple(options[int(place)] for place in rng.permutation(len(options)))}

    def instructions(self, brief: Brief) -> list[str]:
        """With the options, each behind its letter."""
        listed = "; ".join(f"{letter}: {option}" for letter, option in zip(LETTERS, _options(brief), strict=False))
        return prompts.variants("instruction_music_choice_qa" if self.music else "instruction_audio_choice_qa", options=listed)

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """Letter and text of what is an option."""
        letters = dict(zip(_options(brief), LETTERS, strict=False))
        names = [name_of(clip) if clip.kind == "sound" else "" for clip in clips]
        return [[Answer(f"{letters[name]}: {name}", "label")] if name in letters else [] for name in names]


def _options(brief: Brief) -> tuple[str, ...]:
    options = brief["options"]
    return options if isinstance(options, tuple) else ()


class SceneDescription(SoundPolicy):
    """What happened, told once, when all of it has been heard."""

    task = Task.SCENE_DESCRIPTION
    task_rule = "the assistant listens to all foreground sounds and describes the scene at the last one: only that responds."

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """How many sounds make the scene."""
        return {"count": len(clips)} if len(clips) > 1 else None

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """At its end."""
        sounds = [describe(clip)[0] for clip in clips]
        told = ", then ".join(sounds)
        return [
            say("response_scene_description", sounds=told) if place == brief["count"] else [] for place, _ in enumerate(clips, 1)
        ]


QUESTIONS = (
    AudioOpenQa(),
    ChoiceQa(Task.AUDIO_CHOICE_QA, music=False),
    ChoiceQa(Task.MUSIC_CHOICE_QA, music=True),
    SceneDescription(),
)
