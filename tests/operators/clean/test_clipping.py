"""Clipping is measured by flat tops, against a count by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.clean.clipping import FlatTops, clipped_ratio
from soundflow.operators.clean.ingress import read_bytes
from soundflow.schemas.outcome import Ok
from tests.support.encoded_audio import RATE, encoded


def ratio(samples: np.ndarray, subtype: str = "FLOAT") -> float:
    held = io.BytesIO()
    soundfile.write(held, samples, RATE, format="WAV", subtype=subtype)
    outcome = read_bytes(held.getvalue())
    assert isinstance(outcome, Ok)
    return outcome.value.clipped_ratio


def tone(level: float, pitch: float = 440.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)


def test_a_loud_float_file_is_not_clipped() -> None:
    assert ratio(tone(1.7)) == 0.0
    assert ratio(np.clip(tone(3.0), -1.5, 1.5)) == pytest.approx(2 / 3, abs=0.03)  # |sin| > 1/2 for two thirds of a period
    assert ratio(np.clip(tone(3.0), -1.5, 2.0)) > 0.5  # another limit on each side
    assert ratio(np.stack([tone(1.7), np.clip(tone(3.0), -1.5, 1.5)], axis=1)) == pytest.approx(2 / 3, abs=0.03)
    flat_below = tone(2.0)
    flat_below[100:110] = 1.2  # no extreme
    assert ratio(flat_below) == 0.0


def test_pcm_is_clipped_at_full_scale() -> None:
    assert ratio(np.clip(tone(3.0), -1, 1), "PCM_16") == pytest.approx(0.78, abs=0.02)
    assert ratio(tone(1.0), "PCM_16") < 0.001  # normalized to its peak
    assert ratio(np.clip(tone(3.0), -0.5, 0.5), "PCM_16") == 0.0  # a limiter below full scale
    peak = 0.1 * tone(1.0)
    peak[500] = 1.0
    assert ratio(peak, "PCM_16") == 0.0
    peak[501] = 1.0
    assert ratio(peak, "PCM_16") == 2 / RATE


def test_joined_files_with_other_channels_are_measured() -> None:
    outcome = read_bytes(encoded(1, "WAV", channels=2) + encoded(1, "WAV", channels=6) + encoded(1, "WAV"))
    assert isinstance(outcome, Ok) and outcome.value.clipped_ratio == 0.0


def by_hand(frames: list[list[float]]) -> int:
    """The frames with a flat top, one sample at a time."""
    count, channels = 0, len(frames[0])
    tops = [max(0.0, *(frame[c] for frame in frames)) for c in range(channels)]
    bottoms = [min(0.0, *(frame[c] for frame in frames)) for c in range(channels)]
    for n, frame in enumerate(frames):
        neighbours = [frames[m] for m in (n - 1, n + 1) if 0 <= m < len(frames)]
        count += any(
            abs(x) >= 0.999
            and any(x == other[c] for other in neighbours)
            and (x >= 0.999 * tops[c] if x > 0 else x <= 0.999 * bottoms[c])
            for c, x in enumerate(frame)
        )
    return count


SAMPLE = st.sampled_from([0.0, 0.5, 0.9985, 0.9991, 1.0, -1.0, -1.2, 1.3, 1.2995])


@given(
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(SAMPLE, min_size=n, max_size=n), min_size=1, max_size=40)), st.data()
)
def test_flat_tops_are_counted_across_blocks(frames: list[list[float]], data: st.DataObject) -> None:
    tops, samples = FlatTops(), np.array(frames)
    at = 0
    while at < len(frames):
        size = data.draw(st.integers(1, len(frames) - at))
        tops.add(samples[at : at + size], float(np.abs(samples[at : at + size]).max()))
        at += size
    assert tops.ratio() == pytest.approx(by_hand(frames) / len(frames))
    if samples.shape[1] == 1:
        assert clipped_ratio(samples[:, 0]) == pytest.approx(by_hand(frames) / len(frames))
