"""Conversations of one kind, with what the paper mixes into them: a question about an earlier turn, a sound to stay silent at, a
sound to warn of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundflow import prompts
from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Casting, Script, Sounding
from soundflow.operators.tasks.proactive_respond import warning
from soundflow.operators.tasks.spoken import one_voice
from soundflow.operators.tasks.voice_chat import VoiceChat
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, Urgency, urgency


class Chat(VoiceChat):
    """Turns of one kind, answered with their paired replies: a dialogue from its first turn on, or single turns of one voice."""

    in_order = True

    def __init__(self, task: Task, what: str) -> None:
        self.task, self.what = task, what

    def speech(self, palette: Palette) -> Candidates:
        """Of the kind."""
        return palette.of_kind(self.task)

    def distractors(self, palette: Palette) -> Candidates:
        """Benign ones: a danger is only heard where the model was told to warn of it."""
        return palette.benign

    def spoken_turn(self, cast: Casting, strict: bool) -> str | None:
        """The next turn of the stream's dialogue (too short a one is followed by another), or a single turn of its voice."""
        speech = self.speech(cast.palette)
        dialogue = cast.conversation(speech, more=not strict)
        return cast.next_of(dialogue) if dialogue else one_voice(cast, [clip for clip in speech if not clip.dialogue])

    def complete(self, cast: Casting, chosen: list[str]) -> list[str]:
        """Bernoulli mix-ins (paper, stage 4): a benign sound, a danger, a question about an earlier turn."""
        for what, share, clips in (
            ("silent", cast.scene.silent_share, cast.palette.benign),
            ("proactive", cast.scene.proactive_share, cast.palette.hazards),
        ):
            if clips and cast.rng.random() < share and len(chosen) < c.EVENTS_RANGE[1]:
                mixed = cast.pick(clips)
                if mixed is not None:
                    place = int(cast.rng.integers(1, len(chosen) + 1))
                    chosen = [*chosen[:place], mixed, *chosen[place:]]
                    cast.note(f"mixed in, {what}, as event", place)
        return self.reviewed(cast, chosen) if cast.rng.random() < cast.scene.history_review_share else chosen

    def reviewed(self, cast: Casting, chosen: list[str]) -> list[str]:
        """With a question about an early turn at the end, where it is far enough back and the index has such a question."""
        if not c.HISTORY_TURNS <= len(chosen) < c.EVENTS_RANGE[1]:
            return chosen
        asked = [clip for kind in ("review_first", "review_answer") for clip in cast.palette.of_kind(f"question:{kind}")]
        spoken = {clip.id for clip in self.speech(cast.palette)} | {
            clip.id for clip in cast.conversation(self.speech(cast.palette), more=False)
        }
        if sum(clip_id in spoken for clip_id in chosen) < c.HISTORY_TURNS or not asked:
            return chosen
        question = cast.pick(asked)
        return chosen if question is None else [*chosen, question]

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """Whether there is a danger to warn of."""
        return {"warns": int(any(_danger(clip) for clip in clips))}

    def instructions(self, brief: Brief) -> list[str]:
        """Those of a voice chat, or of one that also warns."""
        return prompts.variants("instruction_chat_warns" if brief["warns"] else "instruction_voice_chat")

    def script(self, brief: Brief, clips: Sequence[Sounding]) -> Script:
        """A turn gets its reply, a question about the conversation what was said then, a danger a warning."""
        script: Script = []
        turns: list[tuple[str, str]] = []  # transcript and first reply of what was said before
        for clip in clips:
            kind = prompts.asked(clip.transcript or "")
            if clip.kind == "sound":
                script.append(warning(clip) if brief["warns"] and _danger(clip) else [])
            elif kind.startswith("review_") and not clip.reply:
                script.append(_recalled(kind, turns) if len(turns) >= c.HISTORY_TURNS else [])
            else:
                script.append(self.answers(clip))
                turns.append((clip.transcript or "", script[-1][0].text if script[-1] else ""))
        return script


class ChatHistory(Chat):
    """A conversation that ends with a question about a turn at least three rounds earlier: one written for the dialogue (label
    with the word `review`), else one of the questions everybody may ask."""

    def __init__(self) -> None:
        super().__init__(Task.CHAT_HISTORY, "turns of dialogues of three turns or more, with replies")

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Long enough dialogues, and questions about them."""
        asked = [clip for kind in ("review_first", "review_answer") for clip in palette.of_kind(f"question:{kind}")]
        return {self.what: self.speech(palette), "spoken questions about earlier turns": palette.of_kind("review") + asked}

    def speech(self, palette: Palette) -> Candidates:
        """Of any dialogue; of those with a question of their own, where there are such."""
        return palette.of_kind(self.task)

    def complete(self, cast: Casting, chosen: list[str]) -> list[str]:
        """Up to the dialogue's own question, else with one of the others."""
        dialogue = cast.conversation(self.speech(cast.palette), more=False)
        own = next((place for place, clip in enumerate(dialogue) if "review" in clip.name.split()), None)
        if own is None:
            return self.reviewed(cast, chosen)
        wanted, rest = dialogue[: own + 1], {clip.id for clip in dialogue[own + 1 :]}
        missing = [clip.id for clip in wanted if clip.id not in chosen]
        return [clip_id for clip_id in chosen if clip_id not in rest] + missing

    def brief(self, clips: Sequence[Clip], palette: Palette, rng: np.random.Generator) -> Brief | None:
        """None without an answered question about an earlier turn."""
        brief: Brief = {"warns": 0}
        asked = [_asks_back(clip) and bool(said) for clip, said in zip(clips, self.script(brief, clips), strict=True)]
        return brief if any(asked) else None


def _asks_back(clip: Sounding) -> bool:
    return "review" in clip.label.split() or prompts.asked(clip.transcript or "").startswith("review_")


def _danger(clip: Sounding) -> bool:
    return clip.kind == "sound" and urgency(clip.label, clip.caption) is Urgency.RESPOND


def _recalled(kind: str, turns: Sequence[tuple[str, str]]) -> list[Answer]:
    said = turns[0][0] if kind == "review_first" else next((reply for _, reply in turns if reply), "")
    return [Answer(text, "template") for text in prompts.variants(f"response_{kind}", said=said)] if said else []


CHAT = (
    Chat(Task.CHAT_MULTI_TURN, "turns of dialogues of three turns or more, with replies"),
    Chat(Task.CHAT_FACTUAL, "speech clips with a reply and a word such as `question` or `fact` in the label"),
    Chat(Task.CHAT_DISCUSSION, "speech clips with a reply and a word such as `discussion` or `opinion` in the label"),
    ChatHistory(),
)
