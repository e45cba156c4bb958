"""Write down each utterance."""

from __future__ import annotations

from operators.tasks.policy import Answer, Sounding
from operators.tasks.spoken import SpokenPolicy
from schemas.taxonomy import Task


class StreamingAsr(SpokenPolicy):
    """Real-time ASR, an utterance at a time."""

    task = Task.STREAMING_ASR
    task_rule = "every spoken utterance is written down; other sounds are not."

    def answers(self, clip: Sounding) -> list[Answer]:
        """Its words."""
        return [] if clip.kind != "speech" or clip.transcript is None else [Answer(clip.transcript, "transcript")]
