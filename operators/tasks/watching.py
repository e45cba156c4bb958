"""Watch for one sound among others: count it, report it, or act when a condition is met."""

from __future__ import annotations

from collections import Counter
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
    is_distinct,
    label_name,
    respond_with,
)
from soundflow.schemas.clip import Clip
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task

REPEAT_SHARE: Final = 0.4
"""Probability that an event after the third is the watched sound again."""


class WatchedSoundPolicy(SoundPolicy):
    """Base of the sub-tasks that watch for one sound: it plays at least twice, among sounds that share no word with its name."""

    task_rule = (
        "one kind of sound comes at least twice in the foreground, among others of quite another kind. Set responds to true for "
        "the events of that kind and to false for all others."
    )

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return labelled sounds, and those of which there is another one of the same label."""
        return {"labelled sounds": palette.sounds, "labelled sounds with another of the same label": palette.of_kind("repeated")}

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick the watched sound for two of the first three events, and with probability REPEAT_SHARE for later ones."""
        watched = selection.draw_group("sound to watch for", selection.palette.of_kind("repeated"), lambda clip: clip.name)
        index_of_other = selection.draw_once("of the first three another sound", 3)
        is_watched = index != index_of_other if index < 3 else bool(selection.rng.random() < REPEAT_SHARE)
        chosen = selection.pick(watched) if is_watched and watched else None
        if chosen is not None:
            return chosen
        name = watched[0].name if watched else ""
        return selection.pick([clip for clip in selection.palette.sounds if is_distinct(clip.name, name)], strict=optional)

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Exclude the sounds that the instruction names."""
        return all(is_distinct(label_name(label), str(brief[key])) for key in ("sound", "first") if key in brief)

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return the most frequent sound as the one to watch for."""
        return draw_watched_sound(clips, rng)

    def count_watched(self, brief: Brief, clips: Sequence[ClipLike]) -> list[int]:
        """Return for each clip how often the watched sound has played up to and including it; 0 for other sounds."""
        count, counts = 0, []
        for clip in clips:
            is_watched = clip.kind == "sound" and clip_name(clip) == brief["sound"]
            count += is_watched
            counts.append(count if is_watched else 0)
        return counts


def draw_watched_sound(clips: Sequence[ClipLike], rng: np.random.Generator) -> Brief | None:
    """Draw one of the most frequent names that share no word with any other; None when none plays twice."""
    counts = Counter(clip_name(clip) for clip in clips if clip.kind == "sound")
    unique = {name: count for name, count in counts.items() if all(is_distinct(name, other) for other in counts if other != name)}
    most = max(unique.values(), default=0)
    names = [name for name, count in unique.items() if count == most]
    return {"sound": names[int(rng.integers(len(names)))]} if most > 1 else None


class EventCounting(WatchedSoundPolicy):
    """Count one sound."""

    task = Task.EVENT_COUNTING
    summary = "Count the occurrences of one sound."

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Say the count at each occurrence."""
        counts = self.count_watched(brief, clips)
        return [respond_with("response_event_counting", count=count, **brief) if count else [] for count in counts]


class StandingInstruction(WatchedSoundPolicy):
    """Report one sound whenever it occurs."""

    task = Task.STANDING_INSTRUCTION
    summary = "Report every occurrence of a sound named in the instruction."

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Report each occurrence."""
        counts = self.count_watched(brief, clips)
        return [respond_with("response_standing_instruction", **brief) if count else [] for count in counts]


class ConditionalTrigger(WatchedSoundPolicy):
    """Say a phrase when one sound has occurred a number of times, or occurs after another sound."""

    task = Task.CONDITIONAL_TRIGGER
    summary = "Respond with a given phrase once a condition is met."
    task_rule = (
        "one kind of sound comes at least twice in the foreground, among others of quite another kind. Set responds to true for "
        "the second event of that kind and to false for all others."
    )

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Draw the phrase and its condition: a number of times, or another sound that comes first."""
        watched = draw_watched_sound(clips, rng)
        if watched is None:
            return None
        phrases = prompts.variants("phrase_conditional_trigger")
        brief = watched | {"phrase": phrases[int(rng.integers(len(phrases)))]}
        names = [clip_name(clip) for clip in clips]
        last = len(names) - 1 - names[::-1].index(str(watched["sound"]))
        before = [name for place, name in enumerate(names[:last]) if name != watched["sound"] and names.index(name) == place]
        unique = [name for name in before if all(is_distinct(name, other) for other in names if other != name)]
        if unique and rng.random() < 0.5:
            return brief | {"first": unique[int(rng.integers(len(unique)))]}
        return brief | {"times": int(rng.integers(2, names.count(str(watched["sound"])) + 1))}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings for the kind of condition."""
        return prompts.variants("instruction_conditional_trigger" + ("_after" if "first" in brief else ""), **brief)

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Say the phrase once, where the condition is first met."""
        names = [clip_name(clip) if clip.kind == "sound" else "" for clip in clips]
        first, times = brief.get("first"), brief.get("times", 1)
        is_armed = first is None
        options: StreamOptions = []
        for name, count in zip(names, self.count_watched(brief, clips), strict=True):
            is_met = is_armed and isinstance(times, int) and count >= times and not any(options)
            options.append([ResponseOption(str(brief["phrase"]), "template")] if is_met and count else [])
            is_armed = is_armed or name == first
        return options
