"""Voice chats of one kind, with mix-ins from the paper: a question about an earlier turn, a benign sound and a hazard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, ResponseOption, StreamOptions
from soundflow.operators.tasks.proactive_respond import warn_of
from soundflow.operators.tasks.spoken import pick_same_voice
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip
from soundflow.schemas.decision import decision_of
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, Urgency


class ChatOfKind(VoiceChat):
    """Turns of one kind with their paired replies: a dialogue from its first turn, or single turns of one voice."""

    has_fixed_order = True

    def __init__(self, task: Task, summary: str, speech_description: str) -> None:
        self.task, self.summary, self.speech_description = task, summary, speech_description

    def speech_clips(self, palette: Palette) -> Candidates:
        """Return the turns of this kind."""
        return palette.of_kind(self.task)

    def distractor_clips(self, palette: Palette) -> Candidates:
        """Return benign sounds: a hazard plays only if the instruction asks for warnings."""
        return palette.benign

    def choose_speech(self, selection: ClipSelection, optional: bool) -> str | None:
        """Pick the next turn of the stream's dialogue, or a single turn of its voice.

        A dialogue that is shorter than the stream is followed by another one.
        """
        speech = self.speech_clips(selection.palette)
        dialogue = selection.draw_dialogue(speech, more=not optional)
        if dialogue:
            return selection.pick_next(dialogue)
        return pick_same_voice(selection, [clip for clip in speech if not clip.dialogue])

    def finish_foreground(self, selection: ClipSelection, chosen: list[str]) -> list[str]:
        """Mix in, each by a Bernoulli draw, a benign sound, a hazard and a question about an earlier turn (paper, stage 4)."""
        for kind, share, clips in (
            ("silent", selection.scene.silent_share, selection.palette.benign),
            ("proactive", selection.scene.proactive_share, selection.palette.hazards),
        ):
            if clips and selection.rng.random() < share and len(chosen) < c.EVENTS_RANGE[1]:
                sound = selection.pick(clips)
                if sound is not None:
                    place = int(selection.rng.integers(1, len(chosen) + 1))
                    chosen = [*chosen[:place], sound, *chosen[place:]]
                    selection.record(f"mixed in, {kind}, as event", place)
        has_question = selection.rng.random() < selection.scene.history_review_share
        return self.add_history_question(selection, chosen) if has_question else chosen

    def add_history_question(self, selection: ClipSelection, chosen: list[str]) -> list[str]:
        """Append a question about an early turn, if there are enough turns and the index has such a question."""
        if not c.HISTORY_TURNS <= len(chosen) < c.EVENTS_RANGE[1]:
            return chosen
        questions = _history_questions(selection.palette)
        speech = self.speech_clips(selection.palette)
        turn_ids = {clip.id for clip in speech} | {clip.id for clip in selection.draw_dialogue(speech, more=False)}
        if sum(clip_id in turn_ids for clip_id in chosen) < c.HISTORY_TURNS or not questions:
            return chosen
        question = selection.pick(questions)
        return chosen if question is None else [*chosen, question]

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return whether the stream has a hazard to warn of."""
        return {"warns": int(any(_is_hazard(clip) for clip in clips))}

    def instructions(self, brief: Brief) -> list[str]:
        """Return the wordings of a voice chat, or of one that also warns."""
        return prompts.variants("instruction_chat_warns" if brief["warns"] else "instruction_voice_chat")

    def respond_to_stream(self, brief: Brief, clips: Sequence[ClipLike]) -> StreamOptions:
        """Reply to turns, quote an earlier turn to questions about it, warn of hazards."""
        options: StreamOptions = []
        turns: list[tuple[str, str]] = []  # transcript and first reply of each earlier turn
        for clip in clips:
            kind = prompts.question_kind(clip.transcript or "")
            if clip.kind == "sound":
                options.append(warn_of(clip) if brief["warns"] and _is_hazard(clip) else [])
            elif kind.startswith("review_") and not clip.reply:
                options.append(_quote_turn(kind, turns) if len(turns) >= c.HISTORY_TURNS else [])
            else:
                options.append(self.respond_to_clip(clip))
                turns.append((clip.transcript or "", options[-1][0].text if options[-1] else ""))
        return options


class ChatHistory(ChatOfKind):
    """A dialogue that ends with a question about a turn at least three rounds earlier.

    The question is the dialogue's own (its label has the word `review`), else one of `prompts/questions.v1.yaml`.
    """

    def __init__(self) -> None:
        super().__init__(
            Task.CHAT_HISTORY,
            "Answer a question that depends on an earlier turn.",
            "turns of dialogues of three turns or more, with replies",
        )

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return turns of dialogues that are long enough, and questions about them."""
        questions = palette.of_kind("review") + _history_questions(palette)
        return {self.speech_description: self.speech_clips(palette), "spoken questions about earlier turns": questions}

    def finish_foreground(self, selection: ClipSelection, chosen: list[str]) -> list[str]:
        """End the stream with the dialogue's own question, else append another."""
        dialogue = selection.draw_dialogue(self.speech_clips(selection.palette), more=False)
        place = next((place for place, clip in enumerate(dialogue) if "review" in clip.name.split()), None)
        if place is None:
            return self.add_history_question(selection, chosen)
        turns, later = dialogue[: place + 1], {clip.id for clip in dialogue[place + 1 :]}
        missing = [clip.id for clip in turns if clip.id not in chosen]
        return [clip_id for clip_id in chosen if clip_id not in later] + missing

    def draw_brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Return None unless a question about an earlier turn gets a response."""
        brief: Brief = {"warns": 0}
        options = self.respond_to_stream(brief, clips)
        is_answered = any(_is_history_question(clip) and found for clip, found in zip(clips, options, strict=True))
        return brief if is_answered else None


def _history_questions(palette: Palette) -> Candidates:
    return [clip for kind in ("review_first", "review_answer") for clip in palette.of_kind(f"question:{kind}")]


def _is_history_question(clip: ClipLike) -> bool:
    return "review" in clip.label.split() or prompts.question_kind(clip.transcript or "").startswith("review_")


def _is_hazard(clip: ClipLike) -> bool:
    return clip.kind == "sound" and decision_of(clip) is Urgency.RESPOND


def _quote_turn(kind: str, turns: Sequence[tuple[str, str]]) -> list[ResponseOption]:
    """Return responses that quote the first turn, or the first reply."""
    quote = turns[0][0] if kind == "review_first" else next((reply for _, reply in turns if reply), "")
    return [ResponseOption(text, "template") for text in prompts.variants(f"response_{kind}", said=quote)] if quote else []


CHAT_POLICIES = (
    ChatOfKind(
        Task.CHAT_MULTI_TURN, "Answer the turns of a dialogue.", "turns of dialogues of three turns or more, with replies"
    ),
    ChatOfKind(
        Task.CHAT_FACTUAL,
        "Answer factual questions.",
        "speech clips with a reply and a word such as `question` or `fact` in the label",
    ),
    ChatOfKind(
        Task.CHAT_DISCUSSION,
        "Discuss an opinion.",
        "speech clips with a reply and a word such as `discussion` or `opinion` in the label",
    ),
    ChatHistory(),
)
