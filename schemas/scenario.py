"""The answers of the LLM roles (paper, appendix B.1): scenario, refinement, and the supervision roles.

Answers are parsed from the output of a model. Class names, class docstrings and validation messages are sent to the model, in the
JSON schema of a request or in the correction of an invalid answer: to change one is to change requests and their cache keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.generation import ClipVerdict
from soundflow.schemas.scene import Text

Line = Annotated[str, Field(min_length=1, max_length=300)]


def _worded(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise ValueError("must name a sound in words")
    return text


EventRole = Literal["foreground", "background", "ambient"]


def _restrict_responses_to_foreground(schema: dict[str, Any]) -> None:
    """Express the rule in the JSON schema, for servers that enforce the schema during decoding."""
    role, responds = schema["properties"]["role"], schema["properties"]["responds"]
    front = {"role": role | {"enum": ["foreground"]}, "responds": responds}
    behind = {"role": role | {"enum": ["background", "ambient"]}, "responds": responds | {"enum": [False]}}
    kinds = [schema | {"properties": schema["properties"] | kind} for kind in (front, behind)]
    schema.clear()
    schema["anyOf"] = kinds


class SubEvent(Schema):
    """One sound of a scenario."""

    model_config = ConfigDict(json_schema_extra=_restrict_responses_to_foreground)

    order: int = Field(ge=1, le=c.EVENTS_RANGE[1])
    role: EventRole
    sound: Line
    """A noun phrase."""
    responds: bool
    """Whether the assistant responds to it."""
    why: Line


class Scenario(Schema):
    """A coherent little story in sounds: the planner's answer."""

    title: Line
    setting: Line
    narrative: str = Field(min_length=1, max_length=1000)
    events: tuple[SubEvent, ...] = Field(min_length=c.EVENTS_RANGE[0], max_length=c.EVENTS_RANGE[1])

    def mismatch(self, fewest: int, most: int) -> str:
        """Return what is wrong with the number of events; empty if it is within [fewest, most]."""
        count = len(self.events)
        return "" if fewest <= count <= most else f"{count} events; there must be {fewest} to {most}"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if [event.order for event in self.events] != list(range(1, len(self.events) + 1)):
            raise ValueError("orders must be 1, 2, 3, … in the sequence of the events")
        if not any(event.role == "foreground" for event in self.events):
            raise ValueError("at least one event must be in the foreground")
        if any(event.responds and event.role != "foreground" for event in self.events):
            raise ValueError("only foreground events can be answered")
        return self


class RefinedEvent(Schema):
    """How one sub-event becomes a clip: the refiner's answer for it."""

    order: int = Field(ge=1, le=c.EVENTS_RANGE[1])
    query: Annotated[Line, AfterValidator(_worded)]
    """Retrieval query, in the words of a sound library."""
    caption: Line
    """Description of the sound in one sentence, for a sound generator when retrieval finds nothing."""
    min_seconds: float = Field(gt=0, le=60)
    max_seconds: float = Field(gt=0, le=60)
    response: Text | None = Field(None, max_length=600)
    """Text of the response; None if the assistant stays silent."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} is above max_seconds {self.max_seconds}")
        return self


class Refinement(Schema):
    """The refiner's answer: one entry per sub-event, in order."""

    events: tuple[RefinedEvent, ...] = Field(min_length=1, max_length=c.EVENTS_RANGE[1])

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if [event.order for event in self.events] != list(range(1, len(self.events) + 1)):
            raise ValueError("orders must be 1, 2, 3, … in the sequence of the events")
        return self

    def mismatch(self, scenario: Scenario, worded: bool = True) -> str:
        """Return why this does not refine `scenario`; empty if it does.

        `worded`: responses are written by the refiner rather than taken from the clips. A response to an event that the scenario
        leaves without one is not an error; it is not used.
        """
        if len(self.events) != len(scenario.events):
            return f"{len(scenario.events)} events were given, {len(self.events)} came back"
        for planned, refined in zip(scenario.events, self.events, strict=True):
            if worded and planned.responds and not refined.response:
                return f"event {planned.order}: responds is true, but there is no response"
        return ""


class SpokenText(Schema):
    """The rewriter's answer: text as it is spoken."""

    spoken: str = Field(min_length=1, max_length=4000)


class SpokenSegments(Schema):
    """The interpreter's answer: what it says after each clause, in order; empty where the sense is still open."""

    segments: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(min_length=1, max_length=500)


class HistoryQuestion(Schema):
    """The history-review writer's answer: a question that only an earlier turn answers."""

    question: Line
    answer: Line
    turn: int = Field(ge=1)
    """1-based turn that the answer depends on."""

    def mismatch(self, turns: int, distance: int) -> str:
        """Return an error if the turn is less than `distance` before the last of `turns`; else an empty string."""
        last = turns - distance
        return "" if self.turn <= last else f"turn {self.turn} is too recent; it must be one of 1 to {last}"


class HistoryAnswer(Schema):
    """What a listener says who heard the turns, or all but one: tells whether a question depends on that one."""

    known: bool
    """Whether the turns answer the question."""
    answer: str = Field(max_length=300)


class SilenceAudit(Schema):
    """The silent-audio auditor's answer: whether a sound deserves a response, under ProactiveSound-Bench's four criteria."""

    reason: Line
    """First field, so that the model gives its reason before its decision."""
    illness: bool
    """Sudden illness, injury or discomfort of a person."""
    weather: bool
    """Severe weather."""
    damage: bool
    """Equipment that may be damaged."""
    hazard: bool
    """A signal of danger around."""
    verdict: Literal["respond", "ignore", "borderline"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        met = self.illness or self.weather or self.damage or self.hazard
        if (self.verdict == "respond" and not met) or (self.verdict == "ignore" and met):
            raise ValueError(f"verdict {self.verdict!r} contradicts the four criteria")
        return self


ANSWERS: Final[dict[str, type[Schema]]] = {
    "scenario_planner": Scenario,
    "event_refiner": Refinement,
    "clip_verifier": ClipVerdict,
    "spoken_rewriter": SpokenText,
    "interpreter": SpokenSegments,
    "history_question": HistoryQuestion,
    "history_answerer": HistoryAnswer,
    "silence_auditor": SilenceAudit,
}
"""Answer type of each role."""
