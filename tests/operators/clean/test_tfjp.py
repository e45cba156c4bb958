"""TFJP: every invariant of the reading, on real speech and on hostile sound, and agreement with a slow oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soundflow.operators.clean import columns as stft
from soundflow.operators.clean.activity import active_hops, active_power
from soundflow.operators.clean.tfjp import (
    SilentClipError,
    TfjpResult,
    boundary_norm,
    noise_profile,
    silence_cut,
    silence_gate,
    tfjp,
)
from soundflow.schemas import constants as c
from soundflow.schemas.clip import TfjpConfig
from tests.operators.clean.tfjp_oracle import tfjp_oracle

DELTA = c.HALF_CHUNK_SAMPLES
TAU_HOPS = round(c.SILENCE_LIMIT_SECONDS * c.SAMPLE_RATE / c.STFT_HOP)
KINDS = ("noise", "tone", "click", "zeros", "decay", "dc", "chirp")


def segment(kind: str, size: int, level_db: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time, level = np.arange(size) / c.SAMPLE_RATE, 10 ** (level_db / 20)
    if kind == "click":
        out = np.zeros(size)
        out[size // 2] = 1.0
        return out
    made = {
        "noise": rng.standard_normal(size) / 3,
        "tone": np.sin(2 * np.pi * rng.uniform(30, 7900) * time),
        "zeros": np.zeros(size),
        "decay": rng.standard_normal(size) / 3 * np.exp(-time * rng.uniform(1, 30)),
        "dc": np.ones(size),
        "chirp": np.sin(2 * np.pi * (100 + 2000 * time) * time),
    }
    return level * made[kind]


@st.composite
def hostile(draw: st.DrawFn) -> np.ndarray:
    """Bursts, silences, DC, clicks and tones of any length and level over a floor of any level."""
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(1, 24_000), st.floats(-80, 0), st.integers(0, 99)),
            min_size=1,
            max_size=8,
        )
    )
    x = np.concatenate([segment(*parts) for parts in drawn])
    floor = draw(st.sampled_from([None, -100, -80, -60, -40, -20]))
    if floor is not None:
        x = x + 10 ** (floor / 20) * np.random.default_rng(7).standard_normal(x.size)
    return np.clip(x, -1, 1).astype(np.float32)


ANY_ARRAY = hnp.arrays(
    np.float32, st.integers(1, 5000), elements=st.floats(-1, 1, width=32), fill=st.sampled_from([0.0, 0.25, -1.0])
)


def cleaned(x: np.ndarray, config: TfjpConfig | None = None) -> TfjpResult | None:
    try:
        return tfjp(x, config or TfjpConfig())
    except SilentClipError:
        return None


def mixed(speech: np.ndarray, snr_db: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Speech with a second of pause in front, and in white noise; and the noise."""
    speech = np.concatenate([np.zeros(16_000, dtype=np.float32), speech])
    noise = np.random.default_rng(seed).standard_normal(speech.size)
    noise *= np.sqrt(active_power(speech) / np.mean(noise**2) * 10 ** (-snr_db / 10))
    return (speech + noise).astype(np.float32), noise.astype(np.float32)


@pytest.fixture(scope="module")
def scenes(real_audio: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Real speech: clean, with long pauses, at three SNRs, after PCM16, with a hum, too loud."""
    all_of_it = np.concatenate([part for speech in real_audio.values() for part in (speech, np.zeros(12_000, np.float32))])
    found = {f"clean {name}": speech for name, speech in real_audio.items()} | {"all, long pauses": all_of_it}
    for name, speech in real_audio.items():
        found |= {f"{name} at {snr} dB": mixed(speech, snr, snr)[0] for snr in (30, 20, 10)}
    found["pcm16"] = np.round(found["long at 20 dB"] * 32767).astype(np.float32) / 32768
    found["hum"] = all_of_it + 0.01 * np.sin(2 * np.pi * 100 * np.arange(all_of_it.size) / 16_000).astype(np.float32)
    found["clipped"] = np.clip(20 * found["question at 20 dB"], -1, 1)
    return found


def hold(x: np.ndarray, result: TfjpResult, allowed: int = c.TFJP_MAX_PASSES) -> None:
    """What holds for whatever comes in."""
    y = result.samples
    assert y.dtype == np.float32 and y.size % DELTA == 0 and y.size >= DELTA
    assert np.isfinite(y).all()
    assert abs(y[0]) < 1e-4 and abs(y[-1]) < 1e-4
    as_pcm = np.round(np.clip(y, -1, 1) * 32767).astype(np.int16)
    assert as_pcm[0] == 0 and as_pcm[-1] == 0
    assert 1 <= result.cleaning.passes <= allowed**2
    kept = result.kept[result.kept >= 0]
    assert result.kept.size * c.STFT_HOP == y.size
    assert (np.diff(kept) > 0).all() and (kept < -(-x.size // c.STFT_HOP)).all()
    assert (result.kept[kept.size :] == -1).all(), "padding stands at the end"
    assert result.cleaning.in_samples == x.size and result.cleaning.out_samples == y.size


def longest_silence(y: np.ndarray) -> int:
    """Columns in the longest silent run of a clip, under its own gate."""
    levels, gate = silence_gate(stft.analyse(y)[2])
    edges = np.flatnonzero(np.diff(np.concatenate(([0], levels < gate, [0]))))
    return int(np.max(np.diff(edges)[::2], initial=0))


@given(x=hostile())
def test_shape_ends_and_order_hold_for_hostile_sound(x: np.ndarray) -> None:
    if (result := cleaned(x)) is not None:
        hold(x, result)


@given(x=ANY_ARRAY)
def test_shape_ends_and_order_hold_for_any_array(x: np.ndarray) -> None:
    if (result := cleaned(x)) is not None:
        hold(x, result)


@given(
    x=hostile(),
    limit_ms=st.sampled_from([25.0, 100.0, 300.0, 2000.0]),
    passes=st.integers(1, 5),
    gain=st.sampled_from([0.0, 1.0, 4.0]),
    share=st.sampled_from([0.01, 0.05, 0.5]),
)
def test_every_config_terminates_in_k_squared_passes(
    x: np.ndarray, limit_ms: float, passes: int, gain: float, share: float
) -> None:
    config = TfjpConfig(silence_limit_ms=limit_ms, max_passes=passes, subtraction_gain=gain, noise_frame_share=share)
    if (result := cleaned(x, config)) is not None:
        hold(x, result, passes)


def test_shape_ends_and_order_hold_for_real_speech(scenes: dict[str, np.ndarray]) -> None:
    for x in scenes.values():
        result = tfjp(x)
        hold(x, result)
        assert result.cleaning.converged


@given(x=hostile())
def test_an_inverted_clip_is_cleaned_to_the_inverse(x: np.ndarray) -> None:
    result, inverse = cleaned(x), cleaned(-x)
    assert (result is None) == (inverse is None)
    if result is not None and inverse is not None:
        assert np.array_equal(result.samples, -inverse.samples) and result.trace == inverse.trace


@given(x=hostile(), zeros=st.integers(1, 40_000))
def test_appended_zeros_change_nothing(x: np.ndarray, zeros: int) -> None:
    result, longer = cleaned(x), cleaned(np.append(x, np.zeros(zeros, dtype=np.float32)))
    assert (result is None) == (longer is None)
    if result is not None and longer is not None:
        assert np.array_equal(result.samples, longer.samples)
        assert result.cleaning.noise_floor_db == longer.cleaning.noise_floor_db


@given(x=hostile(), deltas=st.integers(1, 6))
def test_zeros_in_front_change_nothing(x: np.ndarray, deltas: int) -> None:
    quiet_start = np.concatenate([np.zeros(DELTA, dtype=np.float32), x])
    later = np.concatenate([np.zeros(deltas * DELTA, dtype=np.float32), quiet_start])
    result, shifted = cleaned(quiet_start), cleaned(later)
    assert (result is None) == (shifted is None)
    if result is not None and shifted is not None:
        assert np.array_equal(result.samples, shifted.samples)


@given(x=hostile(), passes=st.integers(1, 4))
def test_no_bin_grows_and_none_falls_by_more_than_26_db(x: np.ndarray, passes: int) -> None:
    _, magnitude, energy = stft.analyse(x)
    clip = stft.Columns(magnitude, np.arange(energy.size), energy)
    if energy.max() < 1e-12:
        return
    for _ in range(passes):
        clip = clip.subtract(noise_profile(clip, TfjpConfig()))
    left = clip.magnitudes(slice(None))
    assert (left <= magnitude).all()
    assert (left >= c.SUBTRACTION_FLOOR * magnitude * (1 - 1e-6)).all()


@given(x=hostile())
def test_analysis_and_synthesis_reconstruct(x: np.ndarray) -> None:
    spectrum, magnitude, energy = stft.analyse(x)
    hops = -(-x.size // c.STFT_HOP)
    again = stft.Columns(magnitude, np.arange(energy.size), energy).synthesise(spectrum, hops)
    assert np.abs(again[: x.size] - x).max() < 1e-6


@given(x=hostile(), limit=st.integers(2, 40))
def test_cutting_silence_twice_is_cutting_once(x: np.ndarray, limit: int) -> None:
    energy = stft.analyse(x)[2]
    kept = silence_cut(energy, limit).keep
    assert silence_cut(energy[kept], limit).keep.all()


@given(start=st.integers(0, 400), length=st.integers(1, 400), after=st.integers(0, 50))
def test_a_boundary_is_on_the_grid_and_keeps_all_active_columns(start: int, length: int, after: int) -> None:
    active = np.zeros(start + length + after, dtype=np.bool_)
    active[start : start + length] = True
    first, last = boundary_norm(start, start + length, active)
    assert first % 16 == 0 and last % 16 == 0 and last - first >= 16
    assert 0 <= first <= start and last >= start + length
    assert start - first <= 17 and last - (start + length) <= 17


def test_no_silence_longer_than_tau_is_left(scenes: dict[str, np.ndarray]) -> None:
    assert {name: run for name, x in scenes.items() if (run := longest_silence(tfjp(x).samples)) > TAU_HOPS} == {}


def test_cleaning_twice_changes_the_length_by_at_most_delta(scenes: dict[str, np.ndarray]) -> None:
    for name, x in scenes.items():
        once = tfjp(x).samples
        assert abs(tfjp(once).samples.size - once.size) <= DELTA, name


def bursts(seed: int) -> np.ndarray:
    """Bursts of noise, chirps and clicks between pauses over a floor 25 to 60 dB below."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(int(rng.integers(2, 7))):
        kind = KINDS[[0, 1, 6][int(rng.integers(3))]]
        parts += [
            segment(kind, int(rng.integers(3000, 20_000)), -float(rng.uniform(0, 8)), seed),
            np.zeros(rng.integers(0, 16_000)),
        ]
    x = np.concatenate(parts)
    return np.clip(x + 10 ** (-rng.uniform(25, 60) / 20) * rng.standard_normal(x.size) / 3, -1, 1).astype(np.float32)


@given(seed=st.integers(0, 10_000))
def test_bursts_cleaned_twice_keep_their_length_and_no_long_silence(seed: int) -> None:
    once = tfjp(bursts(seed))
    assert once.cleaning.converged
    assert longest_silence(once.samples) <= TAU_HOPS
    assert abs(tfjp(once.samples).samples.size - once.samples.size) <= DELTA


def test_speech_above_the_noise_is_not_lost_at_20_db(real_audio: dict[str, np.ndarray]) -> None:
    lost = total = 0
    for seed in range(4):
        for speech in real_audio.values():
            noisy, noise = mixed(speech, 20.0, seed)
            clean = np.concatenate([np.zeros(16_000, dtype=np.float32), speech])
            energy, floor = stft.analyse(clean)[2], stft.analyse(noise)[2].mean()
            levels, gate = silence_gate(energy)
            spoken = (levels >= gate) & (energy >= floor)
            kept = np.isin(np.arange(energy.size), tfjp(noisy).kept)
            survives = kept | np.concatenate(([False], kept[:-1]))  # column j is half of hop j - 1, half of hop j
            lost, total = lost + int((spoken & ~survives).sum()), total + int(spoken.sum())
    assert total > 1000 and lost <= 0.001 * total


def test_noise_is_removed_and_speech_is_kept(real_audio: dict[str, np.ndarray]) -> None:
    for name, speech in real_audio.items():
        for snr in (20.0, 10.0):
            noisy, _ = mixed(speech, snr, 3)
            clean = np.concatenate([np.zeros(16_000, dtype=np.float32), speech])
            result = tfjp(noisy)
            assert result.cleaning.denoised, name
            inner = result.kept[4:-4]
            hops = np.flatnonzero((inner >= 0) & (np.diff(inner, prepend=inner[:1] - 1) == 1)) + 4  # not across a cut
            reference, before = pick(clean, result.kept[hops]), pick(noisy, result.kept[hops])
            after = pick(result.samples, hops)
            assert si_sdr(reference, after) > si_sdr(reference, before) + 0.5, (name, snr)


def pick(x: np.ndarray, hops: np.ndarray) -> np.ndarray:
    """Some hops of a signal, one after the other."""
    return np.append(x, np.zeros(-x.size % 200, dtype=x.dtype)).reshape(-1, 200)[hops].ravel()


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    target = np.dot(estimate, reference) / np.dot(reference, reference) * reference
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


@pytest.mark.parametrize("kind", ["hum", "rain", "alarm"])
def test_steady_sound_is_not_denoised(kind: str) -> None:
    time = np.arange(4 * 16_000) / 16_000
    x = {
        "hum": 0.2 * np.sin(2 * np.pi * 120 * time),
        "rain": 0.1 * np.random.default_rng(0).standard_normal(time.size),
        "alarm": 0.3 * np.sin(2 * np.pi * (800 + 200 * np.sign(np.sin(2 * np.pi * 2 * time))) * time),
    }[kind].astype(np.float32)
    result = tfjp(x)
    assert not result.cleaning.denoised and result.samples.size == x.size + DELTA * (result.samples.size > x.size)
    assert np.abs(result.samples[400 : x.size - 400] - x[400:-400]).max() < 1e-6


def test_the_ambient_role_keeps_its_noise(scenes: dict[str, np.ndarray]) -> None:
    result = tfjp(scenes["long at 20 dB"], TfjpConfig(denoise=False))
    assert not result.cleaning.denoised and tfjp(scenes["long at 20 dB"]).cleaning.denoised


def test_the_trace_lists_every_operator(scenes: dict[str, np.ndarray]) -> None:
    result = tfjp(scenes["all, long pauses"])
    operators = [step.operator for step in result.trace]
    for operator in ("silence_cut", "noise_profile", "denoise", "core_locate", "boundary_norm", "spec_smooth", "final check"):
        assert operator in operators
    cut = sum(step.facts.get("cut_ms", 0.0) for step in result.trace)
    assert cut == result.cleaning.cut_ms > 1000


@pytest.mark.parametrize("x", [np.zeros(1), np.zeros(5000), np.full(9000, 1e-5), np.full(9000, 1e-30)])
def test_silence_raises_silent_clip_error(x: np.ndarray) -> None:
    with pytest.raises(SilentClipError):
        tfjp(x.astype(np.float32))


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((2, 8)), np.array([0.1, np.nan] * 800), np.array([0.1, np.inf] * 800)])
def test_invalid_samples_raise_value_error(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="samples must"):
        tfjp(x.astype(np.float32))


@pytest.mark.parametrize("gain", [2.0, 32_768.0, 2.0**90])
def test_samples_beyond_full_scale_keep_their_scale(scenes: dict[str, np.ndarray], gain: float) -> None:
    x = scenes["question at 20 dB"]
    x = x * (np.float32(0.75) / np.abs(x).max())
    plain, loud = tfjp(x), tfjp(x * np.float32(gain))
    hold(x, loud)
    assert loud.samples.size == plain.samples.size


@given(x=hostile())
def test_hostile_sound_agrees_with_the_slow_oracle(x: np.ndarray) -> None:
    x = x[:24_000]
    if (result := cleaned(x)) is not None:
        agree(x, result)


def test_real_speech_agrees_with_the_slow_oracle(scenes: dict[str, np.ndarray]) -> None:
    for name in ("clean short", "short at 20 dB", "short at 10 dB", "question at 20 dB"):
        agree(scenes[name], tfjp(scenes[name]))


def agree(x: np.ndarray, result: TfjpResult) -> None:
    slow = tfjp_oracle(x)
    assert result.kept.tolist() == slow.kept
    assert (result.cleaning.converged, result.cleaning.passes) == (slow.converged, slow.passes)
    assert result.cleaning.denoised == slow.denoised
    assert np.abs(result.samples - slow.samples).max() < 1e-4


def decays(seed: int) -> np.ndarray:
    """Noises and decays of falling level: trimming them moves the gate, so that the final check finds silence again."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(int(rng.integers(2, 6))):
        parts.append(segment("noise", int(rng.integers(2000, 20_000)), -float(rng.uniform(0, 40)), seed))
        parts.append(segment("decay", int(rng.integers(2000, 20_000)), -float(rng.uniform(0, 40)), seed + 1))
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize(("seed", "checks", "converged"), [(24, 2, True), (81, 3, True), (42, 3, False)])
def test_the_goto_is_taken_when_the_final_check_cuts_and_is_bounded(seed: int, checks: int, converged: bool) -> None:
    x = decays(seed)
    result = tfjp(x)
    cuts = [step.facts["cut_ms"] for step in result.trace if step.operator == "final check"]
    assert len(cuts) == checks and all(cut > 0 for cut in cuts[:-1]) and (cuts[-1] == 0) == converged
    assert result.cleaning.converged == converged
    hold(x, result)
    agree(x, result)


def test_the_kept_part_of_the_output_is_active(real_audio: dict[str, np.ndarray]) -> None:
    for speech in real_audio.values():
        assert 0.3 < active_hops(tfjp(speech).samples).mean() <= 1.0
