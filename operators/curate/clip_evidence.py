"""Measurements of candidate clips, which are the same for retrieved and for generated clips."""

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
"""Percentile of the power of a bin over time that estimates its noise floor."""
FLOOR_BIAS: Final = 1.6
"""Ratio of the mean of stationary noise to this percentile, after smoothing over three columns."""
FLOOR_BINS: Final = 21
"""Width of the median over bins (840 Hz) that keeps stationary tones out of the floor."""
SHAPE_FLOOR_DB: Final = -40.0
"""Minimum level of a band relative to the total."""

Audio = NDArray[np.float32]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Function from texts to unit vectors, shape (n, d)."""
EmbedAudio = Callable[[Sequence[Audio]], NDArray[np.float32]]
"""Function from recordings to unit vectors in the space of the texts, shape (n, d)."""
SpeechDetector = Callable[[Audio], float]
"""Function from samples to the share of them that is speech."""


@dataclass(frozen=True, slots=True)
class RequiredClip:
    """The clip that an event requires."""

    query: str
    """Retrieval query, in the words of a sound library."""
    caption: str
    """Description of the sound in one sentence."""
    role: EventRole
    seconds: tuple[float, float]
    speech: bool = False
    """Whether the event is speech."""


@dataclass(frozen=True, slots=True)
class CandidateClip:
    """A candidate with its cleaned samples."""

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
    """Measure `candidate` against `required` and `neighbours`, the cleaned clips before and after it.

    Values are rounded, since their last bits differ between machines and prompts must not.
    """
    clip, samples = candidate.clip, candidate.samples
    profile = _ClipProfile.of(samples)
    others = [_ClipProfile.of(neighbour) for neighbour in neighbours]
    clipped = clipped_ratio(samples)
    gap = profile.level_db - float(np.mean([other.level_db for other in others])) if others else None
    distance = min(profile.distance(other) for other in others) if others else None
    return Evidence(
        seconds=round(samples.size / c.SAMPLE_RATE, 3),
        wanted_seconds=required.seconds,
        active_ratio=round(profile.active_ratio, 3),
        active_level_db=round(profile.level_db, 1),
        peak=round(float(np.abs(samples).max()), 3),
        clipped_ratio=round(max(clip.clipped_ratio, clipped), 5),
        snr_db=round(profile.snr_db, 1),
        similarity=round(similarity(required, candidate, embed, embed_audio), 3),
        level_gap_db=None if gap is None else round(gap, 1),
        spectral_distance_db=None if distance is None else round(distance, 1),
        speech_ratio=None if detect_speech is None else round(detect_speech(samples), 3),
    )


def similarity(required: RequiredClip, candidate: CandidateClip, embed: Embed, embed_audio: EmbedAudio | None = None) -> float:
    """Return the largest cosine between the required texts (query, caption) and those of the clip (label, caption, transcript).

    With `embed_audio`, the audio of the clip replaces its texts, unless speech is required.
    """
    clip = candidate.clip
    queries = [text for text in (required.query, required.caption) if text]
    if embed_audio is not None and not required.speech and queries:
        return _closest(embed(queries), embed_audio([candidate.samples]))
    words = clip.transcript if required.speech else None
    texts = [text for text in (" ".join(label_words(clip.label)), clip.caption, words) if text]
    if not queries or not texts:
        return 0.0
    vectors = embed([*queries, *texts])
    return _closest(vectors[: len(queries)], vectors[len(queries) :])


def _closest(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.clip((some @ others.T).max(), -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class _ClipProfile:
    """Activity, level, SNR and spectral shape of a clip."""

    active_ratio: float
    level_db: float
    snr_db: float
    shape_db: NDArray[np.float32]
    """(32,) mean level in dB per band of equal width over the active columns, relative to the total."""

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
        """Return the RMS difference of the spectral shapes in dB."""
        return float(np.sqrt(np.mean((self.shape_db - other.shape_db) ** 2)))


def _snr_db(power: NDArray[np.float32], mean: NDArray[np.float32]) -> float:
    """Return the ratio of sound to stationary floor in dB, limited to -20 … 60.

    `power`: columns (m, 201); `mean`: their mean over the active ones. Digital silence does not affect the floor. Stationary
    sound counts as floor unless it is tonal.
    """
    smooth = power.copy()
    smooth[1:] += power[:-1]
    smooth[:-1] += power[1:]
    smooth /= 3.0
    recorded = smooth[smooth.sum(axis=1) > 1e-9]
    if not recorded.size:
        return -20.0
    quiet = np.percentile(recorded, FLOOR_PERCENT, axis=0) * FLOOR_BIAS
    padded = np.pad(quiet, FLOOR_BINS // 2, mode="reflect")
    level = np.median(np.lib.stride_tricks.sliding_window_view(padded, FLOOR_BINS), axis=1)
    floor = np.minimum(quiet, level)
    noise = float(np.dot(np.minimum(floor, mean), stft.WEIGHTS))
    sound = float(np.dot(np.maximum(mean - floor, 0.0), stft.WEIGHTS))
    return float(np.clip(10.0 * np.log10(max(sound, 1e-12) / max(noise, 1e-12)), -20.0, 60.0))
