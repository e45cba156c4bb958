"""TFJP: time-frequency joint preprocessing (paper, Algorithm 1 and appendix B.1).

All six operators work on the columns of ONE STFT (`operators.columns`): `silence_cut` drops columns, `denoise` scales
magnitudes, `core_locate` and `boundary_norm` choose an index range; one inverse STFT of the kept span comes last, so that
neither the loop nor the goto costs another transform. Subtraction is held as ONE noise magnitude N per bin: since
max(max(m - a, βm) - b, βm) = max(m - (a + b), βm), K passes are one subtraction of their sum, and never attenuate more
than β = -26 dB relative to the ORIGINAL magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators import columns as stft
from operators.activity import EMPTY_DB, gate_db, smooth3, to_db
from schemas import constants as c
from schemas.clip import Cleaning, TfjpConfig

TFJP_VERSION: Final = "1"
ALIGN: Final = c.HALF_CHUNK_SAMPLES // c.STFT_HOP
"""δ in columns."""
STEADY_DB: Final = 12.0
"""A clip whose quiet frames are this near its loud ones is a hum, rain, an alarm: its noise IS the event."""
DIGITAL_SILENCE: Final = 1e-12
"""Mean square below which a column is digital silence."""
MINIMUM_NOISE_FRAMES: Final = 3
ENTROPY_OFFSET: Final = 0.1
SILENCE_PENALTY: Final = 0.1
"""Share of the mean active score taken from every column, so that long silences are not worth bridging."""


class SilentClipError(ValueError):
    """There is nothing in the clip to keep. Ingress rejects such files before they get here."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one operator did in one pass."""

    operator: str
    number: int
    """Pass, from 1."""
    facts: Mapping[str, float | bool]


@dataclass(frozen=True, slots=True)
class TfjpResult:
    """A cleaned clip and how it came about."""

    samples: NDArray[np.float32]
    """Shape (n,), n a positive multiple of 3200; tapered to zero at both ends."""
    cleaning: Cleaning
    trace: tuple[Step, ...]
    kept: NDArray[np.intp]
    """Which hop (12.5 ms) of the input each hop of the output is; -1 is padding."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The clip as columns: original magnitudes, where they come from, what was subtracted, and what follows from it."""

    magnitude: NDArray[np.float32]
    source: NDArray[np.intp]
    noise: NDArray[np.float32] | None
    energy: NDArray[np.float32]
    bands: NDArray[np.float32]

    def levels(self) -> NDArray[np.float32]:
        """dB per column over bins >= 60 Hz, smoothed over three columns."""
        return to_db(smooth3(self.energy))

    def take(self, keep: NDArray[np.bool_] | slice) -> _Columns:
        """Only the columns `keep` selects."""
        return _Columns(self.magnitude[keep], self.source[keep], self.noise, self.energy[keep], self.bands[keep])

    def current(self, rows: NDArray[np.intp], floor: float) -> NDArray[np.float32]:
        """Magnitudes of some columns after what was subtracted so far."""
        chosen = self.magnitude[rows]
        return chosen if self.noise is None else np.maximum(chosen - self.noise, chosen * np.float32(floor))


def tfjp(samples: NDArray[np.float32], config: TfjpConfig = TfjpConfig()) -> TfjpResult:  # noqa: B008 (frozen)
    """Clean one clip (paper, Algorithm 1).

    `samples`: float32, shape (n,), n >= 1, 16 kHz mono, finite (what `operators.ingress` returns).
    Raises SilentClipError when every column is silent, ValueError for another shape or for NaN.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"tfjp wants samples of shape (n,) with n >= 1, got {samples.shape}")
    spectrum = stft.analyse(samples)
    magnitude = stft.magnitudes(spectrum)
    energy, bands = stft.reduce_noise(magnitude, None, config.subtraction_floor)
    if not np.isfinite(energy).all():
        raise ValueError("tfjp wants finite samples")
    clip = _Columns(magnitude, np.arange(energy.size), None, energy, bands)
    if not (to_db(energy) >= gate_db(clip.levels())).any():
        raise SilentClipError("every column of the clip is silent")

    trace: list[Step] = []
    limit = round(config.silence_limit_ms * c.SAMPLE_RATE / 1000 / c.STFT_HOP)
    passes, converged = 0, False
    for lap in range(config.max_passes):
        stable = False
        for _ in range(config.max_passes):
            if not stable:
                passes += 1
                clip, stable = _silence_and_noise(clip, config, limit, passes, trace)
        levels = clip.levels()
        core = core_locate(levels, clip.bands)
        start, stop = boundary_norm(*core, levels >= gate_db(levels))
        span = clip.take(slice(start, stop))
        keep = silence_cut(span.levels(), limit)
        trace.append(Step("core_locate", passes, {"start_s": _seconds(core[0]), "end_s": _seconds(core[1])}))
        trace.append(Step("boundary_norm", passes, {"start_s": _seconds(start), "end_s": _seconds(stop)}))
        trace.append(Step("silence_cut (final check)", passes, {"cut_ms": _cut_ms(keep)}))
        if keep.all():  # `changed` compares column counts, never floats
            converged = True
            break
        if lap + 1 < config.max_passes:  # goto S1; at the cap the last aligned clip is returned
            clip = span.take(keep)
    output, kept = _render(spectrum, clip, start, stop, config.subtraction_floor)
    trace.append(Step("spec_smooth", passes, {"taper_ms": 1000 * c.FADE_SECONDS}))
    return TfjpResult(spec_smooth(output), _summary(samples.size, output.size, trace, converged), tuple(trace), kept)


def _silence_and_noise(clip: _Columns, config: TfjpConfig, limit: int, number: int, trace: list[Step]) -> tuple[_Columns, bool]:
    """S1-2 of Algorithm 1: cut, profile, denoise; and whether the result is `stable`."""
    keep = silence_cut(clip.levels(), limit)
    trace.append(Step("silence_cut", number, {"cut_ms": _cut_ms(keep), "gate_db": gate_db(clip.levels())}))
    if not keep.all():
        clip = clip.take(keep)
    profile = noise_profile(clip, config)
    noise_db = EMPTY_DB if profile is None else _noise_db(profile)
    trace.append(Step("noise_profile", number, {"noise_db": noise_db}))
    levels = clip.levels()
    heard = levels[clip.energy > DIGITAL_SILENCE]
    p5, p95 = np.percentile(heard, (5.0, 95.0)) if heard.size else (EMPTY_DB, EMPTY_DB)
    skipped = profile is None or not config.denoise or bool(p5 > p95 - STEADY_DB)
    quieter = True
    if not skipped and profile is not None:
        clip = denoise(clip, profile, config)
        after = noise_profile(clip, config)
        quieter = after is None or float(after.mean()) <= 0.5 * float(profile.mean()) or noise_db < p95 - 50.0
    trace.append(Step("denoise", number, {"skipped": skipped}))
    return clip, quieter and bool(silence_cut(clip.levels(), limit).all())


def silence_cut(levels_db: NDArray[np.float32], limit: int) -> NDArray[np.bool_]:
    """Which columns stay: a silent run longer than `limit` columns keeps half the limit at each side (B.1: τ)."""
    silent = np.concatenate(([False], levels_db < gate_db(levels_db), [False]))
    edges = np.flatnonzero(silent[1:] != silent[:-1])
    keep = np.ones(levels_db.size, dtype=np.bool_)
    for begin, end in edges.reshape(-1, 2):
        if end - begin > limit:
            keep[begin + limit // 2 : end - (limit - limit // 2)] = False
    return keep


def noise_profile(clip: _Columns, config: TfjpConfig) -> NDArray[np.float32] | None:
    """Mean magnitude per bin (201,) of the lowest-energy columns that are not digital silence; None when all are."""
    heard = np.flatnonzero(clip.energy > DIGITAL_SILENCE)
    if not heard.size:
        return None
    count = min(heard.size, max(MINIMUM_NOISE_FRAMES, int(config.noise_frame_share * heard.size)))
    quietest = heard[np.argsort(clip.energy[heard], kind="stable")[:count]]
    profile: NDArray[np.float32] = clip.current(quietest, config.subtraction_floor).mean(axis=0)
    return profile


def denoise(clip: _Columns, profile: NDArray[np.float32], config: TfjpConfig) -> _Columns:
    """Spectral subtraction: max(m - γ n, β m_original)."""
    added = np.float32(config.subtraction_gain) * profile
    noise = added if clip.noise is None else clip.noise + added
    energy, bands = stft.reduce_noise(clip.magnitude, noise, config.subtraction_floor)
    return _Columns(clip.magnitude, clip.source, noise, energy, bands)


def core_locate(levels_db: NDArray[np.float32], bands: NDArray[np.float32]) -> tuple[int, int]:
    """The span [start, stop) of columns with the largest sum of scores (Kadane).

    Score: normalised log energy / (normalised spectral entropy + 0.1), 0 where silent, minus 0.1 of the mean active
    score. Always starts and stops at an active column; (0, 0) when none is.
    """
    gate = gate_db(levels_db)
    active = levels_db >= gate
    if not active.any():
        return 0, 0
    top = float(np.percentile(levels_db[active], 95.0))
    loudness = np.clip((levels_db - gate) / max(top - gate, 1.0), 0.0, 1.0) + 1e-3
    share = bands / np.maximum(bands.sum(axis=1, keepdims=True), np.float32(1e-20))
    entropy = -(share * np.log(np.maximum(share, np.float32(1e-20)))).sum(axis=1) / np.log(stft.BANDS)
    score = np.where(active, loudness / (entropy + ENTROPY_OFFSET), 0.0).astype(np.float64)
    score -= SILENCE_PENALTY * score[active].mean()
    total = np.concatenate(([0.0], np.cumsum(score)))
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    start = int(np.flatnonzero(total[: stop + 1] == lowest[stop])[-1])
    return start, stop


def boundary_norm(start: int, stop: int, active: NDArray[np.bool_]) -> tuple[int, int]:
    """Snap a span of columns to multiples of δ, outward where an active column would be lost; at least one δ.

    `stop` may lie past the end of the clip: the rest is padded with zeros.
    """
    first = ALIGN * round(start / ALIGN)
    if first > start and active[start:first].any():
        first -= ALIGN
    last = ALIGN * round(stop / ALIGN)
    if last < stop and active[last:stop].any():
        last += ALIGN
    return first, max(last, first + ALIGN)


def spec_smooth(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rising and falling half Hann over ω = 20 ms at the ends; the first and the last sample become 0."""
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(c.FADE_SAMPLES) / c.FADE_SAMPLES)).astype(np.float32)
    smoothed = samples.copy()
    smoothed[: ramp.size] *= ramp
    smoothed[-ramp.size :] *= ramp[::-1]
    return smoothed


def _render(
    spectrum: NDArray[np.complex64], clip: _Columns, start: int, stop: int, floor: float
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The one inverse STFT: hops [start, stop) of `clip`, zeros past its end."""
    available = min(stop + 1, clip.source.size)
    out = np.zeros((stop + 1 - start, stft.BINS), dtype=np.complex64)
    for first in range(start, available, stft.BLOCK):
        last = min(first + stft.BLOCK, available)
        block = spectrum[clip.source[first:last]]
        if clip.noise is not None:
            ratio = clip.noise / np.maximum(clip.magnitude[first:last], np.float32(1e-20))
            block *= np.maximum(np.float32(1.0) - ratio, np.float32(floor))
        out[first - start : last - start] = block
    kept = np.full(stop - start, -1, dtype=np.intp)
    hops = min(stop, clip.source.size - 1)
    kept[: hops - start] = clip.source[start:hops]
    return stft.synthesise(out), kept


def _noise_db(profile: NDArray[np.float32]) -> float:
    return float(to_db(np.asarray((profile * profile) @ stft.BAND_MATRIX[:, 0])))


def _seconds(hops: int) -> float:
    return hops * c.STFT_HOP / c.SAMPLE_RATE


def _cut_ms(keep: NDArray[np.bool_]) -> float:
    return 1000 * _seconds(int(keep.size - keep.sum()))


def _summary(in_samples: int, out_samples: int, trace: list[Step], converged: bool) -> Cleaning:
    last = [step for step in trace if step.operator == "boundary_norm"][-1]
    noise = next(step.facts["noise_db"] for step in trace if step.operator == "noise_profile")
    return Cleaning(
        in_samples=in_samples,
        out_samples=out_samples,
        cut_ms=sum(float(step.facts["cut_ms"]) for step in trace if step.operator == "silence_cut"),
        noise_floor_db=None if noise == EMPTY_DB else float(noise),
        denoised=any(step.operator == "denoise" and not step.facts["skipped"] for step in trace),
        span=(float(last.facts["start_s"]), float(last.facts["end_s"])),
        passes=max(step.number for step in trace),
        converged=converged,
    )
