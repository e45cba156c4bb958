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
    """Counts the frames in which a channel stays at its extreme: at least two equal samples in a row, at full scale or above."""

    def __init__(self) -> None:
        self.frames = 0
        self._top: NDArray[np.floating] | float = 0.0
        self._bottom: NDArray[np.floating] | float = 0.0
        self._last: NDArray[np.floating] | None = None
        """The last frame (1, channels), and where it equals the one before it."""
        self._last_equal: NDArray[np.bool_] | bool = False
        self._flat: list[NDArray[np.floating]] = []
        """Frames with a flat sample, the others of the frame set to 0."""

    def add(self, block: NDArray[np.floating], peak: float) -> None:
        """Count a block of shape (frames, channels) with the largest absolute value `peak`."""
        self.frames += block.shape[0]
        if peak < FULL_SCALE:
            self._flush()
            return
        if self._last is not None and self._last.shape[1] != block.shape[1]:
            self._flush()
        rows = block if self._last is None else np.concatenate([self._last, block])
        self._top, self._bottom = np.maximum(self._top, block.max(axis=0)), np.minimum(self._bottom, block.min(axis=0))
        equal = np.zeros((rows.shape[0] + 1, rows.shape[1]), dtype=bool)
        equal[1:-1] = (rows[1:] == rows[:-1]) & (np.abs(rows[1:]) >= FULL_SCALE)
        equal[0] = self._last_equal if self._last is not None else False
        self._keep(rows[:-1], (equal[:-1] | equal[1:])[:-1])
        self._last, self._last_equal = rows[-1:], equal[-2]

    def ratio(self) -> float:
        """Return the share of frames with a flat top."""
        self._flush()
        count = 0
        for rows in self._flat:
            top = (rows >= _AT_EXTREME * np.asarray(self._top)) & (rows > 0)
            bottom = (rows <= _AT_EXTREME * np.asarray(self._bottom)) & (rows < 0)
            count += int(np.count_nonzero((top | bottom).any(axis=1)))
        return count / self.frames if self.frames else 0.0

    def _flush(self) -> None:
        if self._last is not None:
            self._keep(self._last, np.atleast_2d(self._last_equal))
            self._last, self._last_equal = None, False

    def _keep(self, rows: NDArray[np.floating], flat: NDArray[np.bool_]) -> None:
        found = flat.any(axis=1)
        if found.any():
            self._flat.append(np.where(flat[found], rows[found], 0.0))


def clipped_ratio(samples: NDArray[np.floating]) -> float:
    """Return the share of samples of shape (n,) that lie in flat tops."""
    tops = FlatTops()
    tops.add(samples[:, None], float(np.abs(samples).max(initial=0.0)))
    return tops.ratio()
