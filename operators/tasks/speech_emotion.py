"""Say how somebody feels, by the voice."""

from __future__ import annotations

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import Answer, Casting, Sounding
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, emotion


class SpeechEmotion(SoundPolicy):
    """Streaming audio understanding: emotion, of speech with a label that tells it and of laughs, cries and screams."""

    task = Task.SPEECH_EMOTION
    task_rule = "the assistant says how a person feels once the voice has been heard. Sounds that are no voices are not answered."

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Voices with a feeling."""
        return {"speech and voices with a feeling in the label": palette.of_kind("emotion")}

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """A voice or, with probability `distractor_share` and never first, a benign sound that tells no feeling."""
        if turn and cast.rng.random() < cast.scene.distractor_share:
            other = cast.pick([clip for clip in cast.palette.benign if not emotion(clip.name)], strict=True)
            if other is not None:
                return other
        return cast.pick(cast.palette.of_kind("emotion"))

    def behind(self, brief: Brief, label: str) -> bool:
        """No voices with a feeling."""
        return not emotion(label)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """By the label."""
        return bool(emotion(clip.label)) == responds

    def answers(self, clip: Sounding) -> list[Answer]:
        """The feeling."""
        feeling = emotion(clip.label)
        texts = prompts.variants("response_speech_emotion", feeling=feeling) if feeling else []
        return [Answer(text, "label") for text in texts]
