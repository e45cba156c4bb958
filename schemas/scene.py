"""A scene: the events and responses of a stream in order, before they are placed in time."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas.base import Schema
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.taxonomy import Task


def nfc(text: str) -> str:
    """Return `text` in NFC. Raises ValueError for a lone surrogate, which no tokenizer can represent."""
    text.encode("utf-8")
    return unicodedata.normalize("NFC", text)


Text = Annotated[str, AfterValidator(nfc)]
"""Text in NFC, the normal form of Qwen's tokenizer, so that decoded tokens equal the stored text."""


class SceneResponse(Schema):
    """A response of the assistant to an event. Times are samples at 16 kHz."""

    text: Text = Field(min_length=1)
    source: str
    """Origin of the text: `label`, `transcript`, `manifest`, `template`, or `llm:` and the name of the model."""
    evidence: int = Field(gt=0)
    """Position in the cleaned clip by which all audio that the response depends on has been played."""
    emotion: str = ""
    """Emotion of the response. Only the `authors` token layout stores it."""
    joins: bool = False
    """Whether this is a piece of a running text (transcript, interpretation); pieces due in one chunk form one response."""


class SceneEvent(Schema):
    """One clip in a role. Times are samples at 16 kHz."""

    clip_id: str
    role: ClipRole
    responses: tuple[SceneResponse, ...] = ()
    """Responses in order; empty if the assistant stays silent."""
    gap: int = Field(0, ge=0)
    """Pause before a foreground event, in samples."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [response.evidence for response in self.responses]
        if times != sorted(times):
            raise ValueError("responses must be in the order of their evidence")
        return self


BriefValue = str | int | tuple[Text, ...]
Brief = dict[str, BriefValue]
"""Variable parts of an instruction: the sound to count, the options of a choice, the condition of a trigger."""


class Draw(Schema):
    """One random decision, recorded to explain the stream."""

    what: str
    value: str | float | int | bool | None


class Scene(Schema):
    """The output of the planner and the input of the composer."""

    task: Task
    planner: str
    """`template`, `random`, or `llm:` and the name of the model."""
    title: str
    instruction: Text
    """System instruction that precedes the first chunk."""
    brief: Brief = Field(default_factory=dict)
    """Variable parts of the instruction. With the clips, they determine every response."""
    events: tuple[SceneEvent, ...] = Field(min_length=1)
    """Events in order. Foreground events play in this order; the others are placed at random."""
    draws: tuple[Draw, ...] = ()
