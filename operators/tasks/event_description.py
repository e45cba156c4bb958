"""Name every foreground sound once it has been heard."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Casting, Policy, Sounding, about
from soundflow.schemas.scenario import Scenario
from soundflow.schemas.taxonomy import Task


class SoundPolicy(Policy):
    """What the sub-tasks about sounds share: labelled sounds in front, and behind them only what was recorded as background."""

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Labelled sounds."""
        return {"labelled sounds": palette.sounds}

    def backdrop(self, palette: Palette) -> Candidates:
        """Only what was recorded as background: a foreground sound that is not answered would be a mistake."""
        return palette.background

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """A labelled sound."""
        return cast.pick(cast.palette.sounds, strict)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Any sound: who is answered follows from the whole stream, not from the clip."""
        return clip.kind == "sound"


class EventDescription(SoundPolicy):
    """Streaming audio understanding: event description."""

    task = Task.EVENT_DESCRIPTION
    task_rule = (
        "the assistant names every foreground sound once it has been heard, so every foreground event is answered. Speech is no "
        "event of this task."
    )
    response_rule = "One short sentence that names the sound in plain words and says what it tells, as if it had just been heard."

    def contradiction(self, scenario: Scenario) -> str:
        """Every foreground event is answered."""
        silent = next((event for event in scenario.events if event.role == "foreground" and not event.responds), None)
        return f"event {silent.order} is in the foreground, so responds must be true" if silent else ""

    def answers(self, clip: Sounding) -> list[Answer]:
        """What it was."""
        return about("response_event_description", clip)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Whatever is answered."""
        return bool(self.answers(clip)) == responds
