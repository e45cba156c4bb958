"""Ingress: one function between somebody's file and everything else. Mono, 16 kHz, no DC, finite, or a typed rejection.

Reasons: unreadable, not_a_file, empty, too_short, too_long, silent, not_finite.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from operators.activity import hop_power, to_db
from schemas import constants as c
from schemas.clip import IngressConfig
from schemas.outcome import Ok, Outcome, Rejected

INGRESS_VERSION: Final = "1"
FULL_SCALE: Final = 0.999
"""A sample at or above this counts as clipped."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A recording as everything downstream wants it."""

    samples: NDArray[np.float32]
    """Shape (n,), mono at 16 kHz, zero mean, |x| <= 1."""
    clipped_ratio: float
    """Share of full-scale samples in the source."""
    peak: float
    """Of the source, before the limit to 1."""
    rate: int
    channels: int
    seconds: float


def read_audio(path: Path, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008 (frozen)
    """Read any format soundfile knows; a file that cannot be used is Rejected with a reason, nothing is raised.

    The header is asked first, so that a two-hour file costs nothing; pipes and devices are never opened.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Rejected("not_a_file", {"detail": "neither a file nor a link to one"})
        if status.st_size == 0:
            return Rejected("empty", {"detail": "the file has no bytes"})
        with soundfile.SoundFile(path) as file:
            seconds = file.frames / file.samplerate
            if seconds > config.max_seconds:
                return Rejected("too_long", {"seconds": seconds, "limit": config.max_seconds})
            samples = file.read(dtype="float32", always_2d=True)
            return ingress(samples, file.samplerate, config)
    except (OSError, RuntimeError, ValueError) as error:  # soundfile raises LibsndfileError, a RuntimeError
        return Rejected("unreadable", {"detail": " ".join(str(error).split())})


def ingress(samples: NDArray[np.floating], rate: int, config: IngressConfig = IngressConfig()) -> Outcome[Ingested]:  # noqa: B008
    """Bring samples of shape (n,) or (n, channels) at `rate` Hz to mono float32 at 16 kHz, or reject them."""
    frames = np.asarray(samples, dtype=np.float32)
    frames = frames[:, None] if frames.ndim == 1 else frames
    if frames.size == 0:
        return Rejected("empty", {"detail": "the file has no samples"})
    if rate <= 0:
        return Rejected("unreadable", {"detail": f"sample rate {rate}"})
    seconds = frames.shape[0] / rate
    if seconds > config.max_seconds:
        return Rejected("too_long", {"seconds": seconds, "limit": config.max_seconds})
    if seconds < config.min_seconds:
        return Rejected("too_short", {"seconds": seconds, "limit": config.min_seconds})
    if not np.isfinite(frames).all():
        return Rejected("not_finite", {"detail": "NaN or infinity among the samples"})
    peak = float(np.abs(frames).max())
    clipped = float(np.mean(np.abs(frames).max(axis=1) >= FULL_SCALE))
    mono = frames.mean(axis=1, dtype=np.float64)
    mono /= max(1.0, float(np.abs(mono).max()))  # float files may exceed full scale, even by 1e30
    resampled = mono if rate == c.SAMPLE_RATE else soxr.resample(mono, rate, c.SAMPLE_RATE, quality="HQ")
    resampled = resampled - resampled.mean() if resampled.size else resampled
    if resampled.size < 2 * c.STFT_SIZE:
        return Rejected("too_short", {"seconds": seconds, "limit": 2 * c.STFT_SIZE / c.SAMPLE_RATE})
    limited = (resampled / max(1.0, float(np.abs(resampled).max()))).astype(np.float32)
    loudest = float(to_db(hop_power(limited)).max())
    if loudest < config.silence_dbfs:
        return Rejected("silent", {"loudest_dbfs": round(loudest, 1), "limit": config.silence_dbfs})
    return Ok(Ingested(limited, clipped, peak, rate, frames.shape[1], seconds))
