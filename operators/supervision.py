"""Whether what a plan says follows from its clips: every response can be derived again by the sub-task's policy."""

from __future__ import annotations

from typing import Final

from operators.tasks import POLICIES
from schemas.clip import ClipRole
from schemas.stream import StreamPlan
from schemas.text import join_texts

SUPERVISION_VERSION: Final = "3"


def disagreements(plan: StreamPlan) -> list[str]:
    """Responses of a stored plan that do not follow from its clips: a swapped label, a moved or invented response."""
    policy, problems = POLICIES[plan.task], []
    said: dict[int, list[str]] = {}
    for response in plan.responses:
        for piece in response.pieces:
            said.setdefault(piece.event, []).append(piece.text)
    for number, clip in enumerate(plan.clips):
        allowed = policy.texts(clip) if clip.role is ClipRole.FOREGROUND else set()
        text = join_texts(said.get(number, []))
        if not text and allowed:
            problems.append(f"event {number} ({clip.label}) calls for a response and has none")
        if text and text not in allowed:
            problems.append(f"event {number} ({clip.label}) is answered {text!r}, which does not follow from it")
    return problems
