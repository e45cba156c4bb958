"""What the sub-tasks about speech share: one voice a stream, and now and then a sound to stay silent at."""

from __future__ import annotations

from collections.abc import Sequence

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Casting, Policy
from soundflow.schemas.scenario import Scenario


class SpokenPolicy(Policy):
    """Foreground of speech, with distractors."""

    spoken = True
    what = "speech clips with a transcript"
    """What it needs, for people."""

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Speech whose words are known."""
        return {self.what: self.speech(palette)}

    def speech(self, palette: Palette) -> Candidates:
        """The speech it plays."""
        return palette.speech

    def distractors(self, palette: Palette) -> Candidates:
        """The sounds it stays silent at."""
        return palette.sounds

    def scenery(self, palette: Palette) -> Sequence[Candidates]:
        """Speech happens anywhere: the distractors decide the place."""
        return [self.distractors(palette)]

    def contradiction(self, scenario: Scenario) -> str:
        """Without speech there is nothing to do."""
        return "" if any(event.responds for event in scenario.events) else "nobody speaks: responds must be true for some speech"

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """Speech, or with probability `distractor_share` a sound (never first)."""
        sounds = self.distractors(cast.palette)
        if turn and sounds and cast.rng.random() < cast.scene.distractor_share:
            cast.note(f"event {turn} is a distractor", True)
            distractor = cast.pick(sounds, strict=True)
            if distractor is not None:
                return distractor
        return self.spoken_turn(cast, strict)

    def spoken_turn(self, cast: Casting, strict: bool) -> str | None:
        """Somebody speaks: the stream's voice, as long as it has something to say. `strict`: the stream could end here."""
        return one_voice(cast, self.speech(cast.palette))


def one_voice(cast: Casting, clips: Candidates) -> str | None:
    """A clip of the stream's voice, else of any."""
    return cast.pick(cast.alike("voice", clips, lambda clip: clip.speaker)) or cast.pick(clips)
