"""Runtime events: one discriminated union from the decoder loop to the client.

The decoder loop creates events, the worker process and the engine add theirs, the server's session numbers them, and only the
socket serialises them (`to_wire`) and parses them again (`parse_event`). `streaming.protocol` documents the wire format.
Chunk numbers start at 1 with the session and count every chunk the client sent, dropped ones included.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema

Probability = Annotated[float, PlainSerializer(lambda value: round(value, 4), when_used="json")]
"""Exact within the server; four decimals on the wire."""


DropReason = Literal["queue_full", "too_fast"]


class _Event(BaseModel):
    """Fields of every event. Unknown fields are ignored, so that a client understands a newer server."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sequence: int | None = None
    """1, 2, 3 … within the session; None until the session has numbered the event."""
    time: float | None = None
    """Seconds since the session began; None until the session has numbered the event."""

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire format."""
        document = self.model_dump(mode="json", exclude={"sequence", "time"})
        document = {"type": document.pop("type"), **document}
        return document if self.sequence is None else document | {"sequence": self.sequence, "time": self.time}


class _ChunkDecision(_Event):
    """Fields of a decision about one chunk."""

    chunk: int
    probability: Probability
    """Probability of <response> at the end of the chunk."""
    latency_ms: float = 0.0
    """Milliseconds from the arrival of the chunk's last sample to the decision; set by the worker."""
    queue: int = 0
    """Chunks of the session that still wait for a decision; set by the session."""
    drained: int = Field(1, exclude=True)
    """Chunks read in the same drain; set by the worker, not sent to clients."""


class ChunkSilent(_ChunkDecision):
    """The model stays silent after a chunk."""

    type: Literal["chunk.silent"] = "chunk.silent"


class ResponseCreated(_ChunkDecision):
    """The model opens a response after a chunk."""

    type: Literal["response.created"] = "response.created"
    called_by: int
    """First drained chunk whose probability reached the threshold; at most `chunk`."""
    called_with: Probability
    """Probability of <response> at that chunk."""


class TextDelta(_Event):
    """One generated token of the open response."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    chunk: int
    """Chunk at which the response opened."""
    delta: str
    """Text the token adds; empty within a multi-byte character."""


class ResponseDone(_Event):
    """The open response has ended."""

    type: Literal["response.done"] = "response.done"
    chunk: int
    """Chunk at which the response opened."""
    text: str
    """The whole response."""
    cut: bool = False
    """The response reached the length limit or was cancelled."""


class Reanchored(_Event):
    """The window was full: the cache was rebuilt from the instruction and the newest chunks."""

    type: Literal["session.reanchored"] = "session.reanchored"
    chunk: int
    """Oldest chunk still in the context."""


class AudioDropped(_Event):
    """Chunks were dropped without a decision."""

    type: Literal["input_audio.dropped"] = "input_audio.dropped"
    chunks: int
    reason: DropReason = "queue_full"
    """A queue was full, or the client was too far ahead of real time."""


class Restarted(_Event):
    """The worker processes were replaced; the session continues with an empty context."""

    type: Literal["session.restarted"] = "session.restarted"
    died: tuple[str, ...]
    """Names of the processes that died: `encoder`, `decoder`."""
    chunk: int
    """Newest chunk the client had sent."""
    lost: int
    """Chunks that will never be decided."""
    stalled: bool = Field(False, exclude=True)
    """The processes did not die by themselves: they stopped responding and were killed. Sent to clients as an error."""


class AudioDelta(_Event):
    """A piece of the spoken response."""

    type: Literal["response.output_audio.delta"] = "response.output_audio.delta"
    chunk: int
    """Chunk at which the response opened."""
    delta: str
    """Base64 of little-endian PCM16, mono, 16 kHz."""

    @classmethod
    def of(cls, chunk: int, pcm: bytes) -> AudioDelta:
        """Encode PCM16 bytes."""
        return cls(chunk=chunk, delta=base64.b64encode(pcm).decode())

    def samples(self) -> NDArray[np.int16]:
        """Return the samples, int16 of shape (n,)."""
        return np.frombuffer(base64.b64decode(self.delta), dtype="<i2")


class AudioDone(_Event):
    """The spoken response has ended."""

    type: Literal["response.output_audio.done"] = "response.output_audio.done"
    chunk: int
    """Chunk at which the response opened."""
    stopped: bool
    """The response was interrupted: the client discards audio it has not played yet."""


class SessionInfo(BaseModel):
    """What a client needs to know about its session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_ms: int
    """Decision period in milliseconds."""
    sample_rate: int
    """Hz of the audio the client sends."""
    id: str
    instruction: str
    speaks: bool = False
    """Responses are also spoken."""


class SessionCreated(_Event):
    """A new session is open."""

    type: Literal["session.created"] = "session.created"
    missed: int
    """Events discarded because too many were waiting for the client."""
    session: SessionInfo


class SessionResumed(_Event):
    """A new connection continues a session."""

    type: Literal["session.resumed"] = "session.resumed"
    missed: int
    """Events discarded because too many were waiting for the client."""
    session: SessionInfo


class ErrorDetail(BaseModel):
    """Code and message of an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str


class ErrorEvent(_Event):
    """Something failed. The server closes the connection after a fatal error."""

    type: Literal["error"] = "error"
    error: ErrorDetail

    @classmethod
    def of(cls, code: str, message: str) -> ErrorEvent:
        """Build an error from its code and message."""
        return cls(error=ErrorDetail(code=code, message=message))


DecoderEvent = ChunkSilent | ResponseCreated | TextDelta | ResponseDone | Reanchored
"""Events of the decoder loop (`streaming.listener`)."""
EngineEvent = DecoderEvent | AudioDropped | Restarted
"""Events the engine passes to a session."""
Event = EngineEvent | AudioDelta | AudioDone | SessionCreated | SessionResumed | ErrorEvent
"""Every event; `type` is the discriminator."""
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse_event(data: str | bytes) -> Event | None:
    """Parse one event of the wire format; None for a type this version does not know. Raises ValueError for anything else."""
    try:
        return _EVENT.validate_json(data)
    except ValidationError as error:
        if error.errors()[0]["type"] == "union_tag_invalid":
            return None
        raise


class ListenConfig(Schema):
    """How a session decides and responds. Nothing here changes the model."""

    threshold: float = Field(0.5, gt=0, lt=1)
    """Open a response where the probability of <response> reaches this value."""
    window_chunks: int = Field(60, ge=2)
    """Chunks of context the model was trained with (L_max)."""
    keep_chunks: int = Field(30, ge=0)
    """Chunks kept when the window is full: the last half."""
    window_tokens: int = Field(4096, ge=256)
    """Positions of context including text. Bounds the memory of a model that responds at every chunk."""
    longest_drain: int = Field(60, ge=1)
    """Maximum chunks read at once. With 1, decisions and responses do not depend on when chunks arrive."""
    remember_tokens: int = Field(0, ge=0, le=1024)
    """Text tokens of earlier responses, from chunks that left the window, kept behind the instruction; 0 keeps none."""
    longest_response: int = Field(256, ge=1, le=c.LONGEST_RESPONSE_TOKENS)
    """Maximum text tokens of a response."""
    literal: bool = False
    """Follow Algorithm 4 literally: one control token per drain, decided at its last chunk. Measured to lose triggers."""
