"""Clipping: flat tops at the extremes of a recording. Level alone is no clipping: float files may exceed full scale."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FULL_SCALE: Final = 0.999
"""Absolute value from which samples may be clipped."""
_AT_EXTREME: Final = 0.999
"""Share of a channel's extreme from which a flat top is at it."""


class FlatTops:
    """Counts the frames in which a channel stays at its extreme: at least two equal samples in a row, at full scale or above.

    The extremes are those of all consecutive blocks with the same number of channels.
    """

    def __init__(self) -> None:
        self._frames = self._count = 0
        self._extremes: NDArray[np.floating] = np.zeros((2, 0))
        """Largest and smallest sample of each channel."""
        self._flat: list[NDArray[np.floating]] = []
        """Frames with flat samples; the other samples of these frames are 0."""
        self._last: tuple[NDArray[np.floating], NDArray[np.bool_]] | None = None
        """The last frame (1, channels), and where it equals the frame before it."""

    def add(self, block: NDArray[np.floating], peak: float) -> None:
        """Count a block of shape (frames, channels), frames >= 1, with the largest absolute value `peak`."""
        if block.shape[1] != self._extremes.shape[1]:
            self._finish()
            self._extremes = np.zeros((2, block.shape[1]))
        self._frames += block.shape[0]
        if peak < FULL_SCALE:
            self._flush()
            return
        self._extremes[0] = np.maximum(self._extremes[0], block.max(axis=0))
        self._extremes[1] = np.minimum(self._extremes[1], block.min(axis=0))
        rows = block if self._last is None else np.concatenate([self._last[0], block])
        equal = np.zeros((rows.shape[0] + 1, rows.shape[1]), dtype=bool)  # row n: sample n equals sample n - 1
        equal[1:-1] = (rows[1:] == rows[:-1]) & (np.abs(rows[1:]) >= FULL_SCALE)
        if self._last is not None:
            equal[0] = self._last[1]
        self._keep(rows[:-1], equal[:-2] | equal[1:-1])
        self._last = rows[-1:], equal[-2:-1]

    def ratio(self) -> float:
        """Return the share of frames with a flat top."""
        self._finish()
        return self._count / self._frames if self._frames else 0.0

    def _finish(self) -> None:
        self._flush()
        top, bottom = _AT_EXTREME * self._extremes
        for rows in self._flat:
            self._count += int(np.count_nonzero((((rows > 0) & (rows >= top)) | ((rows < 0) & (rows <= bottom))).any(axis=1)))
        self._flat = []

    def _flush(self) -> None:
        if self._last is not None:
            self._keep(*self._last)
            self._last = None

    def _keep(self, rows: NDArray[np.floating], flat: NDArray[np.bool_]) -> None:
        found = flat.any(axis=1)
        if found.any():
            self._flat.append(np.where(flat[found], rows[found], 0.0))


def clipped_ratio(samples: NDArray[np.floating]) -> float:
    """Return the share of samples of shape (n,) that lie in flat tops."""
    tops = FlatTops()
    if samples.size:
        tops.add(samples[:, None], float(np.abs(samples).max()))
    return tops.ratio()
