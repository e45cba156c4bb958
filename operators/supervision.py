"""Whether what a plan says follows from its clips: every response can be derived again by the sub-task's policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from operators.tasks import POLICIES
from schemas.clip import ClipRole
from schemas.stream import StreamPlan
from schemas.text import join_texts

MODEL: Final = "llm:"
"""What the name of a planner or writer that is a language model begins with."""
SUPERVISION_VERSION: Final = "4"


def modelled(plan: StreamPlan, sources: Iterable[str]) -> bool:
    """Whether a language model planned the stream and worded what these sources say."""
    return all(source.startswith(MODEL) for source in (plan.planner, *sources))


def disagreements(plan: StreamPlan) -> list[str]:
    """Responses of a stored plan that do not follow from its clips: a swapped label, a moved or invented response."""
    policy, problems = POLICIES[plan.task], []
    said: dict[int, list[str]] = {}
    said_by: dict[int, set[str]] = {}
    for response in plan.responses:
        for piece in response.pieces:
            said.setdefault(piece.event, []).append(piece.text)
            said_by.setdefault(piece.event, set()).add(piece.source)
    for number, clip in enumerate(plan.clips):
        allowed = policy.texts(clip) if clip.role is ClipRole.FOREGROUND else set()
        text = join_texts(said.get(number, []))
        if not text and allowed:
            problems.append(f"event {number} ({clip.label}) calls for a response and has none")
        if text and text not in allowed and not (modelled(plan, said_by.get(number, set())) and policy.accepts(clip, text)):
            problems.append(f"event {number} ({clip.label}) is answered {text!r}, which does not follow from it")
    return problems
