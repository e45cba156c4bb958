"""The plan of a stream. Its audio and tokens are a pure function of the plan and the clips.

Times are samples at 16 kHz from the start of the stream unless stated otherwise. Chunk numbers are 1-based.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.clip import ClipFacts, Kind, Sha256
from soundflow.schemas.licences import licences_of
from soundflow.schemas.scene import Brief, Draw, Text
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.text import join_texts


class PlannedClip(ClipFacts):
    """A clip placed in a stream: `stream[offset : offset + length] += amplitude * clean[start : start + length]`."""

    clip_id: str
    content_sha256: Sha256
    clean_sha256: Sha256
    kind: Kind
    interpreter: str = ""
    offset: int = Field(ge=0)
    start: int = Field(ge=0)
    length: int = Field(gt=0)
    active_level_db: float
    gain_db: float
    """Gain of the role in dB relative to the reference level."""
    amplitude: float = Field(gt=0)
    """Linear factor 10 ** ((reference - active level + gain) / 20)."""


class PlannedNoise(Schema):
    """A noise track: a source tiled over the whole stream with equal-power crossfades of length ω."""

    track: Literal["event", "ambient"]
    clip_id: str | None
    """None for procedural noise."""
    content_sha256: Sha256 | None = None
    clean_sha256: Sha256 | None = None
    procedural: str | None = None
    """`procedural:<colour>:<seed>` for generated noise; None for a recording."""
    label: str = ""
    source: str = "procedural"
    licence: str = "CC0-1.0"
    attribution: str = ""
    start: int = Field(ge=0)
    """First sample of the tile in the source."""
    snr_db: float
    """σ, relative to the active power of the main track."""
    power: float = Field(gt=0)
    """Mean square of the tiled track before `amplitude`."""
    amplitude: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.clip_id is None) == (self.procedural is None):
            raise ValueError("a noise track needs either clip_id or procedural, not both")
        return self


class PlannedPiece(Schema):
    """A response of the scene, or a part of one, with its time."""

    event: int = Field(ge=0)
    """Index into `clips`."""
    text: Text
    source: str
    """Author of the text."""
    evidence: int = Field(gt=0)
    """Stream sample at which all audio that the response depends on has been played."""
    emotion: str = ""
    joins: bool = False
    """Whether this is a piece of a running text; pieces due in one chunk form one response."""


class PlannedResponse(Schema):
    """The response in one chunk. It opens at the end of the chunk."""

    chunk: int = Field(ge=1)
    due_chunk: int = Field(ge=1)
    """ceil(evidence of the last piece / c). Less than `chunk` if an earlier response occupies that chunk."""
    text: Text
    """The pieces' texts, joined."""
    pieces: tuple[PlannedPiece, ...] = Field(min_length=1)
    """One piece, or several of a running text."""

    @property
    def event(self) -> int:
        """Index into `clips` of the event of the last piece."""
        return self.pieces[-1].event

    @property
    def source(self) -> str:
        """Author of the last piece."""
        return self.pieces[-1].source


class StreamPlan(Schema):
    """The document from which a stream is rendered. Stored as KEY.json."""

    format: Literal["soundflow.stream/1"] = "soundflow.stream/1"
    sample_id: str
    fingerprint: Sha256
    shard: int = Field(ge=0)
    index: int = Field(ge=0)
    attempt: int = Field(0, ge=0)
    """Number of rejected draws before this one."""
    task: Task
    planner: str
    title: str
    instruction: Text
    brief: Brief = Field(default_factory=dict)
    """Parts of the instruction that are specific to this stream (`schemas.scene.Scene`)."""
    token_layout: str
    """`name/version`."""
    chunks: int = Field(ge=1)
    samples: int = Field(ge=1)
    clips: tuple[PlannedClip, ...] = Field(min_length=1)
    noises: tuple[PlannedNoise, ...] = ()
    responses: tuple[PlannedResponse, ...] = ()
    reference_level_dbfs: float
    main_power: float = Field(gt=0)
    """Mean square of the main track over its active frames, before `scale`."""
    scale: float = Field(gt=0, le=1)
    """Factor on the whole stream that keeps its peak within the limit; 1 if none was needed."""
    draws: tuple[Draw, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.samples != self.chunks * c.CHUNK_SAMPLES:
            raise ValueError(f"samples is {self.samples}, but {self.chunks} chunks have {self.chunks * c.CHUNK_SAMPLES}")
        chunks = [response.chunk for response in self.responses]
        if any(later <= earlier for earlier, later in pairwise(chunks)):
            raise ValueError("the chunks of responses must increase strictly")
        if chunks and chunks[-1] > self.chunks:
            raise ValueError("a response is due after the end of the stream")
        if any(clip.offset + clip.length > self.samples for clip in self.clips):
            raise ValueError("a clip ends after the end of the stream")
        if any(piece.event >= len(self.clips) for response in self.responses for piece in response.pieces):
            raise ValueError("a response refers to an event that is not in the plan")
        return self

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / c.SAMPLE_RATE

    def licences(self) -> list[str]:
        """Return the ids of the licences of all clips and noises (`schemas.licences`), sorted and without duplicates."""
        stated = {clip.licence for clip in self.clips} | {noise.licence for noise in self.noises}
        return sorted({licence.id for text in stated for licence in licences_of(text)})

    def emotions(self) -> dict[int, str]:
        """Return a mapping from chunk to the emotion of its response, for responses with a known emotion."""
        return {response.chunk: emotion for response in self.responses if (emotion := response.pieces[-1].emotion)}

    def timeline(self) -> list[tuple[int, str]]:
        """Return the response timeline T of Algorithms 2 and 3: (chunk, text) with increasing 1-based chunks."""
        return [(response.chunk, response.text) for response in self.responses]


def timeline_of(pieces: Sequence[PlannedPiece]) -> tuple[PlannedResponse, ...]:
    """Return T of Algorithm 3: each piece is due in chunk ceil(evidence / c), or in the next chunk without a response.

    Pieces of a running text that are due by the end of a chunk form one response. `pieces` must be in order of their evidence.
    """
    responses: list[PlannedResponse] = []
    for piece in pieces:
        last = responses[-1] if responses else None
        due = due_chunk(piece.evidence)
        if last is not None and due <= last.chunk and piece.joins and last.pieces[-1].joins:
            together = (*last.pieces, piece)
            responses.pop()
            text = join_texts(part.text for part in together)
            responses.append(PlannedResponse(chunk=last.chunk, due_chunk=due, text=text, pieces=together))
        else:
            chunk = max(due, last.chunk + 1 if last is not None else 1)
            responses.append(PlannedResponse(chunk=chunk, due_chunk=due, text=piece.text, pieces=(piece,)))
    return tuple(responses)


def due_chunk(evidence: int) -> int:
    """Return ceil(evidence / c), the 1-based chunk by whose end the evidence is complete. A boundary belongs to the chunk that
    ends there (settled)."""
    return -(-evidence // c.CHUNK_SAMPLES)
