"""Write down what is said while it is said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Sounding
from soundflow.operators.tasks.spoken import SpokenPolicy
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task, speech_style


class StreamingAsr(SpokenPolicy):
    """Real-time ASR: in each chunk the words that end in it; an utterance at a time where no words have times."""

    task = Task.STREAMING_ASR
    task_rule = (
        "the assistant writes down what is said. Speech in the foreground is answered with its words, every other sound is not. "
        "Of speech, sound is the words that are said, as the bag has them."
    )

    def speech(self, palette: Palette) -> Candidates:
        """Only speech whose words have times, where there is any: a stream keeps one way of writing."""
        return palette.aligned or palette.speech

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Word by word, or utterance by utterance."""
        spoken = [clip for clip in clips if clip.kind == "speech"]
        return {"by": "word" if spoken and all(clip.words for clip in spoken) else "utterance"}

    def instructions(self, brief: Brief) -> list[str]:
        """The same for all kinds of speech."""
        return prompts.variants("instruction_streaming_asr" + ("" if brief["by"] == "word" else "_utterance"))

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its words."""
        return [] if clip.kind != "speech" or clip.transcript is None else [Answer(clip.transcript, "transcript")]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Each word when it has ended; words that end in one chunk become one response there."""
        if not clip.words or answer.text != clip.transcript:
            return super().responses(clip, answer, scene)
        return tuple(
            SceneResponse(text=word.text, source=answer.source, evidence=max(word.end, 1), joins=True) for word in clip.words
        )


class AsrOf(StreamingAsr):
    """One kind of speech: see `schemas.taxonomy.speech_style`."""

    def __init__(self, task: Task, what: str) -> None:
        self.task, self.what = task, f"speech clips with transcript and language: {what}"

    def speech(self, palette: Palette) -> Candidates:
        """Of the kind."""
        return palette.of_kind(self.task)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Speech of the kind, or no speech."""
        kind = speech_style(clip.label, clip.language, clip.source)
        return super().suits(clip, responds) and (not responds or kind is self.task)


ASR = (
    AsrOf(Task.ASR_ENGLISH, "English"),
    AsrOf(Task.ASR_ACCENTED, "accented, or neither English nor Chinese"),
    AsrOf(Task.ASR_IN_THE_WILD, "with a word such as `telephone` or `spontaneous` in the label"),
    AsrOf(Task.ASR_MANDARIN, "Chinese"),
)
