"""Check that the responses of a stored plan follow from its clips: the sub-task's policy derives them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import jinja2

from soundflow.operators.tasks import POLICIES
from soundflow.operators.tasks.policy import Policy
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.scene import nfc
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.text import join_texts

MODEL_PREFIX: Final = "llm:"
"""Prefix of a planner or response source that is a language model."""
SUPERVISION_VERSION: Final = "8"


def is_model_made(plan: StreamPlan, sources: Iterable[str]) -> bool:
    """Return whether a language model planned the stream and wrote the responses of these sources."""
    return all(source.startswith(MODEL_PREFIX) for source in (plan.planner, *sources))


def find_disagreements(plan: StreamPlan, policy: Policy | None = None) -> list[str]:
    """Return each thing in a plan that does not follow from its brief and clips, as a sentence.

    It finds an instruction with another sound or count, a changed label, a missing, moved or invented response, and a background
    event that would call for a response. `policy` defaults to the registered policy of the plan's task.
    """
    return list(_disagreements(plan, POLICIES[plan.task] if policy is None else policy))


def _disagreements(plan: StreamPlan, policy: Policy) -> Iterator[str]:
    foreground = [number for number, clip in enumerate(plan.clips) if clip.role is ClipRole.FOREGROUND]
    try:
        instructions = [nfc(text) for text in policy.instructions(plan.brief)]
        options = policy.respond_to_stream(plan.brief, [plan.clips[number] for number in foreground])
        options_of = dict(zip(foreground, options, strict=True))
        misplaced = [
            number
            for number, clip in enumerate(plan.clips)
            if number not in options_of and not policy.can_play_in_background(plan.brief, clip.label)
        ]
    except (KeyError, TypeError, ValueError, jinja2.TemplateError) as error:
        yield f"brief {plan.brief}: not a brief of the task {plan.task.value}: {type(error).__name__}: {error}"
        return
    if plan.instruction not in instructions:
        yield f"instruction {plan.instruction!r}: not an instruction of the task {plan.task.value} with the brief {plan.brief}"
    for number in misplaced:
        yield f"event {number} ({plan.clips[number].label}): plays in the background but calls for a response"
    texts: dict[int, list[str]] = {}
    sources: dict[int, set[str]] = {}
    for response in plan.responses:
        for piece in response.pieces:
            texts.setdefault(piece.event, []).append(piece.text)
            sources.setdefault(piece.event, set()).add(piece.source)
    for number, clip in enumerate(plan.clips):
        allowed = {nfc(option.text) for option in options_of.get(number, ())}
        text = join_texts(texts.get(number, []))
        if not text and allowed:
            yield f"event {number} ({clip.label}): calls for a response but has none"
        from_model = is_model_made(plan, sources.get(number, set()))
        is_worded = bool(allowed) and from_model and policy.is_acceptable_wording(clip, text)
        if text and text not in allowed and not is_worded:
            yield f"event {number} ({clip.label}): the response {text!r} does not follow from the clip"
