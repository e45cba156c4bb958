"""Composition against others: a slow float64 reading of Algorithm 3 written for this test, and scaper where installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from soundflow.operators.compose.mixing import render
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.recipe import MixingConfig
from soundflow.schemas.scene import SceneEvent
from soundflow.schemas.stream import StreamPlan
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst, composed, event


def slow_active_power(y: np.ndarray) -> float:
    """Mean square over the 12.5 ms hops above the settled gate, one hop at a time."""
    power = [float(np.mean(y[at : at + 200].astype(np.float64) ** 2)) for at in range(0, y.size, 200)]
    smooth = [float(np.mean(power[max(i - 1, 0) : i + 2])) for i in range(len(power))]
    levels = [10 * math.log10(max(value, 1e-20)) for value in smooth]
    recorded = [level for level in levels if level > -120]
    p10, p95 = np.percentile(recorded, [10, 95])
    gate = max(min(max(p10 + 6, p95 - 45), p95 - 15), -65.0)
    return float(np.mean([value for value, level in zip(power, levels, strict=True) if level >= gate]))


def slow_tile(source: np.ndarray, start: int, length: int) -> np.ndarray:
    """Repetitions one by one, each fading in over ω while the one before fades out."""
    fade = min(320, source.size // 2)
    out = np.zeros(start + length + 2 * source.size)
    begin = 0
    while begin + source.size <= out.size:
        for k in range(source.size):
            weight = 1.0
            if k < fade:
                weight = math.sin((k + 0.5) / fade * math.pi / 2)
            elif k >= source.size - fade:
                weight = math.cos((k - source.size + fade + 0.5) / fade * math.pi / 2)
            out[begin + k] += weight * float(source[k])
        begin += source.size - fade
    at = start + source.size - fade
    return out[at : at + length]


def slow_stream(plan: StreamPlan, events: list[SceneEvent], pool: MemoryPool, mixing: MixingConfig) -> tuple[np.ndarray, list]:
    """Algorithm 3 in float64 from the scene; of the plan only what was drawn is used: places, SNRs, noise and its start."""
    foreground = 0
    offsets = []
    for expected, placed in zip(events, plan.clips, strict=True):
        offsets.append(foreground + expected.gap if expected.role is ClipRole.FOREGROUND else placed.offset)
        if expected.role is ClipRole.FOREGROUND:
            foreground = offsets[-1] + pool.get(expected.clip_id).samples
    due = []
    for expected, placed, offset in zip(events, plan.clips, offsets, strict=True):
        due += [(offset + response.evidence - placed.start, response.text) for response in expected.responses]
    timeline: list[tuple[int, str]] = []
    for at, text in sorted(due):
        chunk = math.ceil(at / 16_000 / 0.4 - 1e-9)
        while timeline and chunk <= timeline[-1][0]:
            chunk += 1
        timeline.append((chunk, text))
    chunks = max([math.ceil(foreground / 6_400), *(chunk for chunk, _ in timeline)])
    main = np.zeros(chunks * 6_400)
    gains = {"foreground": 0.0, "background": -6.0, "ambient": -12.0}
    for expected, placed, offset in zip(events, plan.clips, offsets, strict=True):
        clean = pool.audio(pool.get(expected.clip_id)).astype(np.float64)
        amplitude = 10 ** (-26 / 20) / math.sqrt(slow_active_power(clean)) * 10 ** (gains[expected.role] / 20)
        for k in range(min(clean.size, foreground)):
            weight, kept = 1.0, min(clean.size, foreground)
            if placed.start and k < 320:
                weight *= 0.5 - 0.5 * math.cos(math.pi * k / 320)
            if placed.start + kept < clean.size and kept - 1 - k < 320:
                weight *= 0.5 - 0.5 * math.cos(math.pi * (kept - 1 - k) / 320)
            main[offset + k] += amplitude * weight * clean[placed.start + k]
    power = slow_active_power(main)
    y = main.copy()
    for noise in plan.noises:
        tiled = slow_tile(pool.audio(pool.get(str(noise.clip_id))), noise.start, main.size)
        y += tiled * math.sqrt(power / 10 ** (noise.snr_db / 10) / float(np.mean(tiled**2)))
    peak = float(np.abs(y).max())
    return y * min(1.0, mixing.peak_limit / peak), timeline


@pytest.mark.parametrize("seed", range(6))
def test_a_slow_reading_of_algorithm_3_gives_the_same_stream(real_audio: dict[str, np.ndarray], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = MemoryPool()
    pool.add("question", real_audio["question"])
    pool.add("short", real_audio["short"])
    pool.add("bang", burst(int(rng.integers(500, 9_000)), seed, -12.0))
    pool.add("engine", burst(int(rng.integers(30_000, 200_000)), 20 + seed), ClipRole.BACKGROUND)
    pool.add("street", burst(40_000, 40 + seed), ClipRole.AMBIENT)
    pool.add("knocks", burst(int(rng.integers(100, 20_000)), 60 + seed), ClipRole.NOISE_EVENT)
    pool.add("wind", burst(200_000, 80 + seed), ClipRole.NOISE_AMBIENT)
    events = [
        event("question", ClipRole.FOREGROUND, ("It will rain.", 30_000), gap=int(rng.integers(9_000))),
        event("engine", ClipRole.BACKGROUND),
        event("bang", ClipRole.FOREGROUND, ("A bang.", 400), gap=int(rng.integers(9_000))),
        event("street", ClipRole.AMBIENT, ("A street.", 35_000)),
        event("short", ClipRole.FOREGROUND, ("Stopped.", 12_000)),
    ]
    mixing = MixingConfig()
    plan, audio = composed(pool, events, mixing, seed)
    slow, timeline = slow_stream(plan, events, pool, mixing)
    assert plan.timeline() == timeline
    assert slow.shape == audio.shape
    error = audio - slow
    assert 10 * math.log10(float(np.mean(slow**2)) / float(np.mean(error**2))) > 60
    assert float(np.abs(error).max()) < 1e-3


def test_scaper_places_the_same_events_at_the_same_times_and_snrs() -> None:
    from soundflow.bench.speed.mixing import agreement_with_scaper

    agreement = agreement_with_scaper()
    if agreement is None:
        pytest.skip("peer not installed: pip install -e '.[bench]'")
    assert len(agreement) == 4
    for place in agreement:
        assert abs(place.ours_at - place.scaper_at) <= 1, place
        assert abs(place.ours_snr_db - place.scaper_snr_db) <= 0.5, place


def test_removing_a_track_does_not_change_the_others() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(20_000, 1))
    pool.add("rain", burst(5_000, 2), ClipRole.NOISE_EVENT)
    plan, audio = composed(pool, [event("talk")], MixingConfig(ambient_noise=False))
    bare = render(plan.model_copy(update={"noises": ()}), pool.planned)
    noise = (audio.astype(np.float64) - bare) / plan.scale
    speech = slow_active_power(bare / np.float32(plan.scale))
    assert 10 * math.log10(speech / float(np.mean(noise**2))) == pytest.approx(plan.noises[0].snr_db, abs=0.1)
