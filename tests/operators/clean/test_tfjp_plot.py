"""The before/after picture of `soundflow tfjp --plot`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.clean.tfjp import tfjp
from soundflow.operators.clean.tfjp_plot import _kept_spans, plot_tfjp


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_is_written_and_equal_clips_give_equal_plots(
    real_audio: dict[str, np.ndarray], tmp_path: Path, suffix: str
) -> None:
    samples = np.concatenate([np.zeros(16_000, np.float32), real_audio["short"], np.zeros(16_000, np.float32)])
    for name in ("first", "second"):
        plot_tfjp(samples, tfjp(samples), tmp_path / f"{name}.{suffix}")
    first = (tmp_path / f"first.{suffix}").read_bytes()
    assert first[:4] in (b"\x89PNG", b"<?xm", b"%PDF") and len(first) > 5000
    if suffix != "svg":  # matplotlib salts the ids of an SVG
        assert first == (tmp_path / f"second.{suffix}").read_bytes()


def test_the_marked_spans_are_the_kept_ones(real_audio: dict[str, np.ndarray]) -> None:
    pause = np.zeros(24_000, np.float32)
    result = tfjp(np.concatenate([real_audio["short"], pause, real_audio["question"]]))
    spans = _kept_spans(result)
    assert len(spans) >= 2 and all(begin < end for begin, end in spans)
    assert sum(end - begin for begin, end in spans) == pytest.approx((result.kept >= 0).sum() * 0.0125)
