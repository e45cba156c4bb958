"""What a listening model tells, chunk by chunk and token by token."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soundflow.schemas.base import Schema

Kind = Literal["silent", "response", "token", "eos", "reanchored"]


class Event(Schema):
    """One thing that happened. Chunk numbers count from 1 since the session began, whatever was forgotten since."""

    kind: Kind
    chunk: int = Field(ge=1)
    """The chunk decided about; for tokens the one the response opened at; for `reanchored` the oldest still remembered."""
    text: str = ""
    """What a token adds to the response; may be empty in mid-character."""
    probability: float | None = None
    """Of <response> at the chunk's end, for `silent` and `response`."""
    called_by: int | None = None
    """On `response`: the first drained chunk that called for it; it may be an earlier one than where the response opens."""
    called_with: float | None = None
    """That chunk's probability."""
    cut: bool = False
    """On `eos`: the response reached the length limit, or was stopped."""


class ListenConfig(Schema):
    """How a session decides; nothing here changes the model."""

    threshold: float = Field(0.5, gt=0, lt=1)
    """Respond where the probability of <response> reaches this."""
    window_chunks: int = Field(60, ge=2)
    """Chunks of context the model was trained with (L_max)."""
    keep_chunks: int = Field(30, ge=0)
    """Chunks kept when the window is full: the last half (settled)."""
    window_tokens: int = Field(4096, ge=256)
    """Positions of context, text included; a memory bound, since one may speak at every chunk."""
    longest_drain: int = Field(60, ge=1)
    """Chunks read at once. With 1 what is decided and said does not depend on when chunks come."""
    remember_tokens: int = Field(0, ge=0, le=1024)
    """Text tokens of what was said in chunks that left the window, kept behind the instruction; 0 forgets."""
    longest_response: int = Field(256, ge=1, le=1024)
    """Text tokens; then the response is closed."""
    literal: bool = False
    """Algorithm 4 word for word: one control token per drain, decided at its last chunk. Measured to lose triggers."""
