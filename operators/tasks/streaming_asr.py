"""Write down each utterance."""

from __future__ import annotations

from operators.tasks.policy import Answer, Sounding
from operators.tasks.spoken import SpokenPolicy
from schemas.taxonomy import Task


class StreamingAsr(SpokenPolicy):
    """Real-time ASR, an utterance at a time."""

    task = Task.STREAMING_ASR
    task_rule = (
        "the assistant writes down what is said. Speech in the foreground is answered with its words, every other sound is not. "
        "Of speech, sound is the words that are said, as the bag has them."
    )

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its words."""
        return [] if clip.kind != "speech" or clip.transcript is None else [Answer(clip.transcript, "transcript")]
