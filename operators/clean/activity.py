"""Signal activity: the settled reading of the paper's energy-percentile gate.

A gate at the 10th percentile, as the paper words it, cuts nothing above a noise floor and does not converge on digital silence.
Settled: the gate is 6 dB above the 10th percentile, limited to 45 to 15 dB below the 95th and to at least -65 dBFS.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas import constants as c

FLOOR_DBFS: Final = -65.0
"""Levels below this are silent in any clip."""
DIGITAL_SILENCE_DB: Final = -120.0
EMPTY_DB: Final = -200.0
"""Level that represents digital silence."""


def to_db(power: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return 10 log10 of a power (mean square), with -200 dB for digital silence."""
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-20)), dtype=np.float32)


def percentiles(values: NDArray[np.floating], *percents: float) -> list[float]:
    """Return `np.percentile` (linear interpolation) of a non-empty vector. Faster than numpy for short vectors."""
    ordered = np.sort(values)
    places = [percent / 100.0 * (ordered.size - 1) for percent in percents]
    below = [float(ordered[int(place)]) for place in places]
    above = [float(ordered[min(int(place) + 1, ordered.size - 1)]) for place in places]
    return [low + (place - int(place)) * (high - low) for place, low, high in zip(places, below, above, strict=True)]


def gate_db(levels_db: NDArray[np.floating]) -> float:
    """Return the level in dB below which a frame is silent. `levels_db`: one smoothed level per frame.

    Digital silence is ignored, since the percentiles would otherwise depend on the amount of padding.
    """
    recorded = levels_db[levels_db > DIGITAL_SILENCE_DB]
    if not recorded.size:
        return FLOOR_DBFS
    p10, p95 = percentiles(recorded, 10.0, 95.0)
    return max(min(max(p10 + 6.0, p95 - 45.0), p95 - 15.0), FLOOR_DBFS)


def smooth3(power: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean over three neighbouring frames (two at the ends)."""
    total: NDArray[np.floating] = power.copy()
    total[1:] += power[:-1]
    total[:-1] += power[1:]
    total[1:-1] /= 3.0
    if power.size > 1:
        total[0] /= 2.0
        total[-1] /= 2.0
    return total


def hop_power(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean square per hop of 12.5 ms, shape (ceil(n / 200),). A short last hop is averaged over its own samples."""
    whole = samples.size // c.STFT_HOP * c.STFT_HOP
    frames = samples[:whole].reshape(-1, c.STFT_HOP)
    power = np.einsum("ij,ij->i", frames, frames) / np.float32(c.STFT_HOP)
    rest = samples[whole:]
    if rest.size:
        power = np.append(power, np.float32(np.dot(rest, rest) / rest.size))
    return np.asarray(power, dtype=np.float32)


def active_hops(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each 12.5 ms hop whether it is active."""
    levels = to_db(smooth3(hop_power(samples)))
    return levels >= gate_db(levels) if levels.size else np.zeros(0, dtype=np.bool_)


def active_power(samples: NDArray[np.float32]) -> float:
    """Return the mean square over the active hops; 0.0 if none is active."""
    mask = active_hops(samples)
    return float(hop_power(samples)[mask].mean(dtype=np.float64)) if mask.any() else 0.0


def active_end(samples: NDArray[np.float32]) -> int:
    """Return the position one past the last active sample; 0 if none is active."""
    mask = active_hops(samples)
    return min(int(np.flatnonzero(mask)[-1] + 1) * c.STFT_HOP, samples.size) if mask.any() else 0
