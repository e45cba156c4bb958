"""How high a voice is: the median fundamental frequency of a rendering.

A voice stays within 14 % of a line through (log letters, log pitch): short texts are higher. So a rendering whose samples were
taken for another rate, or that another speaker speaks, shows, however well it is understood.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas import constants as c

FRAME: Final = 1024
"""64 ms: three periods of the lowest voice."""
HOP: Final = 400
LOWEST, HIGHEST = 60.0, 420.0
"""Hz."""
VOICED: Final = 0.6
"""Normalised autocorrelation from which a frame has a pitch."""
NEAR: Final = 0.85
"""The shortest period counts whose peak is so near the highest one: longer ones are its multiples."""
LOUD: Final = 0.1
"""Frames below this share of the mean power are not looked at."""
FEWEST: Final = 6
"""Voiced frames a median needs."""
_WINDOW: Final = np.hanning(FRAME).astype(np.float32)


def median_pitch(samples: NDArray[np.float32]) -> float | None:
    """Hz, of (n,) samples at 16 kHz; None where too little is voiced."""
    if samples.size < FRAME:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.mean(np.square(frames), axis=1)
    frames = frames[power > LOUD * np.mean(power)]
    if not len(frames):
        return None
    frames = frames - frames.mean(axis=1, keepdims=True)
    shortest, longest = int(c.SAMPLE_RATE / HIGHEST), int(c.SAMPLE_RATE / LOWEST)
    alike = _autocorrelation(frames * _WINDOW) / _autocorrelation(_WINDOW[None])
    alike = alike[:, shortest : longest + 1]
    best = alike.max(axis=1, keepdims=True)
    peaks = (alike[:, 1:-1] > alike[:, :-2]) & (alike[:, 1:-1] >= alike[:, 2:]) & (alike[:, 1:-1] > NEAR * best)
    voiced = peaks.any(axis=1) & (best[:, 0] > VOICED)
    if np.count_nonzero(voiced) < FEWEST:
        return None
    return float(np.median(c.SAMPLE_RATE / (shortest + 1 + peaks.argmax(axis=1)[voiced])))


def _autocorrelation(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames, FRAME) → the same shape, 1 at lag 0."""
    spectrum = np.fft.rfft(frames, 2 * FRAME)
    found = np.fft.irfft(np.square(np.abs(spectrum)))[:, :FRAME]
    return np.asarray(found / np.maximum(found[:, :1], 1e-20), dtype=np.float32)
