"""The columns of TFJP's STFT: square-root Hann window of 400 samples, hop 200, 50 % overlap.

Column k covers samples [200 (k - 1), 200 (k + 1)). Hop j, samples [200 j, 200 (j + 1)), is the sum of the second half of column j
and the first half of column j + 1; n samples have ceil(n / 200) + 1 columns. The product of analysis and synthesis window is a
periodic Hann window, which overlaps to one, so that reconstruction is exact up to float32 rounding.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from soundflow.schemas import constants as c

HOP: Final = c.STFT_HOP
SIZE: Final = c.STFT_SIZE
BINS: Final = SIZE // 2 + 1
BLOCK: Final = 256
"""Columns per block, chosen so that the spectra of a block fit the CPU cache."""
LOWEST_BIN: Final = 2
"""First bin at or above 60 Hz (bins are 40 Hz apart)."""
BANDS: Final = 32
ALL_BANDS: Final = np.ones(BANDS, dtype=np.float32)
"""Vector that sums band energies."""
TINY: Final = np.float32(1e-20)
KEPT_SCRATCH: Final = 1 << 23
"""Maximum number of floats that a thread keeps between clips: 32 MB, about 2 minutes of audio."""

WINDOW: Final = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)


def _weights() -> NDArray[np.float32]:
    """Return weights (201,) by which squared magnitudes sum to the mean square over the bins >= 60 Hz.

    Inner bins of the one-sided spectrum count twice; the mean square of the window is 1/2.
    """
    weights = np.full(BINS, 2.0 * 2.0 / SIZE**2)
    weights[-1] /= 2.0
    weights[:LOWEST_BIN] = 0.0
    return weights.astype(np.float32)


def _band_matrix() -> NDArray[np.float32]:
    """Return the matrix (201, 32) that sums the bins >= 60 Hz in bands of equal width."""
    matrix = np.zeros((BINS, BANDS), dtype=np.float32)
    used = np.arange(LOWEST_BIN, BINS)
    matrix[used, (used - LOWEST_BIN) * BANDS // used.size] = WEIGHTS[used]
    return matrix


WEIGHTS: Final = _weights()
BAND_MATRIX: Final = _band_matrix()


class Scratch(threading.local):
    """Working memory of one thread, reused between clips. Allocating new pages costs as much as the transforms."""

    def __init__(self) -> None:
        self._kept = np.empty(0, dtype=np.float32)

    def take(self, *sizes: int) -> list[NDArray[np.float32]]:
        """Return uninitialised float32 arrays, valid until the next `take`. The memory of long clips is not kept."""
        total = sum(sizes)
        memory = self._kept if total <= self._kept.size else np.empty(total, dtype=np.float32)
        if memory.size <= KEPT_SCRATCH:
            self._kept = memory
        return np.split(memory[:total], np.cumsum(sizes)[:-1])


def analyse(
    samples: NDArray[np.float32], scratch: Scratch | None = None
) -> tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.float32]]:
    """Return spectrum (m, 201), magnitude (m, 201) and energy (m,) of the m = ceil(n / 200) + 1 columns of n samples.

    The signal is padded with zeros on both sides. Energy is the mean square over the bins >= 60 Hz. With a `scratch`, spectrum
    and magnitude are views of its memory.
    """
    count = -(-samples.size // HOP) + 1
    taken = (scratch or Scratch()).take(2 * count * BINS, count * BINS, (count + 1) * HOP)
    spectrum = taken[0].view(np.complex64).reshape(count, BINS)
    magnitude = taken[1].reshape(count, BINS)
    padded = taken[2]
    padded[:HOP] = 0.0
    padded[HOP : HOP + samples.size] = samples
    padded[HOP + samples.size :] = 0.0
    frames = np.lib.stride_tricks.as_strided(padded, (count, SIZE), (HOP * padded.itemsize, padded.itemsize), writeable=False)
    energy = np.empty(count, dtype=np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        spectrum[rows] = scipy.fft.rfft(frames[rows] * WINDOW, axis=1, workers=1)
        block = np.abs(spectrum[rows], out=magnitude[rows])
        np.matmul(block * block, WEIGHTS, out=energy[rows])
    return spectrum, magnitude, energy


@dataclass(frozen=True, slots=True)
class Columns:
    """A selection of the columns of an analysis, with the noise that is subtracted from their magnitudes.

    Dropping columns copies no spectrum. Subtraction is max(|X| - noise, floor |X|) with one noise vector.
    """

    magnitude: NDArray[np.float32]
    """(all, 201), before subtraction."""
    source: NDArray[np.intp]
    """(m,) rows of `magnitude`, increasing."""
    energy: NDArray[np.float32]
    """(m,) mean square over the bins >= 60 Hz, after subtraction."""
    noise: NDArray[np.float32] | None = None
    """(201,), sum of the noise that all passes subtract."""
    bands: NDArray[np.float32] | None = None
    """(m, 32), `energy` in bands of equal width; None before the first use (see `in_bands`)."""
    floor: np.float32 = np.float32(c.SUBTRACTION_FLOOR)  # noqa: RUF009 (a constant)

    def take(self, keep: NDArray[np.bool_] | slice) -> Columns:
        """Return the columns selected by `keep`."""
        bands = None if self.bands is None else self.bands[keep]
        return replace(self, source=self.source[keep], energy=self.energy[keep], bands=bands)

    def subtract(self, noise: NDArray[np.float32]) -> Columns:
        """Return the columns with `noise` (201,) subtracted in addition to earlier subtractions."""
        total = noise if self.noise is None else self.noise + noise
        bands = replace(self, noise=total, bands=None).in_bands()
        return replace(self, noise=total, bands=bands, energy=bands @ ALL_BANDS)

    def magnitudes(self, chosen: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Return the magnitudes of the `chosen` columns after subtraction."""
        block = self.magnitude[self.source[chosen]]
        if self.noise is None:
            return block
        minimum = block * self.floor
        np.subtract(block, self.noise, out=block)
        np.maximum(block, minimum, out=block)
        return block

    def in_bands(self) -> NDArray[np.float32]:
        """Return the energy in bands of equal width, shape (m, 32). The bands sum to `energy`."""
        if self.bands is not None:
            return self.bands
        out = np.empty((self.source.size, BANDS), dtype=np.float32)
        for start in range(0, self.source.size, BLOCK):
            block = self.magnitudes(slice(start, start + BLOCK))
            np.matmul(np.multiply(block, block, out=block), BAND_MATRIX, out=out[start : start + BLOCK])
        return out

    def synthesise(self, spectrum: NDArray[np.complex64], hops: int) -> NDArray[np.float32]:
        """Return (200 hops,) samples from the centre of the first column, with zeros after the last: the inverse of `analyse`."""
        out = np.zeros((hops + 2, HOP), dtype=np.float32)
        for start in range(0, self.source.size, BLOCK):
            rows = self.source[start : start + BLOCK]
            block = spectrum[rows]
            if self.noise is not None:
                block *= self.magnitudes(slice(start, start + BLOCK)) / (self.magnitude[rows] + TINY)
            frames = scipy.fft.irfft(block, n=SIZE, axis=1, workers=1, overwrite_x=True)
            frames *= WINDOW
            stop = start + rows.size
            out[start:stop] += frames[:, :HOP]
            out[start + 1 : stop + 1] += frames[:, HOP:]
        out[self.source.size :] = 0.0
        return out[1:-1].reshape(-1)
