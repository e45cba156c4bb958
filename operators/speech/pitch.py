"""The pitch of a voice: the median fundamental frequency of a rendering.

It stays within 14 % of a line through (log letters, log pitch) for one voice: short texts are higher. So a rendering at a wrong
sample rate, or by another speaker, is detected even if it is intelligible.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas import constants as c

FRAME: Final = 1024
"""Samples of a frame (64 ms): three periods of the lowest voice."""
HOP: Final = 400
LOWEST, HIGHEST = 60.0, 420.0
"""Range of pitch, in Hz."""
VOICED: Final = 0.6
"""Minimum normalised autocorrelation of a voiced frame."""
PEAK_SHARE: Final = 0.85
"""The shortest period with a peak of this share of the highest one is the pitch period: longer ones are its multiples."""
LOUD: Final = 0.1
"""Frames below this share of the mean power are ignored."""
FEWEST: Final = 6
"""Minimum number of voiced frames for a median."""
_WINDOW: Final = np.hanning(FRAME).astype(np.float32)


def median_pitch(samples: NDArray[np.float32]) -> float | None:
    """Return the pitch in Hz of samples of shape (n,) at 16 kHz; None when fewer than FEWEST frames are voiced."""
    if samples.size < FRAME:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.mean(np.square(frames), axis=1)
    frames = frames[power > LOUD * np.mean(power)]
    if not len(frames):
        return None
    frames = frames - frames.mean(axis=1, keepdims=True)
    shortest, longest = int(c.SAMPLE_RATE / HIGHEST), int(c.SAMPLE_RATE / LOWEST)
    correlation = _autocorrelation(frames * _WINDOW) / _autocorrelation(_WINDOW[None])
    correlation = correlation[:, shortest : longest + 1]
    best = correlation.max(axis=1, keepdims=True)
    inner = correlation[:, 1:-1]
    peaks = (inner > correlation[:, :-2]) & (inner >= correlation[:, 2:]) & (inner > PEAK_SHARE * best)
    voiced = peaks.any(axis=1) & (best[:, 0] > VOICED)
    if np.count_nonzero(voiced) < FEWEST:
        return None
    return float(np.median(c.SAMPLE_RATE / (shortest + 1 + peaks.argmax(axis=1)[voiced])))


def _autocorrelation(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the autocorrelation of frames of shape (n, FRAME), in the same shape, normalised to 1 at lag 0."""
    spectrum = np.fft.rfft(frames, 2 * FRAME)
    correlation = np.fft.irfft(np.square(np.abs(spectrum)))[:, :FRAME]
    return np.asarray(correlation / np.maximum(correlation[:, :1], 1e-20), dtype=np.float32)
