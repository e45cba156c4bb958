"""Speak up at hazards and needs, stay silent at benign sounds."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, Policy, ResponseOption, respond_with_description
from soundflow.schemas.decision import danger_of, decision_of
from soundflow.schemas.taxonomy import Task, Urgency


class ProactiveRespond(Policy):
    """Proactive response to hazards of all kinds, with benign sounds as negatives."""

    task = Task.PROACTIVE_RESPOND
    summary = "Respond to hazards and needs of every kind."
    task_rule = (
        "the assistant speaks up unasked, and only at sudden illness or distress of a person, severe weather, damage to "
        "equipment, a hazard, or somebody at the door or on the telephone. Ordinary sounds of people, animals, work, music and "
        "machines are not answered. Plan both kinds."
    )
    response_rule = (
        "Two or three spoken sentences with substance: which sound was heard, in plain words, what it means, and the reminder, "
        "warning, advice or first aid that helps now. Never an empty question such as 'Are you okay?'."
    )

    def hazard_clips(self, palette: Palette) -> Candidates:
        """Return the sounds that call for a response."""
        return palette.hazards

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return hazards and benign sounds."""
        return {"sounds that call for a response": self.hazard_clips(palette), "benign sounds": palette.benign}

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick a hazard or, with probability `benign_share`, a benign sound."""
        benign = bool(selection.rng.random() < selection.scene.benign_share)
        selection.record(f"event {index} is benign", benign)
        lists = selection.palette.benign, self.hazard_clips(selection.palette)
        first, second = lists if benign else lists[::-1]
        return selection.pick(first, strict=optional) or (None if optional else selection.pick(second))

    def is_hazard(self, clip: ClipLike) -> bool:
        """Return whether a sound calls for a response."""
        return decision_of(clip) is Urgency.RESPOND

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Warn of a hazard."""
        return warn_of(clip) if clip.kind == "sound" and self.is_hazard(clip) else []

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept hazards for events with a response, benign sounds for those without, and no borderline sound (as the paper)."""
        if clip.kind != "sound":
            return False
        return self.is_hazard(clip) if responds else decision_of(clip) is Urgency.IGNORE


class ProactiveToHazard(ProactiveRespond):
    """Proactive response to one kind of hazard (`schemas.taxonomy.danger`). Hazards of other kinds do not occur."""

    def __init__(self, task: Task, summary: str, hazard: str) -> None:
        self.task, self.summary, self.hazard = task, summary, hazard
        self.task_rule = (
            f"the assistant speaks up unasked, and only at {hazard}. Ordinary sounds of people, animals, work, music and "
            "machines are not answered, and dangers of other kinds do not happen. Plan both what is answered and what is not."
        )

    def hazard_clips(self, palette: Palette) -> Candidates:
        """Return the hazards of this kind."""
        return palette.of_kind(self.task)

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return hazards of this kind and benign sounds."""
        return {f"sounds of {self.hazard}": self.hazard_clips(palette), "benign sounds": palette.benign}

    def is_hazard(self, clip: ClipLike) -> bool:
        """Return whether a sound is a hazard of this kind."""
        return danger_of(clip) is self.task


def warn_of(clip: ClipLike) -> list[ResponseOption]:
    """Return warnings of a hazard, due as soon as it can be recognised."""
    return respond_with_description("response_proactive_respond", clip, early=True)


PROACTIVE_POLICIES = (
    ProactiveToHazard(
        Task.HUMAN_DISTRESS, "Respond to a person who is ill, hurt or in distress.", "a person who is ill, hurt or in distress"
    ),
    ProactiveToHazard(Task.EQUIPMENT_FAULT, "Respond to equipment that fails.", "equipment that fails or may be damaged"),
    ProactiveToHazard(
        Task.ENVIRONMENTAL_HAZARD,
        "Respond to fire, explosions, breaking glass and severe weather.",
        "fire, explosions, breaking glass, severe weather or things that fall",
    ),
    ProactiveToHazard(
        Task.TRAFFIC_DANGER,
        "Respond to danger in traffic.",
        "danger in traffic: horns, sirens, screeching tires, crashes, a level crossing",
    ),
)
