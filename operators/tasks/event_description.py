"""Name every foreground sound once it has ended. The smallest policy: read it first."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, Policy, ResponseOption, respond_with_description
from soundflow.schemas.scenario import Scenario
from soundflow.schemas.taxonomy import Task


class SoundPolicy(Policy):
    """Base of the sub-tasks about sounds: labelled sounds in the foreground, background recordings behind them."""

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return the labelled foreground sounds."""
        return {"labelled sounds": palette.sounds}

    def background_clips(self, palette: Palette) -> Candidates:
        """Return background recordings only: a foreground sound without a response would be a wrong label."""
        return palette.background

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick any labelled sound."""
        return selection.pick(selection.palette.sounds, strict=optional)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept any sound: which sounds get a response depends on the whole stream."""
        return clip.kind == "sound"


class EventDescription(SoundPolicy):
    """Streaming audio understanding: event description."""

    task = Task.EVENT_DESCRIPTION
    summary = "Name every foreground sound when it ends."
    task_rule = (
        "the assistant names every foreground sound once it has been heard, so every foreground event is answered. Speech is no "
        "event of this task."
    )
    response_rule = "One short sentence that names the sound in plain words and says what it tells, as if it had just been heard."

    def find_contradiction(self, scenario: Scenario) -> str:
        """Report a foreground event without a response."""
        silent = next((event for event in scenario.events if event.role == "foreground" and not event.responds), None)
        return f"event {silent.order} is in the foreground, so responds must be true" if silent else ""

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Say what the sound was."""
        return respond_with_description("response_event_description", clip)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept any clip, for an event with a response."""
        return bool(self.respond_to_clip(clip)) == responds
