"""Base of the sub-tasks about speech: one voice per stream, with sounds in between that get no response."""

from __future__ import annotations

from collections.abc import Sequence

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipSelection, Policy
from soundflow.schemas.scenario import Scenario


class SpokenPolicy(Policy):
    """Speech in the foreground, with distractor sounds."""

    responds_to_speech = True
    speech_description = "speech clips with a transcript"
    """Names `speech_clips` in error messages."""

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return the speech clips."""
        return {self.speech_description: self.speech_clips(palette)}

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return the speech that foreground events are drawn from."""
        return palette.speech

    def distractor_clips(self, palette: Palette) -> Candidates:
        """Return the foreground sounds that get no response."""
        return palette.sounds

    def place_bound_clips(self, palette: Palette) -> Sequence[Candidates]:
        """Return the distractors: speech fits any place."""
        return [self.distractor_clips(palette)]

    def find_contradiction(self, scenario: Scenario) -> str:
        """Report a scenario without speech that gets a response."""
        return "" if any(event.responds for event in scenario.events) else "nobody speaks: responds must be true for some speech"

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick speech or, with probability `distractor_share` and never first, a distractor."""
        sounds = self.distractor_clips(selection.palette)
        if index and sounds and selection.rng.random() < selection.scene.distractor_share:
            selection.record(f"event {index} is a distractor", True)
            distractor = selection.pick(sounds, strict=True)
            if distractor is not None:
                return distractor
        return self.choose_speech(selection, optional)

    def choose_speech(self, selection: ClipSelection, optional: bool) -> str | None:
        """Pick the next utterance; see `choose_foreground`."""
        return pick_same_voice(selection, self.speech_clips(selection.palette))


def pick_same_voice(selection: ClipSelection, clips: Candidates) -> str | None:
    """Pick a clip of the stream's voice; of any voice when that one has no unused clip."""
    return selection.pick(selection.draw_group("voice", clips, lambda clip: clip.speaker)) or selection.pick(clips)
