"""Several tasks in one stream: answer what is said, warn of dangers, report a sound that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Casting, Policy, Script, Sounding, apart, called, name_of
from soundflow.operators.tasks.proactive_respond import ProactiveRespond
from soundflow.operators.tasks.spoken import one_voice
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.operators.tasks.watching import say
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task


class MixedTask(Policy):
    """Voice chat, proactive response and a standing instruction, with benign sounds between."""

    task = Task.MIXED_TASK
    in_order = True
    task_rule = "the assistant answers speech, warns of dangers and reports one kind of benign sound; others are not answered."
    chat, alerts = VoiceChat(), ProactiveRespond()

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """All three kinds."""
        return {
            "speech clips with a reply that need no turn before them": palette.of_kind("alone"),
            "sounds that call for a response": palette.hazards,
            "benign sounds": palette.benign,
        }

    def scenery(self, palette: Palette) -> Sequence[Candidates]:
        """Speech happens anywhere."""
        return [palette.hazards, palette.benign]

    def backdrop(self, palette: Palette) -> Candidates:
        """Only what was recorded as background."""
        return palette.background

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """Each kind once among the first three events, in any order; then any."""
        kind = (cast.once("the first kind", 3) + turn) % 3 if turn < 3 else int(cast.rng.integers(3))
        if kind == 0:
            return one_voice(cast, cast.palette.of_kind("alone"))
        return cast.pick(cast.palette.hazards if kind == 1 else cast.palette.benign)

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """The benign sound to report, which shares no word with any other sound."""
        sounds = [clip for clip in clips if clip.kind == "sound"]
        names = {name_of(clip) for clip in sounds}
        benign = [name_of(clip) for clip in sounds if not self.alerts.alarms(clip)]
        clear = [name for name in benign if all(apart(name, other) for other in names if other != name)]
        return {"sound": clear[int(rng.integers(len(clear)))]} if clear else None

    def behind(self, brief: Brief, label: str) -> bool:
        """Not the sound to report."""
        return apart(called(label), str(brief["sound"]))

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """Whatever each clip calls for."""
        return [
            self.chat.answers(clip)
            or self.alerts.answers(clip)
            or (say("response_standing_instruction", **brief) if clip.kind == "sound" and name_of(clip) == brief["sound"] else [])
            for clip in clips
        ]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """As in a voice chat."""
        return self.chat.responses(clip, answer, scene)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Anything."""
        return True
