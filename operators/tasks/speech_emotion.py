"""Say how a speaker feels, by the voice."""

from __future__ import annotations

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, ResponseOption
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, emotion


class SpeechEmotion(SoundPolicy):
    """Streaming audio understanding: the emotion of speech with an emotion label, and of laughs, cries and screams."""

    task = Task.SPEECH_EMOTION
    summary = "Name the emotion of a voice."
    task_rule = "the assistant says how a person feels once the voice has been heard. Sounds that are no voices are not answered."

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return the clips whose label names an emotion."""
        return {"speech and voices with a feeling in the label": palette.of_kind("emotion")}

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick a voice or, with probability `distractor_share` and never first, a benign sound without emotion."""
        if index and selection.rng.random() < selection.scene.distractor_share:
            neutral = [clip for clip in selection.palette.benign if not emotion(clip.name)]
            distractor = selection.pick(neutral, strict=True)
            if distractor is not None:
                return distractor
        return selection.pick(selection.palette.of_kind("emotion"))

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Exclude voices with an emotion."""
        return not emotion(label)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept clips whose label names an emotion for events with a response."""
        return bool(emotion(clip.label)) == responds

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Name the emotion."""
        feeling = emotion(clip.label)
        texts = prompts.variants("response_speech_emotion", feeling=feeling) if feeling else []
        return [ResponseOption(text, "label") for text in texts]
