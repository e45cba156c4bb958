"""Confidence intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval (Student's t) of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(np.mean(values)) - half, float(np.mean(values)) + half
