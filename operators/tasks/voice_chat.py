"""Reply to each spoken turn when it has ended, stay silent at other sounds."""

from __future__ import annotations

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, ResponseOption
from soundflow.operators.tasks.spoken import SpokenPolicy, pick_same_voice
from soundflow.schemas.clip import Clip
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scene import SceneResponse
from soundflow.schemas.taxonomy import Task


class VoiceChat(SpokenPolicy):
    """Voice chat: dialogues from their first turn, or single turns. A single turn without a paired reply gets a template."""

    task = Task.VOICE_CHAT
    summary = "Answer dialogues or single turns."
    task_rule = (
        "the assistant answers what people say to it. Speech in the foreground is answered, every other sound is not. Of speech, "
        "sound is the words that are said, as the bag has them."
    )

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return turns with a paired reply; without any, single turns; without any, all speech."""
        return palette.dialogue or palette.single or palette.speech

    def find_caution(self, palette: Palette) -> str:
        """Report speech without replies: the template replies repeat the question."""
        return "" if palette.dialogue else "speech with replies: without any, the assistant repeats what the user says"

    def choose_speech(self, selection: ClipSelection, optional: bool) -> str | None:
        """Pick the next turn of the stream's dialogue, or a single turn of its voice.

        A dialogue that is shorter than the stream is followed by another one.
        """
        dialogue = selection.draw_dialogue(self.speech_clips(selection.palette), more=not optional)
        if dialogue:
            return selection.pick_next(dialogue)
        return pick_same_voice(selection, selection.palette.single or self.speech_clips(selection.palette))

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Return the paired reply, or template replies; a turn of a dialogue without a reply gets none."""
        if clip.kind != "speech" or clip.transcript is None:
            return []
        if clip.reply:
            return [ResponseOption(clip.reply, "manifest")]
        if clip.dialogue:
            return []
        return [ResponseOption(text, "template") for text in prompts.variants("response_voice_chat", transcript=clip.transcript)]

    def schedule(self, clip: Clip, option: ResponseOption, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """Schedule the reply at the end of the turn; a paired reply has the clip's emotion."""
        responses = super().schedule(clip, option, scene)
        has_emotion = clip.emotion and option.text == clip.reply
        return tuple(one.model_copy(update={"emotion": clip.emotion}) for one in responses) if has_emotion else responses

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept no later turn of a dialogue: it makes no sense without the turns before it."""
        return super().can_play(clip, responds) and not (responds and (clip.turn or 0) > 1)
