"""Plot of the effect of TFJP on a clip: waveform and spectrogram before and after, with the kept parts marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean import columns as stft
from soundflow.operators.clean.activity import to_db
from soundflow.operators.clean.tfjp import TfjpResult
from soundflow.schemas import constants as c

FLOOR_DB: Final = -80.0
KEPT_COLOUR: Final = "#2b7a4b"
WAVE_COLOUR: Final = "#33415c"
UNDATED: Final = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""Metadata without dates, so that equal clips give equal files."""


def plot_tfjp(before: NDArray[np.float32], result: TfjpResult, path: Path) -> None:
    """Plot `before` (n,) and `result` to `path`. The suffix (.png, .pdf, .svg) determines the format.

    Requires no display. Raises OSError if `path` cannot be written, ValueError for a suffix that matplotlib does not support.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, height_ratios=[1, 1.6, 1, 1.6])
    longest = max(before.size, result.samples.size) / c.SAMPLE_RATE
    limit = 1.05 * max(float(np.abs(before).max()), float(np.abs(result.samples).max()), 1e-4)
    for title, samples, wave, picture in (("before", before, *axes[:2]), ("after", result.samples, *axes[2:])):
        _draw_wave(wave, samples, limit, longest)
        image = _draw_spectrogram(picture, samples, longest)
        wave.set_title(f"{title}: {samples.size / c.SAMPLE_RATE:.2f} s", loc="left", fontsize=10, fontweight="bold")
    for begin, end in _kept_spans(result):
        axes[0].axvspan(begin, end, ymax=0.06, color=KEPT_COLOUR, lw=0)
    axes[0].set_title("green: kept", loc="right", fontsize=9, color=KEPT_COLOUR)
    axes[2].set_title(_facts(result), loc="right", fontsize=9)
    axes[3].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes[[1, 3]], label="dBFS per bin", pad=0.01)
    figure.savefig(path, dpi=130, metadata=UNDATED.get(path.suffix.lower()))


def _draw_wave(axis: Any, samples: NDArray[np.float32], limit: float, longest: float) -> None:
    """Draw the envelope (minimum and maximum per pixel column), so that the cost does not depend on the length."""
    step = max(1, samples.size // 2000)
    blocks = samples[: samples.size // step * step].reshape(-1, step)
    time = np.arange(blocks.shape[0]) * step / c.SAMPLE_RATE
    axis.fill_between(time, blocks.min(axis=1), blocks.max(axis=1), color=WAVE_COLOUR, lw=0.4)
    axis.set(xlim=(0, longest), ylim=(-limit, limit), xticks=[], ylabel="sample")


def _draw_spectrogram(axis: Any, samples: NDArray[np.float32], longest: float) -> Any:
    magnitude = stft.analyse(samples)[1]
    step = max(1, magnitude.shape[0] // 2000)
    rows = magnitude[: magnitude.shape[0] // step * step].reshape(-1, step, stft.BINS).max(axis=1)
    level = np.maximum(to_db(rows**2 * (4.0 / stft.SIZE**2)), FLOOR_DB - 20.0)
    extent = (0.0, samples.size / c.SAMPLE_RATE, 0.0, c.SAMPLE_RATE / 2000)
    image = axis.imshow(level.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=FLOOR_DB - 20, vmax=-20)
    axis.set(xlim=(0, longest), ylabel="kHz")
    return image


def _kept_spans(result: TfjpResult) -> list[tuple[float, float]]:
    """Return the spans of the input that are in the output, in seconds."""
    kept = result.kept[result.kept >= 0]
    begins = np.flatnonzero(np.diff(kept, prepend=-2) != 1)
    ends = np.append(begins[1:], kept.size) - 1
    hop = c.STFT_HOP / c.SAMPLE_RATE
    return [(float(kept[begin]) * hop, float(kept[end] + 1) * hop) for begin, end in zip(begins, ends, strict=True)]


def _facts(result: TfjpResult) -> str:
    """Return the figures of the cleaning as a caption."""
    cleaning = result.cleaning
    noise = "" if cleaning.noise_floor_db is None else f", noise {cleaning.noise_floor_db:.1f} dBFS"
    treated = "denoised" if cleaning.denoised else "not denoised"
    ended = "" if cleaning.converged else ", not converged"
    return f"{cleaning.cut_ms:.0f} ms cut{noise}, {treated}, {cleaning.passes} pass(es){ended}"
