"""Answer each spoken turn when it has ended, stay silent at other sounds."""

from __future__ import annotations

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Casting, Sounding
from soundflow.operators.tasks.spoken import SpokenPolicy, one_voice
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import SceneResponse
from soundflow.schemas.taxonomy import Task


class VoiceChat(SpokenPolicy):
    """Voice chatting: dialogues from their first turn on, or single turns with a paired reply; else a stand-in."""

    task = Task.VOICE_CHAT
    task_rule = (
        "the assistant answers what people say to it. Speech in the foreground is answered, every other sound is not. Of speech, "
        "sound is the words that are said, as the bag has them."
    )

    def speech(self, palette: Palette) -> Candidates:
        """Turns with a paired reply are preferred."""
        return palette.dialogue or palette.single or palette.speech

    def spoken_turn(self, cast: Casting, strict: bool) -> str | None:
        """The next turn of the stream's dialogue (too short a one is followed by another), or any single turn of its voice."""
        dialogue = cast.conversation(self.speech(cast.palette), more=not strict)
        return cast.next_of(dialogue) if dialogue else one_voice(cast, cast.palette.single or self.speech(cast.palette))

    def answers(self, clip: Sounding) -> list[Answer]:
        """The paired reply, or one of the stand-ins; silence where a dialogue has none."""
        if clip.kind != "speech" or clip.transcript is None:
            return []
        if clip.reply:
            return [Answer(clip.reply, "manifest")]
        if clip.dialogue:
            return []
        return [Answer(text, "template") for text in prompts.variants("response_voice_chat", transcript=clip.transcript)]

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Once the speaker has finished; a paired reply in the tone that goes with it."""
        said = super().responses(clip, answer, scene)
        paired = clip.emotion and answer.text == clip.reply
        return tuple(one.model_copy(update={"emotion": clip.emotion}) for one in said) if paired else said

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Of a dialogue only its beginning makes sense on its own."""
        return super().suits(clip, responds) and not (responds and (clip.turn or 0) > 1)
