"""Speak up at hazards and needs, stay silent at benign sounds."""

from __future__ import annotations

from operators.clips import Candidates, Palette
from operators.tasks.policy import Answer, Casting, Policy, Sounding, about, whole
from schemas import constants as c
from schemas.clip import Clip
from schemas.recipe import SceneConfig
from schemas.scene import SceneResponse
from schemas.taxonomy import Task, Urgency, urgency


class ProactiveRespond(Policy):
    """Proactive respond, with benign abstention."""

    task = Task.PROACTIVE_RESPOND
    task_rule = (
        "nobody has asked for anything. Only events that mean danger, distress, somebody wanting attention, or something out of "
        "order are answered; everyday sounds are not. A good scene has both."
    )
    response_rule = "One or two short sentences: what was heard, and a reminder, a warning or the help that fits it."

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Both kinds."""
        return {"sounds that call for a response": palette.hazards, "benign sounds": palette.benign}

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """A hazard or, with probability `benign_share`, a benign sound."""
        benign = bool(cast.rng.random() < cast.scene.benign_share)
        cast.note(f"event {turn} is benign", benign)
        lists = cast.palette.benign, cast.palette.hazards
        first, second = lists if benign else lists[::-1]
        return cast.pick(first, strict) or (None if strict else cast.pick(second))

    def answers(self, clip: Sounding) -> list[Answer]:
        """An alert at what its label or caption says is urgent."""
        if clip.kind == "speech" or urgency(clip.label, clip.caption) is not Urgency.RESPOND:
            return []
        return about("response_proactive_respond", clip)

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """A hazard is known after `proactive_evidence_seconds`, or at its end when it is shorter."""
        known = min(whole(clip), max(1, round(scene.proactive_evidence_seconds * c.SAMPLE_RATE)))
        return (SceneResponse(text=answer.text, source=answer.source, evidence=known),)
