"""Speak up at hazards and needs, stay silent at benign sounds."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import Answer, Casting, Policy, Sounding, about
from soundflow.schemas.taxonomy import Task, Urgency, danger, urgency


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

    def hazards(self, palette: Palette) -> Candidates:
        """The sounds that call for a response."""
        return palette.hazards

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Both kinds."""
        return {"sounds that call for a response": self.hazards(palette), "benign sounds": palette.benign}

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """A hazard or, with probability `benign_share`, a benign sound."""
        benign = bool(cast.rng.random() < cast.scene.benign_share)
        cast.note(f"event {turn} is benign", benign)
        lists = cast.palette.benign, self.hazards(cast.palette)
        first, second = lists if benign else lists[::-1]
        return cast.pick(first, strict) or (None if strict else cast.pick(second))

    def alarms(self, clip: Sounding) -> bool:
        """Whether a sound calls for a response, by its label or caption."""
        return urgency(clip.label, clip.caption) is Urgency.RESPOND

    def answers(self, clip: Sounding) -> list[Answer]:
        """An alert, as soon as it is known."""
        return warning(clip) if clip.kind == "sound" and self.alarms(clip) else []

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """What its label leaves open is neither answered nor left unanswered (the paper discards borderline clips)."""
        if clip.kind != "sound":
            return False
        return self.alarms(clip) if responds else urgency(clip.label, clip.caption) is Urgency.IGNORE


class ProactiveOf(ProactiveRespond):
    """One kind of danger: see `schemas.taxonomy.danger`. Dangers of the other kinds are not heard."""

    def __init__(self, task: Task, what: str) -> None:
        self.task, self.what = task, what
        self.task_rule = (  # type: ignore[misc]
            f"the assistant speaks up unasked, and only at {what}. Ordinary sounds of people, animals, work, music and machines "
            "are not answered, and dangers of other kinds do not happen. Plan both what is answered and what is not."
        )

    def hazards(self, palette: Palette) -> Candidates:
        """Of this kind."""
        return palette.of_kind(self.task)

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Of this kind, and benign sounds."""
        return {f"sounds of {self.what}": self.hazards(palette), "benign sounds": palette.benign}

    def alarms(self, clip: Sounding) -> bool:
        """Whether it is of this kind."""
        return danger(clip.label, clip.caption) is self.task


def warning(clip: Sounding) -> list[Answer]:
    """What is said at a danger, as soon as it is known."""
    return about("response_proactive_respond", clip, early=True)


PROACTIVE = (
    ProactiveOf(Task.HUMAN_DISTRESS, "a person who is ill, hurt or in distress"),
    ProactiveOf(Task.EQUIPMENT_FAULT, "equipment that fails or may be damaged"),
    ProactiveOf(Task.ENVIRONMENTAL_HAZARD, "fire, explosions, breaking glass, severe weather or things that fall"),
    ProactiveOf(Task.TRAFFIC_DANGER, "danger in traffic: horns, sirens, screeching tires, crashes, a level crossing"),
)
