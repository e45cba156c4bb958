"""What is measured of a clip that may play an event: by us, never by a model, and alike for retrieved and for made clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean import columns as stft
from soundflow.operators.clean.activity import active_hops, to_db
from soundflow.operators.clean.clipping import clipped_ratio
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Clip
from soundflow.schemas.generation import Evidence
from soundflow.schemas.scenario import EventRole
from soundflow.schemas.taxonomy import label_words

FLOOR_PERCENT: Final = 10.0
"""Of the columns; the level that a bin is above for the rest of the time."""
FLOOR_BIAS: Final = 1.6
"""Mean of a steady noise against that percentile of it, three columns smoothed."""
FLOOR_BINS: Final = 21
"""A floor is smooth over 840 Hz: what stands out of it all the time is a tone, not noise."""
SHAPE_FLOOR_DB: Final = -40.0
"""Bands this far below the whole are not told apart."""

Audio = NDArray[np.float32]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts → unit vectors, shape (n, d)."""
EmbedAudio = Callable[[Sequence[Audio]], NDArray[np.float32]]
"""Sounds → unit vectors in the space of the texts, shape (n, d)."""
SpeechDetector = Callable[[Audio], float]
"""Samples → share of them that is speech."""


@dataclass(frozen=True, slots=True)
class RequiredClip:
    """What an event asks of a clip."""

    query: str
    """The words a sound library would file it under."""
    caption: str
    """How it sounds."""
    role: EventRole
    seconds: tuple[float, float]
    speech: bool = False
    """Whether somebody is meant to speak in it."""


@dataclass(frozen=True, slots=True)
class CandidateClip:
    """A clip as the verifier sees it; `samples` are the cleaned ones."""

    clip: Clip
    samples: Audio


def measure(
    required: RequiredClip,
    candidate: CandidateClip,
    neighbours: Sequence[Audio],
    embed: Embed,
    detect_speech: SpeechDetector | None = None,
    embed_audio: EmbedAudio | None = None,
) -> Evidence:
    """What there is to be known of `candidate` as `required`, beside `neighbours`: the cleaned clips before and after it.

    Rounded, to what a judge can use: the last bits differ from machine to machine, and questions to a model must not.
    """
    clip, samples = candidate.clip, candidate.samples
    heard = _ClipProfile.of(samples)
    others = [_ClipProfile.of(neighbour) for neighbour in neighbours]
    clipped = clipped_ratio(samples)
    gap = heard.level_db - float(np.mean([other.level_db for other in others])) if others else None
    distance = min(heard.distance(other) for other in others) if others else None
    return Evidence(
        seconds=round(samples.size / c.SAMPLE_RATE, 3),
        wanted_seconds=required.seconds,
        active_ratio=round(heard.active_ratio, 3),
        active_level_db=round(heard.level_db, 1),
        peak=round(float(np.abs(samples).max()), 3),
        clipped_ratio=round(max(clip.clipped_ratio, clipped), 5),
        snr_db=round(heard.snr_db, 1),
        similarity=round(similarity(required, candidate, embed, embed_audio), 3),
        level_gap_db=None if gap is None else round(gap, 1),
        spectral_distance_db=None if distance is None else round(distance, 1),
        speech_ratio=None if detect_speech is None else round(detect_speech(samples), 3),
    )


def similarity(required: RequiredClip, candidate: CandidateClip, embed: Embed, embed_audio: EmbedAudio | None = None) -> float:
    """The largest cosine of what is required (query, caption) and what the clip is said to be (label, caption, words of speech).

    An embedder that hears takes the clip itself in place of its words, unless speech is required: then words are what counts.
    """
    clip = candidate.clip
    asked = [text for text in (required.query, required.caption) if text]
    if embed_audio is not None and not required.speech and asked:
        return _closest(embed(asked), embed_audio([candidate.samples]))
    words = clip.transcript if required.speech else None
    said = [text for text in (" ".join(label_words(clip.label)), clip.caption, words) if text]
    if not asked or not said:
        return 0.0
    vectors = embed([*asked, *said])
    return _closest(vectors[: len(asked)], vectors[len(asked) :])


def _closest(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.clip((some @ others.T).max(), -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class _ClipProfile:
    """Level, floor and colour of one clip."""

    active_ratio: float
    level_db: float
    snr_db: float
    shape_db: NDArray[np.float32]
    """(32,) mean level per band of equal width over the active columns, against the whole."""

    @classmethod
    def of(cls, samples: Audio) -> _ClipProfile:
        """Measure (n,) samples."""
        active = active_hops(samples)
        _, magnitude, energy = stft.analyse(samples)
        power = magnitude * magnitude
        columns = np.zeros(energy.size, dtype=np.bool_)  # column k holds hops k - 1 and k
        columns[:-1] |= active
        columns[1:] |= active
        if not columns.any():
            columns[:] = True
        mean = power[columns].mean(axis=0)
        bands = mean @ stft.BAND_MATRIX
        whole = max(float(bands.sum()), 1e-20)
        shape = np.maximum(to_db(bands / whole), SHAPE_FLOOR_DB)
        return cls(float(active.mean()), float(to_db(np.asarray(whole))), _snr_db(power, mean), shape)

    def distance(self, other: _ClipProfile) -> float:
        """RMS difference of the shapes, dB."""
        return float(np.sqrt(np.mean((self.shape_db - other.shape_db) ** 2)))


def _snr_db(power: NDArray[np.float32], mean: NDArray[np.float32]) -> float:
    """Of columns (m, 201) and their mean over the active ones: sound against the floor that is always there, in -20 … 60 dB.

    Digital silence has no say in the floor. What is steady counts as floor, unless it is a tone.
    """
    smooth = power.copy()
    smooth[1:] += power[:-1]
    smooth[:-1] += power[1:]
    smooth /= 3.0
    heard = smooth[smooth.sum(axis=1) > 1e-9]
    if not heard.size:
        return -20.0
    quiet = np.percentile(heard, FLOOR_PERCENT, axis=0) * FLOOR_BIAS
    padded = np.pad(quiet, FLOOR_BINS // 2, mode="reflect")
    level = np.median(np.lib.stride_tricks.sliding_window_view(padded, FLOOR_BINS), axis=1)
    floor = np.minimum(quiet, level)
    noise = float(np.dot(np.minimum(floor, mean), stft.WEIGHTS))
    sound = float(np.dot(np.maximum(mean - floor, 0.0), stft.WEIGHTS))
    return float(np.clip(10.0 * np.log10(max(sound, 1e-12) / max(noise, 1e-12)), -20.0, 60.0))
