"""Transcribe speech while it is being spoken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipLike, ResponseOption
from soundflow.operators.tasks.spoken import SpokenPolicy
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task, speech_style


class StreamingAsr(SpokenPolicy):
    """Real-time ASR: each chunk is answered with the words that end in it. Without word times, each utterance at its end."""

    task = Task.STREAMING_ASR
    summary = "Transcribe any speech."
    task_rule = (
        "the assistant writes down what is said. Speech in the foreground is answered with its words, every other sound is not. "
        "Of speech, sound is the words that are said, as the bag has them."
    )

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return aligned speech only, if there is any: a stream is transcribed either by word or by utterance."""
        return palette.aligned or palette.speech

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return whether the stream is transcribed by word or by utterance."""
        speech = [clip for clip in clips if clip.kind == "speech"]
        return {"by": "word" if speech and all(clip.words for clip in speech) else "utterance"}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the same wordings for all styles of speech."""
        return prompts.variants("instruction_streaming_asr" + ("" if brief["by"] == "word" else "_utterance"))

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Return the transcript."""
        if clip.kind != "speech" or clip.transcript is None:
            return []
        return [ResponseOption(clip.transcript, "transcript")]

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Schedule each word at its end; words that end in one chunk become one response."""
        if not clip.words or option.text != clip.transcript:
            return super().schedule(clip, option, scene)
        return tuple(
            SceneResponse(text=word.text, source=option.source, evidence=max(word.end, 1), joins=True) for word in clip.words
        )


class AsrOfStyle(StreamingAsr):
    """Real-time ASR of one style of speech: see `schemas.taxonomy.speech_style`."""

    def __init__(self, task: Task, summary: str, style: str) -> None:
        self.task, self.summary = task, summary
        self.speech_description = f"speech clips with a transcript: {style}"

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return the speech of this style."""
        return palette.of_kind(self.task)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept speech of this style for events with a response."""
        style = speech_style(clip.label, clip.language, clip.source)
        return super().can_play(clip, responds) and (not responds or style is self.task)


ASR_POLICIES = (
    AsrOfStyle(Task.ASR_ENGLISH, "Transcribe English speech.", "English"),
    AsrOfStyle(
        Task.ASR_ACCENTED,
        "Transcribe accented English and languages other than English and Chinese.",
        "accented, or neither English nor Chinese",
    ),
    AsrOfStyle(
        Task.ASR_IN_THE_WILD,
        "Transcribe spontaneous, telephone or noisy speech.",
        "with a word such as `telephone` or `spontaneous` in the label",
    ),
    AsrOfStyle(Task.ASR_MANDARIN, "Transcribe Mandarin speech.", "Chinese"),
)
