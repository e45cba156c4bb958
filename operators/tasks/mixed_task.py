"""Several tasks in one stream: reply to speech, warn of hazards and report one requested sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import (
    ClipLike,
    ClipSelection,
    Policy,
    ResponseOption,
    StreamOptions,
    clip_name,
    is_distinct,
    label_name,
    respond_with,
)
from soundflow.operators.tasks.proactive_respond import ProactiveRespond
from soundflow.operators.tasks.spoken import pick_same_voice
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task


class MixedTask(Policy):
    """Voice chat, proactive response and a standing instruction, with benign sounds in between."""

    task = Task.MIXED_TASK
    summary = "Chat, warn of hazards and watch for a sound in one stream."
    has_fixed_order = True
    task_rule = "the assistant answers speech, warns of dangers and reports one kind of benign sound; others are not answered."
    chat, alerts = VoiceChat(), ProactiveRespond()

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return all three kinds of clips."""
        return {
            "speech clips with a reply that need no turn before them": palette.of_kind("alone"),
            "sounds that call for a response": palette.hazards,
            "benign sounds": palette.benign,
        }

    def place_bound_clips(self, palette: Palette) -> Sequence[Candidates]:
        """Return the sounds: speech fits any place."""
        return [palette.hazards, palette.benign]

    def background_clips(self, palette: Palette) -> Candidates:
        """Return background recordings only."""
        return palette.background

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick each kind once among the first three events, starting with a random one; then any kind."""
        kind = (selection.draw_once("the first kind", 3) + index) % 3 if index < 3 else int(selection.rng.integers(3))
        if kind == 0:
            return pick_same_voice(selection, selection.palette.of_kind("alone"))
        return selection.pick(selection.palette.hazards if kind == 1 else selection.palette.benign)

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Draw the benign sound to report. Its name shares no word with that of any other sound."""
        sounds = [clip for clip in clips if clip.kind == "sound"]
        names = {clip_name(clip) for clip in sounds}
        benign = [clip_name(clip) for clip in sounds if not self.alerts.is_hazard(clip)]
        unique = [name for name in benign if all(is_distinct(name, other) for other in names if other != name)]
        return {"sound": unique[int(rng.integers(len(unique)))]} if unique else None

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Exclude the sound to report."""
        return is_distinct(label_name(label), str(brief["sound"]))

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Reply to speech, warn of hazards, report the sound of the brief."""
        return [
            self.chat.respond_to_clip(clip)
            or self.alerts.respond_to_clip(clip)
            or (
                respond_with("response_standing_instruction", **brief)
                if clip.kind == "sound" and clip_name(clip) == brief["sound"]
                else []
            )
            for clip in clips
        ]

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Schedule as in a voice chat."""
        return self.chat.schedule(clip, option, scene)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept any clip."""
        return True
