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
        "the assistant speaks up unasked, and only at sudden illness or distress of a person, severe weather, damage to "
        "equipment, a hazard, or somebody at the door or on the telephone. Ordinary sounds of people, animals, work, music and "
        "machines are not answered. Plan both kinds."
    )
    response_rule = (
        "Two or three spoken sentences with substance: which sound was heard, in plain words, what it means, and the reminder, "
        "warning, advice or first aid that helps now. Never an empty question such as 'Are you okay?'."
    )

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

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """What its label leaves open is neither answered nor left unanswered (the paper discards borderline clips)."""
        wanted = Urgency.RESPOND if responds else Urgency.IGNORE
        return clip.kind == "sound" and urgency(clip.label, clip.caption) is wanted

    def responses(self, clip: Clip, answer: Answer, scene: SceneConfig) -> tuple[SceneResponse, ...]:
        """A hazard is known after `proactive_evidence_seconds`, or at its end when it is shorter."""
        known = min(whole(clip), max(1, round(scene.proactive_evidence_seconds * c.SAMPLE_RATE)))
        return (SceneResponse(text=answer.text, source=answer.source, evidence=known),)
