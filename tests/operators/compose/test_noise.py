"""The noise tracks of composition: tiling with crossfades, and noise made when there is no recording."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.compose.noise import draw_noise, procedural, tile
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst


@given(st.integers(1, 2_000), st.integers(0, 1 << 30), st.integers(1, 9_000), st.integers(0, 99))
def test_a_tile_is_the_sum_of_crossfaded_repetitions(size: int, start: int, length: int, seed: int) -> None:
    source = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    start %= size
    fade = min(320, size // 2)
    period = size - fade
    weight = np.ones(size)
    ramp = (np.arange(fade) + 0.5) / fade * np.pi / 2
    weight[:fade], weight[size - fade :] = np.sin(ramp), np.cos(ramp)
    total = np.zeros(start + length + 3 * size)
    for begin in range(0, total.size - size + 1, period):
        total[begin : begin + size] += source * weight
    expected = total[start + period : start + period + length]
    np.testing.assert_allclose(tile(source, start, length), expected, atol=2e-6)


def test_crossfades_keep_the_power_of_a_noise() -> None:
    source = np.random.default_rng(5).standard_normal(2_000).astype(np.float32)
    tiled = tile(source, 0, 2_000_000)
    assert 10 * np.log10(np.mean(tiled.astype(np.float64) ** 2)) == pytest.approx(0.0, abs=0.4)


def test_procedural_noise_is_coloured_16_bit_and_reproducible() -> None:
    for colour, fall in (("pink", -10.0), ("brown", -20.0)):
        noise = procedural(f"procedural:{colour}:42")
        frequency, power = scipy.signal.welch(noise, 16_000, nperseg=4_096)
        band = (frequency > 100) & (frequency < 4_000)
        slope = np.polyfit(np.log10(frequency[band]), 10 * np.log10(power[band]), 1)[0]
        assert slope == pytest.approx(fall, abs=1.0)
        assert np.sqrt(np.mean(noise.astype(np.float64) ** 2)) == pytest.approx(0.1, abs=1e-4)
        assert (noise * 32_768 == np.rint(noise * 32_768)).all() and np.abs(noise).max() < 1
        assert not np.array_equal(noise, procedural(f"procedural:{colour}:43"))
    digest = hashlib.sha256(procedural("procedural:pink:42").tobytes()).hexdigest()
    assert digest == "64484b24f0c15d642b769c78f84815f5b493375f3f264ec49d72ddb204292538"
    for name in ("pink:1", "procedural:green:1", "procedural:pink:", "procedural:pink:-1", "procedural:pink:²"):
        with pytest.raises(InputError):
            procedural(name)


def test_noise_is_drawn_evenly_and_each_clip_tried_once() -> None:
    pool = MemoryPool()
    for number in range(4):
        pool.add(f"rain {number}", burst(1_000, number), ClipRole.NOISE_EVENT)
        pool.add(f"event {number}", burst(1_000, 50 + number), ClipRole.NOISE_EVENT)
    used = {pool.get(f"event {number}").content_sha256 for number in range(4)}
    drawn = dict.fromkeys((f"rain {number}" for number in range(4)), 0)
    for seed in range(400):
        draws: list = []
        noise, _ = draw_noise("event", 10.0, 1e-3, 2_000, pool, set(used), draws, np.random.default_rng(seed))
        drawn[str(noise.clip_id)] += 1
        assert len({draw.value for draw in draws}) == len(draws) <= 4
    assert min(drawn.values()) > 75
