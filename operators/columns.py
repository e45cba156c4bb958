"""The column domain of TFJP: one STFT, sqrt-Hann 400 samples, hop 200, 50 % overlap.

Column k covers samples [200 (k - 1), 200 (k + 1)), so hop j = samples [200 j, 200 (j + 1)) is column j's second half plus
column j + 1's first half, and n samples have ceil(n / 200) + 1 columns. Analysis and synthesis window multiply to a
periodic Hann, which sums to one: reconstruction is exact to float32 rounding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from schemas import constants as c

HOP: Final = c.STFT_HOP
SIZE: Final = c.STFT_SIZE
BINS: Final = SIZE // 2 + 1
BLOCK: Final = 256
"""Columns per block: a block's spectra stay in the cache."""
LOWEST_BIN: Final = 2
"""First bin at or above 60 Hz (bins are 40 Hz apart)."""
BANDS: Final = 32
TINY: Final = np.float32(1e-20)

WINDOW: Final = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)


def _band_matrix() -> NDArray[np.float32]:
    """(201, 33): column 0 sums the bins >= 60 Hz to mean-square units, the others gather them into 32 bands of equal
    width. A one-sided spectrum counts inner bins twice; the window's mean square is 1/2."""
    matrix = np.zeros((BINS, 1 + BANDS), dtype=np.float32)
    weight = np.full(BINS, 2.0)
    weight[-1] = 1.0
    weight *= 2.0 / SIZE**2
    used = np.arange(LOWEST_BIN, BINS)
    matrix[used, 0] = weight[used]
    matrix[used, 1 + (used - LOWEST_BIN) * BANDS // used.size] = weight[used]
    return matrix


BAND_MATRIX: Final = _band_matrix()


def analyse(
    samples: NDArray[np.float32],
) -> tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(n,) samples → m = ceil(n / 200) + 1 columns: spectrum (m, 201), its magnitude (m, 201), energy (m,), bands (m, 32).

    The signal continues as zeros on both sides. Energy and bands as in `reduce_noise`.
    """
    count = -(-samples.size // HOP) + 1
    padded = np.zeros((count + 1) * HOP, dtype=np.float32)
    padded[HOP : HOP + samples.size] = samples
    frames = np.lib.stride_tricks.as_strided(padded, (count, SIZE), (HOP * padded.itemsize, padded.itemsize), writeable=False)
    spectrum = np.empty((count, BINS), dtype=np.complex64)
    magnitude = np.empty((count, BINS), dtype=np.float32)
    table = np.empty((count, 1 + BANDS), dtype=np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        spectrum[rows] = scipy.fft.rfft(frames[rows] * WINDOW, axis=1, workers=1)
        block = np.abs(spectrum[rows], out=magnitude[rows])
        np.matmul(block * block, BAND_MATRIX, out=table[rows])
    return spectrum, magnitude, table[:, 0], table[:, 1:]


def reduce_noise(
    magnitude: NDArray[np.float32], noise: NDArray[np.float32], floor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Energy and bands of max(magnitude - noise, floor * magnitude).

    Returns the mean square per column (m,) over bins >= 60 Hz and its parts in 32 bands (m, 32).
    """
    table = np.empty((magnitude.shape[0], 1 + BANDS), dtype=np.float32)
    for start in range(0, magnitude.shape[0], BLOCK):
        block = magnitude[start : start + BLOCK]
        left = block - noise
        np.maximum(left, block * np.float32(floor), out=left)
        np.matmul(np.multiply(left, left, out=left), BAND_MATRIX, out=table[start : start + BLOCK])
    return table[:, 0], table[:, 1:]


def synthesise(
    spectrum: NDArray[np.complex64],
    source: NDArray[np.intp],
    magnitude: NDArray[np.float32],
    noise: NDArray[np.float32] | None,
    floor: float,
) -> NDArray[np.float32]:
    """Columns `source` of `spectrum`, `noise` taken off → (200 (m - 1),) samples from the first to the last column's centre.

    `magnitude` (m, 201) is that of the chosen columns. The inverse of `analyse` when every column is chosen.
    """
    count = source.size
    out = np.zeros((count + 1, HOP), dtype=np.float32)
    for start in range(0, count, BLOCK):
        block = spectrum[source[start : start + BLOCK]]
        if noise is not None:
            gain = noise / np.maximum(magnitude[start : start + BLOCK], TINY)
            np.maximum(np.subtract(np.float32(1.0), gain, out=gain), np.float32(floor), out=gain)
            block.real *= gain
            block.imag *= gain
        frames = scipy.fft.irfft(block, n=SIZE, axis=1, workers=1, overwrite_x=True)
        frames *= WINDOW
        stop = start + frames.shape[0]
        out[start:stop] += frames[:, :HOP]
        out[start + 1 : stop + 1] += frames[:, HOP:]
    return out[1:-1].reshape(-1)
