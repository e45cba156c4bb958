"""Translate speech while it is being spoken, or sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette, direction
from soundflow.operators.speech.clauses import LAG, wait_k
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, ResponseOption, turn_end
from soundflow.operators.tasks.spoken import SpokenPolicy, pick_same_voice
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task

LANGUAGES: Final = {
    "de": "German", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese",
}  # fmt: skip
"""Names of languages in the instruction. Other languages are referred to by their code."""


class SimultaneousInterpretation(SpokenPolicy):
    """The translation in segments, each due at the end of the clauses it translates. A stream has one pair of languages."""

    task = Task.SIMULTANEOUS_INTERPRETATION
    summary = "Interpret between any two languages."
    speech_description = "aligned speech clips with language, translation and translation_language"
    task_rule = (
        "the assistant interprets what is said into another language, clause by clause. Speech in the foreground is answered, "
        "every other sound is not. Of speech, sound is the words that are said, as the bag has them."
    )

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return aligned speech with a translation."""
        return palette.translated

    def choose_speech(self, selection: ClipSelection, optional: bool) -> str | None:
        """Pick speech in the stream's direction, of the stream's voice as long as it has any."""
        clips = selection.draw_group("direction", self.speech_clips(selection.palette), lambda clip: clip.direction)
        return pick_same_voice(selection, clips)

    def can_play_with(self, clip: Clip, others: Sequence[Clip]) -> bool:
        """Accept speech in one direction only: the instruction names one target language."""
        interpreted = (other for other in (clip, *others) if self.respond_to_clip(other))
        return len({direction(other.language, other.translation_language) for other in interpreted}) <= 1

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept a translation between two known languages for events with a response."""
        has_direction = bool(direction(clip.language, clip.translation_language))
        return super().can_play(clip, responds) and (not responds or has_direction)

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Return the translation."""
        if clip.kind != "speech" or not clip.translation or not clip.translation_language:
            return []
        return [ResponseOption(clip.translation, clip.interpreter or f"translation:wait-{LAG}")]

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Schedule the clip's segments, or those of wait-k; without word times, the whole translation at the end."""
        if not clip.words or option.text != clip.translation:
            return super().schedule(clip, option, scene)
        ends = [*(max(word.end, 1) for word in clip.words[:-1]), turn_end(clip)]
        return tuple(
            SceneResponse(text=segment.text, source=option.source, evidence=ends[segment.words - 1], joins=True)
            for segment in clip.segments or wait_k(clip.words, option.text)
        )

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return the target language."""
        code = next((clip.translation_language for clip in clips if clip.translation), "").partition("-")[0]
        return {"language": LANGUAGES.get(code, code or "the other language")}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the same wordings for all directions."""
        return prompts.variants("instruction_simultaneous_interpretation", **brief)


class DirectedInterpretation(SimultaneousInterpretation):
    """Simultaneous interpretation in one direction."""

    def __init__(self, task: Task, summary: str, languages: str, source: str, target: str) -> None:
        self.task, self.summary = task, summary
        self.speech_description = f"aligned speech clips with a translation from {languages}"
        self.direction = direction(source, target)

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return speech in this direction."""
        return palette.of_kind(self.task)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept speech in this direction for events with a response."""
        fits = direction(clip.language, clip.translation_language) == self.direction
        return super().can_play(clip, responds) and (not responds or fits)


class SentenceTranslation(DirectedInterpretation):
    """Translation in one direction: each utterance as a whole, at its end."""

    task_rule = (
        "the assistant translates each utterance when it has ended. Speech in the foreground is answered, every other sound is "
        "not. Of speech, sound is the words that are said, as the bag has them."
    )

    def __init__(self, task: Task, summary: str, languages: str, source: str, target: str) -> None:
        super().__init__(task, summary, languages, source, target)
        self.speech_description = f"speech clips with a translation from {languages}"

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Return the translation; its source names the model if a model wrote it."""
        source = clip.interpreter if clip.interpreter.startswith("llm:") else "translation"
        return [option._replace(source=source) for option in super().respond_to_clip(clip)]

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Schedule the translation at the end of the utterance."""
        return (SceneResponse(text=option.text, source=option.source, evidence=turn_end(clip)),)

    def instructions(self, brief: Brief) -> list[str]:
        """Return the same wordings for both directions."""
        return prompts.variants("instruction_sentence_translation", **brief)


TRANSLATION_POLICIES = (
    SentenceTranslation(
        Task.TRANSLATION_EN_ZH, "Translate each English utterance into Chinese when it ends.", "English to Chinese", "en", "zh"
    ),
    SentenceTranslation(
        Task.TRANSLATION_ZH_EN, "Translate each Chinese utterance into English when it ends.", "Chinese to English", "zh", "en"
    ),
    DirectedInterpretation(
        Task.INTERPRETATION_EN_ZH, "Interpret English into Chinese clause by clause.", "English to Chinese", "en", "zh"
    ),
    DirectedInterpretation(
        Task.INTERPRETATION_ZH_EN, "Interpret Chinese into English clause by clause.", "Chinese to English", "zh", "en"
    ),
)
