"""Whether what a plan says follows from its clips: every response can be derived again by the sub-task's policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import jinja2

from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.scene import nfc
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.text import join_texts

MODEL: Final = "llm:"
"""What the name of a planner or writer that is a language model begins with."""
SUPERVISION_VERSION: Final = "5"


def modelled(plan: StreamPlan, sources: Iterable[str]) -> bool:
    """Whether a language model planned the stream and worded what these sources say."""
    return all(source.startswith(MODEL) for source in (plan.planner, *sources))


def disagreements(plan: StreamPlan) -> list[str]:
    """What in a stored plan does not follow from brief and clips: an instruction with another sound or count, a swapped label, a
    moved or invented response, something to answer in the background."""
    return list(_disagreements(plan))


def _disagreements(plan: StreamPlan) -> Iterator[str]:
    policy = POLICIES[plan.task]
    front = [number for number, clip in enumerate(plan.clips) if clip.role is ClipRole.FOREGROUND]
    try:
        instructions = [nfc(text) for text in policy.instructions(plan.brief)]
        script = dict(zip(front, policy.script(plan.brief, [plan.clips[number] for number in front]), strict=True))
        loud = [
            number for number, clip in enumerate(plan.clips) if number not in script and not policy.behind(plan.brief, clip.label)
        ]
    except (KeyError, TypeError, ValueError, jinja2.TemplateError) as error:
        yield f"the brief {plan.brief} is none of {plan.task.value}: {type(error).__name__}: {error}"
        return
    if plan.instruction not in instructions:
        yield f"the instruction {plan.instruction!r} is none of {plan.task.value} with the brief {plan.brief}"
    for number in loud:
        yield f"event {number} ({plan.clips[number].label}) plays in the background, where nobody answers it"
    said: dict[int, list[str]] = {}
    said_by: dict[int, set[str]] = {}
    for response in plan.responses:
        for piece in response.pieces:
            said.setdefault(piece.event, []).append(piece.text)
            said_by.setdefault(piece.event, set()).add(piece.source)
    for number, clip in enumerate(plan.clips):
        allowed = {nfc(answer.text) for answer in script.get(number, ())}
        text = join_texts(said.get(number, []))
        if not text and allowed:
            yield f"event {number} ({clip.label}) calls for a response and has none"
        worded = bool(allowed) and modelled(plan, said_by.get(number, set())) and policy.accepts(clip, text)
        if text and text not in allowed and not worded:
            yield f"event {number} ({clip.label}) is answered {text!r}, which does not follow from it"
