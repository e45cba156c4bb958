"""The two noise tracks of Algorithm 3: a source tiled over the whole stream with equal-power crossfades of ω."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from schemas import constants as c
from schemas.base import InputError

PROCEDURAL_SECONDS: Final = 10
COLOURS: Final = {"pink": 0.5, "brown": 1.0}
"""Exponent of the amplitude's fall with frequency: 1/f power is pink, 1/f^2 brown."""


def tile(source: NDArray[np.float32], start: int, length: int) -> NDArray[np.float32]:
    """(length,) samples of `source` repeated without end, beginning at `start`.

    Each repetition overlaps the one before by ω = 20 ms (less when the source is shorter than two of them) with
    sine/cosine ramps, whose powers add up to one.
    """
    fade = min(c.FADE_SAMPLES, source.size // 2)
    period = source.size - fade
    loop = source[fade:].copy()  # the loop begins where the crossfade into it has ended
    if fade:
        angle = (np.arange(fade, dtype=np.float32) + np.float32(0.5)) * np.float32(np.pi / 2 / fade)
        loop[-fade:] = source[-fade:] * np.cos(angle) + source[:fade] * np.sin(angle)
    repeats = -(-(start % period + length) // period)
    return np.tile(loop, repeats)[start % period :][:length]


def procedural(name: str) -> NDArray[np.float32]:
    """`procedural:<colour>:<seed>` → 10 s of coloured noise at RMS 0.1, float32. The same name gives the same samples."""
    kind, _, rest = name.partition(":")
    colour, _, seed = rest.partition(":")
    if kind != "procedural" or colour not in COLOURS or not seed.isdigit():
        raise InputError("is not procedural noise", value=name, remedy=f"procedural:<{'|'.join(COLOURS)}>:<seed>")
    count = PROCEDURAL_SECONDS * c.SAMPLE_RATE
    white = np.random.Generator(np.random.PCG64(int(seed))).standard_normal(count)
    spectrum = scipy.fft.rfft(white, workers=1)
    frequency = np.maximum(np.arange(spectrum.size) * c.SAMPLE_RATE / count, 40.0)
    coloured = scipy.fft.irfft(spectrum / frequency ** COLOURS[colour], n=count, workers=1)
    return np.asarray(0.1 * coloured / np.sqrt(np.mean(coloured**2)), dtype=np.float32)
