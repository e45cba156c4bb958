"""A clip: one recording after ingress and TFJP, as a row of the clip index."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from soundflow.schemas import constants as c
from soundflow.schemas.base import Schema
from soundflow.schemas.taxonomy import Urgency
from soundflow.schemas.text import join_texts

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Language = Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")]
"""A BCP 47 code such as `en` or `zh-CN`; empty if unknown."""
Kind = Literal["speech", "sound"]


class ClipRole(StrEnum):
    """How a clip is used in a stream: the three roles of Algorithm 3, and the two parts of its noise pool N."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    AMBIENT = "ambient"
    NOISE_EVENT = "noise_event"
    """N_evt. `noise` in a manifest stands for this role."""
    NOISE_AMBIENT = "noise_ambient"
    """N_amb."""


class TfjpConfig(Schema):
    """Parameters of TFJP (Algorithm 1). They are part of the keys of the clip cache."""

    silence_limit_ms: float = Field(1000 * c.SILENCE_LIMIT_SECONDS, ge=25, le=10_000)
    """Maximum length of a silent run in ms; longer runs are shortened to it (paper: τ)."""
    max_passes: int = Field(c.TFJP_MAX_PASSES, ge=1, le=20)
    """Maximum number of denoising passes (paper: K)."""
    subtraction_gain: float = Field(c.SUBTRACTION_GAIN, ge=0, le=4)
    """Factor of the noise profile in spectral subtraction (paper: γ)."""
    subtraction_floor: float = Field(c.SUBTRACTION_FLOOR, gt=0, le=1)
    """Minimum magnitude after subtraction, relative to the original magnitude (paper: β)."""
    noise_frame_share: float = Field(c.NOISE_FRAME_SHARE, gt=0, le=0.5)
    """Share of the frames with the lowest energy that make up the noise profile."""
    denoise: bool = True
    """Whether noise is subtracted. Always off for the ambient role, whose noise is the sound."""


class IngressConfig(Schema):
    """Limits that a file must meet to become a clip."""

    min_seconds: float = Field(0.05, ge=0.025)
    """Minimum length in seconds; shorter files are rejected as `too_short`."""
    max_seconds: float = Field(600.0, gt=0, le=36_000)
    """Maximum length in seconds; longer files are rejected as `too_long`."""
    silence_dbfs: float = Field(-65.0, le=0)
    """Level in dBFS. A file whose loudest 12.5 ms are below it is rejected as `silent`."""


class Cleaning(Schema):
    """Result of TFJP for one clip."""

    in_samples: int
    out_samples: int
    cut_ms: float
    """Silence in ms that `silence_cut` removed in all passes."""
    noise_floor_db: float | None
    """Mean level of the noise profile in dBFS; None if there were no frames to measure it."""
    denoised: bool
    span: tuple[float, float]
    """Start and end of the part that `core_locate` and `boundary_norm` kept, in seconds of the cut signal."""
    passes: int
    converged: bool


class Word(Schema):
    """A word of a transcript with its times, in samples of the cleaned clip."""

    text: str = Field(min_length=1)
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    """One past the last sample."""


class Segment(Schema):
    """A piece of a translation with the number of transcript words that precede it."""

    text: str = Field(min_length=1)
    words: int = Field(ge=1)


class Interpreted(Schema):
    """A translation in segments and its author: the fields of a clip that interpretation sets."""

    translation: str = Field(min_length=1)
    translation_language: Language
    segments: tuple[Segment, ...] = Field(min_length=1)
    interpreter: str = Field(min_length=1)


class ClipFacts(Schema):
    """What the source of a recording states about it; a clip and a planned clip carry it on unchanged."""

    role: ClipRole
    label: str
    """What the recording contains, such as `dog bark`."""
    caption: str = ""
    """A description of the recording in a sentence."""
    transcript: str | None = None
    """The words spoken in the recording; a clip with a transcript is speech."""
    reply: str | None = None
    """What an assistant answers to the transcript, when the source has paired dialogues."""
    emotion: str = ""
    """Emotion of the reply (`happy`, `sad` …), where the source states it."""
    language: Language = ""
    """Language of the transcript."""
    dialogue: str = ""
    """Name of the dialogue that the recording is a turn of; empty for others."""
    turn: int | None = Field(None, ge=0)
    """Position of the turn in its dialogue."""
    voice: str = ""
    """Name of the speaker."""
    translation: str | None = None
    """The transcript in another language, by a human translator or from the source."""
    translation_language: Language = ""
    licence: str = "unknown"
    attribution: str = ""
    source: str = "unknown"
    decision: Urgency | None = Field(None, exclude_if=lambda decision: decision is None)
    """Whether the sound calls for a response, according to the manifest, or in a build to the recipe; None if neither decides
    and the words of label and caption do (`schemas.decision.decision_of`)."""


class CleanClip(Schema):
    """What was measured on a cleaned clip. Lengths and positions are samples at 16 kHz."""

    clean_sha256: Sha256
    """Digest of the cleaned clip as little-endian PCM16."""
    samples: int = Field(gt=0)
    active_end: int = Field(ge=0)
    """One past the last active sample: where the evidence of the whole clip is complete."""
    active_level_db: float
    """RMS over active frames, in dBFS."""
    peak: float
    clipped_ratio: float
    """Share of full-scale samples in the source file."""
    cleaning: Cleaning | None = None
    """None for noise clips, which are not cleaned."""


class Clip(ClipFacts, CleanClip):
    """One row of the clip index. Lengths and positions are samples at 16 kHz of the cleaned clip."""

    id: str = Field(pattern=r"^[^\s/\\][^\n\r\t]*$", max_length=200)
    path: str
    """Absolute path of the source file when it was indexed."""
    content_sha256: Sha256
    """Digest of the source file's bytes."""
    cache_key: Sha256
    """Key of the cached PCM: a hash of content, treatment and versions."""
    wer: float | None = Field(None, ge=0)
    """Word error rate of the transcript against a speech recognizer (`soundflow speak`); None when none was run."""
    split: str = "train"
    words: tuple[Word, ...] = ()
    """The transcript, word by word (`schemas.text.words_of`), once the clip is aligned (`soundflow clips align`)."""
    transcript_rejected: str | None = Field(None, exclude_if=lambda reason: reason is None)
    """Reason why alignment found that the speech differs from the transcript, such as `does_not_fit`; None if it did not."""
    segments: tuple[Segment, ...] = ()
    """The translation, segment by segment, once a model has interpreted the clip (`soundflow clips interpret`)."""
    interpreter: str = ""
    """Author of the segments: `llm:` and the model's name, with `cut:` before it when the model only split an existing
    translation."""

    @model_validator(mode="after")
    def _words_fit(self) -> Self:
        if self.words:
            if join_texts(word.text for word in self.words) != self.transcript:
                raise ValueError("the words do not join to the transcript")
            marks = [(word.start, word.end) for word in self.words]
            if any(start > end for start, end in marks) or any(a > c or b > d for (a, b), (c, d) in pairwise(marks)):
                raise ValueError("word times must not decrease")
            if marks[-1][1] > self.samples:
                raise ValueError("a word ends after the end of the clip")
        if self.segments:
            if join_texts(segment.text for segment in self.segments) != self.translation:
                raise ValueError("the segments do not join to the translation")
            rests = [segment.words for segment in self.segments]
            if any(later <= earlier for earlier, later in pairwise(rests)) or rests[-1] > len(self.words):
                raise ValueError("the word counts of the segments must increase and must not exceed the number of words")
        return self

    @property
    def kind(self) -> Kind:
        """`speech` when the clip has a transcript, else `sound`."""
        return kind_of(self.transcript)


def kind_of(transcript: str | None) -> Kind:
    """Return `speech` for a recording with a transcript, else `sound`."""
    return "speech" if transcript else "sound"


class ClipRejection(Schema):
    """A file that was rejected, with the reason."""

    path: str
    reason: str
    detail: str = ""
