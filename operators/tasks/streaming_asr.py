"""Write down what is said while it is said."""

from __future__ import annotations

from collections.abc import Sequence

import prompts
from operators.clips import Candidates, Palette
from operators.tasks.policy import Answer, Sounding
from operators.tasks.spoken import SpokenPolicy
from schemas.clip import Clip
from schemas.recipe import SceneConfig
from schemas.scene import SceneResponse
from schemas.taxonomy import Task


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

    def instructions(self, clips: Sequence[Clip]) -> list[str]:
        """Word by word, or utterance by utterance."""
        spoken = [clip for clip in clips if clip.kind == "speech"]
        by_word = bool(spoken) and all(clip.words for clip in spoken)
        return prompts.variants("instruction_streaming_asr" if by_word else "instruction_streaming_asr_utterance")
