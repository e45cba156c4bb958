"""A scene: what happens in a stream, in which order, and what is answered, before anything has a place in time."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.taxonomy import Task


def nfc(text: str) -> str:
    """`text` in NFC; ValueError for a lone surrogate, which no tokenizer could give back."""
    text.encode("utf-8")
    return unicodedata.normalize("NFC", text)


Text = Annotated[str, AfterValidator(nfc)]
"""Unicode in NFC, the form Qwen's tokenizer works on: what is stored is what the tokens give back."""


class SceneResponse(Schema):
    """Something the assistant says at an event. Times are samples at 16 kHz."""

    text: Text = Field(min_length=1)
    source: str
    """Who wrote it: `label`, `transcript`, `manifest`, `template`, or `llm:` and the name of the model that did."""
    evidence: int = Field(gt=0)
    """Samples into the cleaned clip at which all it rests on has been heard."""
    emotion: str = ""
    """How it sounds; only the `authors` token layout has a place for it."""
    joins: bool = False
    """A piece of one running text (a transcript, an interpretation): pieces due in one chunk are one response."""


class SceneEvent(Schema):
    """One clip in a role. Times are samples at 16 kHz."""

    clip_id: str
    role: ClipRole
    responses: tuple[SceneResponse, ...] = ()
    """What the assistant says at it, in order; none = stay silent."""
    gap: int = Field(0, ge=0)
    """Silence before a foreground event."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [response.evidence for response in self.responses]
        if times != sorted(times):
            raise ValueError("responses stand in the order of their evidence")
        return self


BriefValue = str | int | tuple[Text, ...]
Brief = dict[str, BriefValue]
"""What an instruction says beyond its fixed words: the sound to count, the options of a choice, the condition of a trigger."""


class Draw(Schema):
    """One random decision, kept so that a stream explains itself."""

    what: str
    value: str | float | int | bool | None


class Scene(Schema):
    """What the planner hands to the composer."""

    task: Task
    planner: str
    """Who planned it: `template`, `random`, or `llm:` and the model's name."""
    title: str
    instruction: Text
    """The system instruction the model is given before the first chunk."""
    brief: Brief = Field(default_factory=dict)
    """What it says of this stream in particular; with the clips it decides every response."""
    events: tuple[SceneEvent, ...] = Field(min_length=1)
    """In order; the foreground plays in this order, others are placed at random."""
    draws: tuple[Draw, ...] = ()
