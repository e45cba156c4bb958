"""A clip: one recording after ingress and TFJP, as a row of the clip index."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas import constants as c
from schemas.base import Schema

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClipRole(StrEnum):
    """What a clip may be in a stream. The first three are roles of Algorithm 3, the last two its noise pool N."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    AMBIENT = "ambient"
    NOISE_EVENT = "noise_event"
    """N_evt; `noise` in a manifest means this."""
    NOISE_AMBIENT = "noise_ambient"
    """N_amb."""


class TfjpConfig(Schema):
    """Parameters of Algorithm 1; the clip cache is keyed by them."""

    silence_limit_ms: float = Field(1000 * c.SILENCE_LIMIT_SECONDS, ge=25, le=10_000)
    max_passes: int = Field(c.TFJP_MAX_PASSES, ge=1, le=20)
    subtraction_gain: float = Field(c.SUBTRACTION_GAIN, ge=0, le=4)
    subtraction_floor: float = Field(c.SUBTRACTION_FLOOR, gt=0, le=1)
    noise_frame_share: float = Field(c.NOISE_FRAME_SHARE, gt=0, le=0.5)
    denoise: bool = True
    """Off for the ambient role: its noise is the sound."""


class IngressConfig(Schema):
    """What a file must be to become a clip."""

    min_seconds: float = Field(0.05, ge=0.025)
    max_seconds: float = Field(600.0, gt=0, le=36_000)
    """Longer files are rejected as `too_long`: cut them first, or raise the limit."""
    silence_dbfs: float = Field(-65.0, le=0)
    """A file whose loudest 12.5 ms stay below this is rejected as `silent`."""


class Cleaning(Schema):
    """What TFJP did to a clip."""

    in_samples: int
    out_samples: int
    cut_ms: float
    """Silence removed by `silence_cut`, all passes."""
    noise_floor_db: float | None
    """Mean level of the noise profile in dBFS; None when there was nothing to measure."""
    denoised: bool
    span: tuple[float, float]
    """Start and end, in seconds of the cut signal, of what `core_locate` and `boundary_norm` kept."""
    passes: int
    converged: bool


class Clip(Schema):
    """One row of the clip index. Lengths and positions are samples at 16 kHz in the CLEANED clip."""

    id: str = Field(pattern=r"^[^\s/\\][^\n\r\t]*$", max_length=200)
    path: str
    """Absolute path of the source file when it was indexed."""
    content_sha256: Sha256
    """Of the source file's bytes."""
    clean_sha256: Sha256
    """Of the cleaned clip as little-endian PCM16."""
    cache_key: Sha256
    """Content + treatment + versions; names the cached PCM."""
    role: ClipRole
    label: str
    caption: str = ""
    transcript: str | None = None
    """What is said in it; makes the clip speech."""
    reply: str | None = None
    """What an assistant answers to the transcript, when the source has paired dialogues."""
    licence: str = "unknown"
    attribution: str = ""
    source: str = "unknown"
    split: str = "train"
    samples: int = Field(gt=0)
    active_end: int = Field(ge=0)
    """One past the last active sample: where the evidence of the whole clip is complete."""
    active_level_db: float
    """RMS over active frames, dBFS."""
    peak: float
    clipped_ratio: float
    """Share of full-scale samples in the source."""
    cleaning: Cleaning | None = None
    """None for noise clips, which only pass ingress."""

    @property
    def kind(self) -> Literal["speech", "sound"]:
        """Speech is what has a transcript."""
        return "speech" if self.transcript else "sound"


class ClipRejection(Schema):
    """A file that did not become a clip, and why."""

    path: str
    reason: str
    detail: str = ""
