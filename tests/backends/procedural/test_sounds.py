"""Sounds of the synthesiser: levels, lengths, and parameters of the plan as measured in the samples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from soundflow.backends.sounds.procedural import Procedural, SoundPlan, plan_sound, render
from soundflow.backends.sounds.procedural.catalogue import SOUNDS, parameters_of
from soundflow.backends.sounds.procedural.dsp import Range
from soundflow.operators.clean.activity import active_power
from soundflow.operators.clean.tfjp import tfjp
from soundflow.schemas.outcome import Ok

RATE = 16_000


def plan(name: str, seconds: float = 4.0, seed: int = 3, **parameters: float | str) -> SoundPlan:
    """A plan of one near sound, its other parameters at the middle of their range."""
    middle: Mapping[str, float | str] = {
        key: (spec.low + spec.high) / 2 if isinstance(spec, Range) else next(iter(spec.options))
        for key, spec in parameters_of(SOUNDS[name]).items()
    }
    count = parameters.pop("count", None)
    assert set(parameters) <= set(middle)
    return SoundPlan(name, round(seconds * RATE), seed, {**middle, "distance": 0.0, **parameters}, count)  # type: ignore[arg-type]


def spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scipy.signal.welch(samples, RATE, nperseg=4096)


def loudest_hz(samples: np.ndarray) -> float:
    frequency, power = spectrum(samples)
    return float(frequency[power.argmax()])


def centroid_hz(samples: np.ndarray) -> float:
    frequency, power = spectrum(samples)
    return float(np.sum(frequency * power) / np.sum(power))


def onsets(samples: np.ndarray, apart: float = 0.08) -> int:
    """Sudden rises of the envelope."""
    hop = 80
    level = np.sqrt(uniform_filter1d(samples**2, 160))[::hop]
    rise = np.maximum(np.diff(level), 0)
    peaks, _ = scipy.signal.find_peaks(rise, height=0.25 * rise.max(), distance=round(apart * RATE / hop))
    return peaks.size


def runs(samples: np.ndarray, gap: float = 0.05, share: float = 0.2) -> list[float]:
    """Lengths (seconds) of the parts that are not silent."""
    level = np.sqrt(uniform_filter1d(samples**2, 160))
    loud = np.flatnonzero(level > share * level.max())
    edges = np.flatnonzero(np.diff(loud) > gap * RATE)
    return [
        float(stop - start) / RATE
        for start, stop in zip(loud[np.concatenate([[0], edges + 1])], loud[np.concatenate([edges, [-1]])], strict=True)
    ]


@settings(max_examples=60)
@given(st.sampled_from(sorted(SOUNDS)), st.integers(0, 2**63 - 1), st.floats(0.3, 3.0))
def test_every_sound_is_finite_levelled_tapered_and_reproducible(name: str, seed: int, longer: float) -> None:
    sound = SOUNDS[name]
    planned = plan_sound(sound.heads.split("|")[0], (sound.seconds[0], sound.seconds[0] + longer), seed)
    assert isinstance(planned, Ok)
    samples = render(planned.value)
    assert samples.dtype == np.float32 and samples.shape == (planned.value.samples,)
    assert np.all(np.isfinite(samples)) and np.abs(samples).max() <= 0.971
    assert abs(samples[0]) < 1e-3 and abs(samples[-1]) < 1e-3
    assert abs(samples.mean()) < 1e-3
    level = 10 * np.log10(active_power(samples))
    assert -26.5 < level < -25.5 or (level < -25.5 and np.abs(samples).max() > 0.96)
    assert np.array_equal(samples * 32_768, np.rint(samples * 32_768))
    assert np.array_equal(samples, render(planned.value))
    assert not np.array_equal(samples, render(replace(planned.value, seed=planned.value.seed ^ 1)))


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_every_sound_is_a_clip_after_tfjp(name: str) -> None:
    samples = render(plan(name, max(SOUNDS[name].seconds[0], 2.0)))
    cleaned = tfjp(samples)
    assert cleaned.samples.size >= 0.3 * samples.size


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_distance_attenuates_high_frequencies(name: str) -> None:
    near, far = (render(plan(name, max(SOUNDS[name].seconds[0], 2.0), distance=distance)) for distance in (0.0, 1.0))
    assert centroid_hz(far) < centroid_hz(near) * 1.02


@pytest.mark.parametrize(("name", "low", "high"), [("alarm", 800.0, 3200.0), ("smoke_alarm", 2850.0, 3450.0)])
def test_the_pitch_of_a_tone_is_the_pitch_that_was_planned(name: str, low: float, high: float) -> None:
    for pitch in (low, high):
        assert loudest_hz(render(plan(name, pitch=pitch))) == pytest.approx(pitch, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("car_horn", "pitch"), ("bell", "pitch"), ("doorbell", "pitch"), ("phone_ring", "pitch"), ("knocks", "pitch"),
        ("water_drops", "pitch"), ("stream", "pitch"), ("birds", "pitch"), ("crickets", "pitch"), ("siren", "high"),
        ("hum", "buzz"), ("clock_tick", "case"), ("thunder", "crack"), ("wind", "howl"),
    ],
)  # fmt: skip
def test_a_brighter_parameter_makes_a_brighter_sound(name: str, parameter: str) -> None:
    spec = SOUNDS[name].parameters[parameter]
    assert isinstance(spec, Range)
    dark, bright = (
        np.mean([centroid_hz(render(plan(name, seed=seed, **{parameter: value}))) for seed in range(2)])
        for value in (spec.low, spec.high)
    )
    assert bright > dark


@pytest.mark.parametrize(
    ("name", "rate"),
    [("knocks", 4.0), ("footsteps", 2.0), ("bell", 1.0), ("water_drops", 2.0), ("car_horn", 1.2), ("alarm", 2)],
)
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_planned_number_of_events_is_audible(name: str, rate: float, count: int) -> None:
    steady = {"irregular": 0.05} if name == "water_drops" else {"surface": "concrete"} if name == "footsteps" else {}
    length = (count - 1) / rate + SOUNDS[name].tail
    for seed in range(2):
        samples = render(plan(name, length, seed=seed, count=count, rate=rate, **steady))
        assert onsets(samples, apart=0.8 / rate * 0.5) == count


@pytest.mark.parametrize(
    ("name", "rates"), [("clock_tick", (1.0, 4.0)), ("footsteps", (1.4, 2.8)), ("typing", (3.5, 9.0)), ("knocks", (2.5, 6.0))]
)
def test_a_faster_rate_has_more_events(name: str, rates: tuple[float, float]) -> None:
    slow, fast = (onsets(render(plan(name, 6.0, rate=rate))) for rate in rates)
    assert fast > 1.3 * slow


def test_a_clock_ticks_at_its_rate() -> None:
    assert onsets(render(plan("clock_tick", 5.0, rate=2.0))) in (9, 10)


def test_a_smoke_alarm_sounds_three_half_second_beeps_and_rests() -> None:
    beeps = runs(render(plan("smoke_alarm", 4.2, tempo=1.0)))
    assert len(beeps) == 4  # three, and the next group's first is cut off by the end
    assert np.allclose(beeps[:3], 0.5, atol=0.03)


def test_a_telephone_rings_and_pauses_as_planned() -> None:
    for style in ("bell", "electronic"):
        rings = runs(render(plan("phone_ring", 6.0, style=style, on=1.0, off=1.5)), gap=0.4)
        assert len(rings) == 3
        assert rings[0] == pytest.approx(1.0, abs=0.3)


def test_a_two_tone_siren_has_two_tones_and_a_wail_has_many() -> None:
    def pitches(style: str) -> int:
        _, _, power = scipy.signal.stft(render(plan("siren", 8.0, style=style, low=600, high=1400)), RATE, nperseg=1024)
        loudest = np.abs(power)[10:120].argmax(axis=0)
        return int(np.unique(np.round(loudest / 4)).size)

    assert pitches("two-tone") <= 4 < pitches("wailing")


def test_breaking_glass_begins_with_the_crash_and_fades() -> None:
    samples = render(plan("glass_break", 3.0))
    thirds = [float(np.mean(part**2)) for part in np.array_split(samples, 3)]
    assert thirds[0] > 10 * thirds[1] > thirds[2]


def test_a_passing_car_is_loudest_in_the_middle_and_brightest_there() -> None:
    before, near, after = np.array_split(render(plan("pass_by", 9.0, speed=60, metres=5)), 3)
    assert np.mean(near**2) > 4 * max(np.mean(before**2), np.mean(after**2))
    assert centroid_hz(near) > max(centroid_hz(before), centroid_hz(after))


def test_thunder_rolls_lower_with_time() -> None:
    samples = render(plan("thunder", 8.0, crack=0.8))
    assert centroid_hz(samples[: 2 * RATE]) > centroid_hz(samples[4 * RATE :])


def test_waves_come_and_go_in_their_period() -> None:
    def crests(period: float) -> int:
        level = uniform_filter1d(render(plan("waves", 25.0, period=period)) ** 2, RATE)[:: RATE // 10]
        return int(scipy.signal.find_peaks(level, prominence=0.15 * level.max())[0].size)

    assert 5 <= crests(4.0) <= 8
    assert 2 <= crests(8.0) <= 4


def test_hum_has_the_partials_of_the_mains() -> None:
    for mains, hz in (("50 Hz", 100.0), ("60 Hz", 120.0)):
        frequency, power = spectrum(render(plan("hum", 5.0, mains=mains, buzz=0.3)))
        near = power[np.abs(frequency - hz) < 6].max()
        between = power[np.abs(frequency - 1.25 * hz) < 4].max()
        assert near > 20 * between


@pytest.mark.parametrize(
    ("name", "parameter"), [("rain", "intensity"), ("applause", "people"), ("fire", "crackles"), ("stream", "bubbles")]
)
def test_more_of_a_texture_is_denser(name: str, parameter: str) -> None:
    spec = SOUNDS[name].parameters[parameter]
    assert isinstance(spec, Range)

    def crest(value: float) -> float:
        samples = [render(plan(name, seed=seed, **{parameter: value})) for seed in range(3)]
        return float(np.mean([np.abs(one).max() / np.sqrt(np.mean(one**2)) for one in samples]))

    assert crest(spec.high) < crest(spec.low)


@pytest.mark.parametrize(("name", "parameter"), [("birds", "birds"), ("crickets", "insects")])
def test_more_animals_leave_less_silence(name: str, parameter: str) -> None:
    few, many = (np.mean([sum(runs(render(plan(name, seed=seed, **{parameter: n})))) for seed in range(3)]) for n in (1, 5))
    assert many > few


def test_a_faster_car_passes_sooner() -> None:
    slow, fast = (sum(runs(render(plan("pass_by", 10.0, speed=speed)), share=0.5)) for speed in (30.0, 110.0))
    assert fast < 0.6 * slow


def test_the_generator_returns_caption_and_parameters() -> None:
    made = asyncio.run(Procedural().generate("Heavy rain on a tin roof", (2.0, 4.0), 7))
    assert isinstance(made, Ok)
    assert made.value.caption.lower().startswith("heavy") and "rain falling on the roof" in made.value.caption
    assert made.value.details["sound"] == "rain" and made.value.details["surface"] == "roof"
    assert 2.0 <= made.value.samples.size / RATE <= 4.0
    again = asyncio.run(Procedural().generate("Heavy rain on a tin roof", (2.0, 4.0), 7))
    assert isinstance(again, Ok) and np.array_equal(again.value.samples, made.value.samples)
    assert Procedural.maker.backend == "procedural" and Procedural.maker.licence == "CC0-1.0"
