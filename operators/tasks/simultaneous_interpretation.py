"""Say in another language what is said: while it is said, or sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette, direction
from soundflow.operators.speech.clauses import LAG, wait_k
from soundflow.operators.tasks.policy import Answer, Casting, Sounding, turn_end
from soundflow.operators.tasks.spoken import SpokenPolicy, one_voice
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import Brief, SceneResponse
from soundflow.schemas.taxonomy import Task

LANGUAGES: Final = {
    "de": "German", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese",
}  # fmt: skip
"""Names of languages, for the instruction; others are called by their code."""


class SimultaneousInterpretation(SpokenPolicy):
    """The translation in segments, each once the clauses it rests on have been heard; one pair of languages a stream."""

    task = Task.SIMULTANEOUS_INTERPRETATION
    what = "aligned speech clips with language, translation and translation_language"
    task_rule = (
        "the assistant interprets what is said into another language, clause by clause. Speech in the foreground is answered, "
        "every other sound is not. Of speech, sound is the words that are said, as the bag has them."
    )

    def speech(self, palette: Palette) -> Candidates:
        """What has a translation, and words with times."""
        return palette.translated

    def spoken_turn(self, cast: Casting, strict: bool) -> str | None:
        """Somebody speaks the stream's language, in the stream's voice as long as that has something to say."""
        return one_voice(cast, cast.alike("direction", self.speech(cast.palette), lambda clip: clip.direction))

    def goes_with(self, clip: Clip, playing: Sequence[Clip]) -> bool:
        """Only with speech of the same two languages: the instruction names one."""
        ways = {direction(other.language, other.translation_language) for other in (clip, *playing) if self.answers(other)}
        return len(ways) <= 1

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """What goes from one known language into another is interpreted."""
        return super().suits(clip, responds) and not (responds and not direction(clip.language, clip.translation_language))

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its translation."""
        if clip.kind != "speech" or not clip.translation or not clip.translation_language:
            return []
        return [Answer(clip.translation, clip.interpreter or f"translation:wait-{LAG}")]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Its segments, a model's or those of wait-k; whole at the end where no words have times."""
        if not clip.words or answer.text != clip.translation:
            return super().responses(clip, answer, scene)
        ends = [*(max(word.end, 1) for word in clip.words[:-1]), turn_end(clip)]
        return tuple(
            SceneResponse(text=segment.text, source=answer.source, evidence=ends[segment.words - 1], joins=True)
            for segment in clip.segments or wait_k(clip.words, answer.text)
        )

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """The language to interpret into."""
        code = next((clip.translation_language for clip in clips if clip.translation), "").partition("-")[0]
        return {"language": LANGUAGES.get(code, code or "the other language")}

    def instructions(self, brief: Brief) -> list[str]:
        """The same for all directions."""
        return prompts.variants("instruction_simultaneous_interpretation", **brief)


class InterpretationOf(SimultaneousInterpretation):
    """One direction."""

    def __init__(self, task: Task, what: str, language: str, into: str) -> None:
        self.task, self.what = task, f"aligned speech clips with a translation from {what}"
        self.direction = direction(language, into)

    def speech(self, palette: Palette) -> Candidates:
        """Of the direction."""
        return palette.of_kind(self.task)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Speech of the direction, or what has no translation."""
        fits = direction(clip.language, clip.translation_language) == self.direction
        return super().suits(clip, responds) and (not responds or fits)


class SentenceTranslation(InterpretationOf):
    """One direction, each utterance as a whole once it has ended."""

    task_rule = (
        "the assistant translates each utterance when it has ended. Speech in the foreground is answered, every other sound is "
        "not. Of speech, sound is the words that are said, as the bag has them."
    )

    def __init__(self, task: Task, what: str, language: str, into: str) -> None:
        super().__init__(task, what, language, into)
        self.what = f"speech clips with a translation from {what}"

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its translation; where a model wrote that, it says so."""
        by = clip.interpreter if clip.interpreter.startswith("llm:") else "translation"
        return [answer._replace(source=by) for answer in super().answers(clip)]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Once the speaker has finished."""
        return (SceneResponse(text=answer.text, source=answer.source, evidence=turn_end(clip)),)

    def instructions(self, brief: Brief) -> list[str]:
        """The same for both directions."""
        return prompts.variants("instruction_sentence_translation", **brief)


TRANSLATION = (
    SentenceTranslation(Task.TRANSLATION_EN_ZH, "English to Chinese", "en", "zh"),
    SentenceTranslation(Task.TRANSLATION_ZH_EN, "Chinese to English", "zh", "en"),
    InterpretationOf(Task.INTERPRETATION_EN_ZH, "English to Chinese", "en", "zh"),
    InterpretationOf(Task.INTERPRETATION_ZH_EN, "Chinese to English", "zh", "en"),
)
