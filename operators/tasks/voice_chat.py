"""Answer each spoken turn when it has ended, stay silent at other sounds."""

from __future__ import annotations

import prompts
from operators.clips import Candidates, Palette
from operators.tasks.policy import Answer, Sounding
from operators.tasks.spoken import SpokenPolicy
from schemas.taxonomy import Task


class VoiceChat(SpokenPolicy):
    """Voice chatting: turns with a paired reply where there are any, else a stand-in."""

    task = Task.VOICE_CHAT
    task_rule = (
        "the assistant answers what people say to it. Speech in the foreground is answered, every other sound is not. Of speech, "
        "sound is the words that are said, as the bag has them."
    )

    def speech(self, palette: Palette) -> Candidates:
        """Turns with a paired reply are preferred."""
        return palette.dialogue or palette.speech

    def answers(self, clip: Sounding) -> list[Answer]:
        """The paired reply, or one of the stand-ins."""
        if clip.kind != "speech" or clip.transcript is None:
            return []
        if clip.reply:
            return [Answer(clip.reply, "manifest")]
        return [Answer(text, "template") for text in prompts.variants("response_voice_chat", transcript=clip.transcript)]
