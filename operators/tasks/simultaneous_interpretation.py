"""Say in another language what is said, while it is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import prompts
from operators.clauses import LAG, wait_k
from operators.clips import Candidates, Palette
from operators.tasks.policy import Answer, Casting, Sounding, turn_end
from operators.tasks.spoken import SpokenPolicy, one_voice
from schemas.clip import Clip
from schemas.recipe import SceneConfig
from schemas.scene import SceneResponse
from schemas.taxonomy import Task

LANGUAGES: Final = {
    "de": "German", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "pt": "Portuguese", "ru": "Russian", "zh": "Chinese",
}  # fmt: skip
"""Names of languages, for the instruction; others are called by their code."""


class SimultaneousInterpretation(SpokenPolicy):
    """The translation in segments, each once the clauses it rests on have been heard; one pair of languages a stream."""

    task = Task.SIMULTANEOUS_INTERPRETATION
    task_rule = (
        "the assistant interprets what is said into another language, clause by clause. Speech in the foreground is answered, "
        "every other sound is not. Of speech, sound is the words that are said, as the bag has them."
    )

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Speech with word times and a translation."""
        return {"aligned speech clips with language, translation and translation_language": palette.translated}

    def speech(self, palette: Palette) -> Candidates:
        """What has a translation, and words with times."""
        return palette.translated

    def spoken_turn(self, cast: Casting, strict: bool) -> str | None:
        """Somebody speaks the stream's language, in the stream's voice as long as that has something to say."""
        return one_voice(cast, cast.alike("direction", self.speech(cast.palette), lambda clip: clip.direction))

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its translation."""
        if clip.kind != "speech" or not clip.translation or not clip.translation_language:
            return []
        return [Answer(clip.translation, clip.interpreter or f"translation:wait-{LAG}")]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Its segments, a model's or those of wait-k; whole at the end where no words have times."""
        if not clip.words or answer.text != clip.translation:
            return (SceneResponse(text=answer.text, source=answer.source, evidence=turn_end(clip)),)
        ends = [*(max(word.end, 1) for word in clip.words[:-1]), turn_end(clip)]
        return tuple(
            SceneResponse(text=segment.text, source=answer.source, evidence=ends[segment.words - 1], joins=True)
            for segment in clip.segments or wait_k(clip.words, answer.text)
        )

    def instructions(self, clips: Sequence[Clip]) -> list[str]:
        """With the language to interpret into."""
        code = next((clip.translation_language for clip in clips if clip.translation), "").partition("-")[0]
        return prompts.variants(
            "instruction_simultaneous_interpretation", language=LANGUAGES.get(code, code or "the other language")
        )
