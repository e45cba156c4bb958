"""One sound to watch for among others: count it, report it, or act when a condition is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import Answer, Casting, Script, Sounding, apart, called, name_of
from soundflow.schemas.clip import Clip
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task

MORE: Final = 0.4
"""Chance that an event after the third is the watched sound once more."""


class Watching(SoundPolicy):
    """Casts a sound of which there are several recordings, at least twice, among others that share no word with its name."""

    task_rule = (
        "one kind of sound comes at least twice in the foreground, among others of quite another kind. Set responds to true for "
        "the events of that kind and to false for all others."
    )

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Labels with several sounds."""
        return {"labelled sounds": palette.sounds, "labelled sounds with another of the same label": palette.of_kind("repeated")}

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """The watched sound in two of the first three events, later now and then."""
        watched = cast.alike("sound to watch for", cast.palette.of_kind("repeated"), lambda clip: clip.name)
        other = cast.once("of the first three another sound", 3)
        wanted = turn != other if turn < 3 else bool(cast.rng.random() < MORE)
        found = cast.pick(watched) if wanted and watched else None
        if found is not None:
            return found
        name = watched[0].name if watched else ""
        return cast.pick([clip for clip in cast.palette.sounds if apart(clip.name, name)], strict)

    def behind(self, brief: Brief, label: str) -> bool:
        """Not what is watched for."""
        return all(apart(called(label), str(brief[what])) for what in ("sound", "first") if what in brief)

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """The sound that comes most often."""
        return watched_for(clips, rng)

    def again(self, brief: Brief, clips: Sequence[Sounding]) -> list[int]:
        """For each clip how often the watched sound has been heard, counting it; 0 for other sounds."""
        heard, times = 0, []
        for clip in clips:
            is_it = clip.kind == "sound" and name_of(clip) == brief["sound"]
            heard += is_it
            times.append(heard if is_it else 0)
        return times


def watched_for(clips: Sequence[Sounding], rng: np.random.Generator) -> Brief | None:
    """Of the names that come most often, and share no word with any other, one; None when none comes twice."""
    counts = Counter(name_of(clip) for clip in clips if clip.kind == "sound")
    clear = {name: count for name, count in counts.items() if all(apart(name, other) for other in counts if other != name)}
    most = max(clear.values(), default=0)
    names = [name for name, count in clear.items() if count == most]
    return {"sound": names[int(rng.integers(len(names)))]} if most > 1 else None


def say(template: str, **values: object) -> list[Answer]:
    """Every variant of a template."""
    return [Answer(text, "template") for text in prompts.variants(template, **values)]


class EventCounting(Watching):
    """A running count of one sound."""

    task = Task.EVENT_COUNTING

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """How often so far, each time."""
        times = self.again(brief, clips)
        return [say("response_event_counting", count=count, **brief) if count else [] for count in times]


class StandingInstruction(Watching):
    """Whenever you hear this, tell me."""

    task = Task.STANDING_INSTRUCTION

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """Each time."""
        return [say("response_standing_instruction", **brief) if count else [] for count in self.again(brief, clips)]


class ConditionalTrigger(Watching):
    """When you have heard it so often, or after another sound, say this."""

    task = Task.CONDITIONAL_TRIGGER
    task_rule = (
        "one kind of sound comes at least twice in the foreground, among others of quite another kind. Set responds to true for "
        "the second event of that kind and to false for all others."
    )

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """A number of times, or another sound that comes first; and what to say then."""
        watched = watched_for(clips, rng)
        if watched is None:
            return None
        phrases = prompts.variants("phrase_conditional_trigger")
        told = watched | {"phrase": phrases[int(rng.integers(len(phrases)))]}
        names = [name_of(clip) for clip in clips]
        last = len(names) - 1 - names[::-1].index(str(watched["sound"]))
        before = [name for place, name in enumerate(names[:last]) if name != watched["sound"] and names.index(name) == place]
        clear = [name for name in before if all(apart(name, other) for other in names if other != name)]
        if clear and rng.random() < 0.5:
            return told | {"first": clear[int(rng.integers(len(clear)))]}
        return told | {"times": int(rng.integers(2, names.count(str(watched["sound"])) + 1))}

    def instructions(self, brief: Brief) -> list[str]:
        """For either kind of condition."""
        return prompts.variants("instruction_conditional_trigger" + ("_after" if "first" in brief else ""), **brief)

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """Once, where the condition is met first."""
        names = [name_of(clip) if clip.kind == "sound" else "" for clip in clips]
        awaited, times = brief.get("first"), brief.get("times", 1)
        ready = awaited is None
        script: Script = []
        for name, count in zip(names, self.again(brief, clips), strict=True):
            met = ready and isinstance(times, int) and count >= times and not any(script)
            script.append([Answer(str(brief["phrase"]), "template")] if met and count else [])
            ready = ready or name == awaited
        return script
