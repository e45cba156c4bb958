"""What is answered to an event, and when its evidence is complete. Deterministic but for the choice of a phrasing.

Every response can be derived again from the clip's label, caption, transcript and reply: `possible_responses` is what
`verify` holds a stored plan against.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import prompts
from schemas import constants as c
from schemas.clip import Clip, ClipRole
from schemas.scene import nfc
from schemas.stream import PlannedClip, StreamPlan
from schemas.taxonomy import Task, Urgency, label_words, urgency

SUPERVISION_VERSION = "2"


Sounding = Clip | PlannedClip
"""Supervision looks at what both have: kind, label, caption, transcript, reply."""


class Answer(NamedTuple):
    """A response and who wrote it."""

    text: str
    source: str


def describe(clip: Sounding) -> tuple[str, bool]:
    """What is heard, and whether that is a phrase (a caption: `a dog barking`) or bare words (a label: `dog bark`)."""
    if clip.kind == "speech":
        return "someone speaking", True
    caption, label = clip.caption.strip().rstrip("."), " ".join(label_words(clip.label)) or clip.label
    is_phrase = " " in caption and label_words(caption) != label_words(clip.label)
    return (caption, True) if is_phrase else (label, False)


def _about(template: str, clip: Sounding) -> list[Answer]:
    sound, is_phrase = describe(clip)
    return [Answer(text, "label") for text in prompts.variants(template + ("" if is_phrase else "_label"), sound=sound)]


def possible_responses(task: Task, clip: Sounding) -> list[Answer]:
    """Every answer `task` may give to a foreground clip, best source first; empty means: stay silent."""
    if task is Task.EVENT_DESCRIPTION:
        return _about("response_event_description", clip)
    if task is Task.PROACTIVE_RESPOND:
        if clip.kind == "speech" or urgency(clip.label, clip.caption) is not Urgency.RESPOND:
            return []
        return _about("response_proactive_respond", clip)
    if clip.kind != "speech" or clip.transcript is None:
        return []
    if task is Task.STREAMING_ASR:
        return [Answer(clip.transcript, "transcript")]
    if clip.reply:
        return [Answer(clip.reply, "manifest")]
    return [Answer(text, "template") for text in prompts.variants("response_voice_chat", transcript=clip.transcript)]


def respond(task: Task, clip: Sounding, rng: np.random.Generator) -> Answer | None:
    """One of the possible responses, or None = stay silent."""
    answers = possible_responses(task, clip)
    return answers[int(rng.integers(len(answers)))] if answers else None


def evidence(task: Task, active_end: int, samples: int, proactive_seconds: float) -> int:
    """Samples into the cleaned clip at which the evidence is complete, at least 1.

    A hazard is known after `proactive_seconds`; a description, an answer or a transcript needs the whole clip.
    """
    end = active_end if 0 < active_end <= samples else samples
    return min(end, max(1, round(proactive_seconds * c.SAMPLE_RATE))) if task is Task.PROACTIVE_RESPOND else end


def disagreements(plan: StreamPlan) -> list[str]:
    """Responses of a stored plan that do not follow from its clips: a swapped label, a moved or invented response."""
    problems = []
    answered = {response.event: response for response in plan.responses}
    if len(answered) != len(plan.responses):
        problems.append("one event is answered twice")
    for number, clip in enumerate(plan.clips):
        allowed = possible_responses(plan.task, clip) if clip.role is ClipRole.FOREGROUND else []
        texts = {nfc(answer.text) for answer in allowed}
        response = answered.get(number)
        if response is None and texts:
            problems.append(f"event {number} ({clip.label}) calls for a response and has none")
        if response is not None and response.text not in texts:
            problems.append(f"event {number} ({clip.label}) is answered {response.text!r}, which does not follow from it")
    return problems
