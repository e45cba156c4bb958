"""The plan of a stream. Audio and tokens are a pure function of it and the clips: rule 1 of the house.

All times are samples at 16 kHz from the start of the stream unless a name says otherwise; chunk numbers are 1-based.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.clip import ClipFacts, Kind, Sha256
from soundflow.schemas.scene import Brief, Draw, Text
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.text import join_texts


class PlannedClip(ClipFacts):
    """A clip with a place: `stream[offset : offset + length] += amplitude * clean[start : start + length]`."""

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
    """Role gain relative to the reference level."""
    amplitude: float = Field(gt=0)
    """The multiplier: 10 ** ((reference - active level + gain) / 20)."""


class PlannedNoise(Schema):
    """A noise track: the source tiled over the whole stream with equal-power crossfades of ω."""

    track: Literal["event", "ambient"]
    clip_id: str | None
    """None for procedural noise."""
    content_sha256: Sha256 | None = None
    clean_sha256: Sha256 | None = None
    procedural: str | None = None
    """`procedural:<colour>:<seed>` when there was no recording: it says so."""
    label: str = ""
    source: str = "procedural"
    licence: str = "CC0-1.0"
    attribution: str = ""
    start: int = Field(ge=0)
    """Where in the source the tile begins."""
    snr_db: float
    """σ against the active power of the main track."""
    power: float = Field(gt=0)
    """Mean square of the tiled track before `amplitude`."""
    amplitude: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.clip_id is None) == (self.procedural is None):
            raise ValueError("a noise track has either a clip or a procedural source")
        return self


class PlannedPiece(Schema):
    """A response of the scene with a place in time."""

    event: int = Field(ge=0)
    """Index into `clips`."""
    text: Text
    source: str
    """Who wrote it."""
    evidence: int = Field(gt=0)
    """When all it rests on has been heard, in stream samples."""
    emotion: str = ""
    joins: bool = False


class PlannedResponse(Schema):
    """What is said in one chunk, and the chunk in whose end it opens."""

    chunk: int = Field(ge=1)
    due_chunk: int = Field(ge=1)
    """ceil(evidence of the last piece / c); less than `chunk` when an earlier response took that place."""
    text: Text
    """The pieces' texts, joined."""
    pieces: tuple[PlannedPiece, ...] = Field(min_length=1)
    """One, or several of a running text."""

    @property
    def event(self) -> int:
        """Index into `clips` of the event that completes it."""
        return self.pieces[-1].event

    @property
    def source(self) -> str:
        """Who wrote it."""
        return self.pieces[-1].source


class StreamPlan(Schema):
    """Everything about one stream. Stored as KEY.json."""

    format: Literal["soundflow.stream/1"] = "soundflow.stream/1"
    sample_id: str
    fingerprint: Sha256
    shard: int = Field(ge=0)
    index: int = Field(ge=0)
    attempt: int = Field(0, ge=0)
    """How many draws were rejected before this one."""
    task: Task
    planner: str
    title: str
    instruction: Text
    brief: Brief = Field(default_factory=dict)
    """What the instruction says of this stream in particular (`schemas.scene.Scene`)."""
    token_layout: str
    """`name/version`."""
    chunks: int = Field(ge=1)
    samples: int = Field(ge=1)
    clips: tuple[PlannedClip, ...] = Field(min_length=1)
    noises: tuple[PlannedNoise, ...] = ()
    responses: tuple[PlannedResponse, ...] = ()
    reference_level_dbfs: float
    main_power: float = Field(gt=0)
    """Mean square of the main track over its active frames (foreground activity), before `scale`."""
    scale: float = Field(gt=0, le=1)
    """Applied to the whole stream so that its peak stays within the limit; 1 when it was."""
    draws: tuple[Draw, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.samples != self.chunks * c.CHUNK_SAMPLES:
            raise ValueError(f"{self.samples} samples are not {self.chunks} chunks of {c.CHUNK_SAMPLES}")
        chunks = [response.chunk for response in self.responses]
        if any(later <= earlier for earlier, later in pairwise(chunks)):
            raise ValueError("response chunks must increase strictly")
        if chunks and chunks[-1] > self.chunks:
            raise ValueError("a response lies past the end of the stream")
        if any(clip.offset + clip.length > self.samples for clip in self.clips):
            raise ValueError("a clip lies past the end of the stream")
        if any(piece.event >= len(self.clips) for response in self.responses for piece in response.pieces):
            raise ValueError("a response names an event that is not in the plan")
        return self

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / c.SAMPLE_RATE

    def licences(self) -> list[str]:
        """Licences of everything audible in the stream, sorted, each once."""
        return sorted({clip.licence for clip in self.clips} | {noise.licence for noise in self.noises})

    def emotions(self) -> dict[int, str]:
        """Chunk → how the response in it sounds, where that is known."""
        return {response.chunk: emotion for response in self.responses if (emotion := response.pieces[-1].emotion)}

    def timeline(self) -> list[tuple[int, str]]:
        """The response timeline T of Algorithms 2 and 3: (chunk, text), chunk 1-based and increasing."""
        return [(response.chunk, response.text) for response in self.responses]


def timeline_of(pieces: Sequence[PlannedPiece]) -> tuple[PlannedResponse, ...]:
    """T of Algorithm 3: t = ceil(evidence / c) for each piece; of two due in one chunk the later goes to the next free one.

    Pieces of a running text that are due by a chunk's end are one response there. `pieces` in the order of their evidence.
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
    """ceil(evidence / c): the 1-based chunk in whose END the evidence is complete (settled: a boundary belongs to the
    chunk that ends there)."""
    return -(-evidence // c.CHUNK_SAMPLES)
