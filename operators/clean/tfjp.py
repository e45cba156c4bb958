"""TFJP: time-frequency joint preprocessing (paper, Algorithm 1 and appendix B.1).

All six operators work on the columns of a single STFT (`operators.clean.columns`): `silence_cut` drops columns, `denoise` scales
magnitudes, `core_locate` and `boundary_norm` choose a range of columns. One inverse STFT of the kept range follows at the end, so
that neither the loop nor the goto needs another transform. Subtraction is represented by one noise magnitude per bin: since
max(max(m - a, βm) - b, βm) = max(m - (a + b), βm), K passes equal one subtraction of their sum, and never attenuate more than
β = -26 dB relative to the original magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean import columns as stft
from soundflow.operators.clean.activity import FLOOR_DBFS, gate_db, percentiles, smooth3, to_db
from soundflow.operators.clean.columns import Columns
from soundflow.schemas import constants as c
from soundflow.schemas.clip import Cleaning, TfjpConfig

TFJP_VERSION: Final = "3"
ALIGN: Final = c.HALF_CHUNK_SAMPLES // c.STFT_HOP
"""δ in columns."""
TAPER: Final = -(-c.FADE_SAMPLES // c.STFT_HOP)
"""Number of columns whose hops overlap the taper."""
STEADY_DB: Final = 12.0
"""Maximum distance in dB between quiet and loud columns of a steady clip (hum, rain, alarm), whose noise is the event."""
DIGITAL_SILENCE: Final = 1e-12
"""Mean square below which a column is digital silence."""
INAUDIBLE_DB: Final = 50.0
"""Distance in dB below the loud columns from which noise is not subtracted."""
SILENT: Final = 10.0 ** (FLOOR_DBFS / 10.0)
MINIMUM_NOISE_FRAMES: Final = 3
ENTROPY_OFFSET: Final = 0.1
QUIET_SCORE: Final = 1e-3
"""Score of a column exactly at the gate, which is active and must score above 0."""
SILENCE_PENALTY: Final = 0.1
"""Share of the mean active score that is subtracted from every column, so that long silences are not bridged."""


_SCRATCH: Final = stft.Scratch()


class SilentClipError(ValueError):
    """Raised when a clip has no active column. Ingress rejects such files."""


@dataclass(frozen=True, slots=True)
class Step:
    """The effect of one operator in one pass."""

    operator: str
    number: int
    """Number of the pass, from 1; 0 for trimming."""
    facts: Mapping[str, float | int | bool]


@dataclass(frozen=True, slots=True)
class TfjpResult:
    """A cleaned clip with the trace of its passes."""

    samples: NDArray[np.float32]
    """Shape (n,), n a positive multiple of 3200; tapered to zero at both ends."""
    cleaning: Cleaning
    trace: tuple[Step, ...]
    kept: NDArray[np.intp]
    """Index of the input hop (12.5 ms) of each output hop; -1 for padding."""


def tfjp(samples: NDArray[np.float32], config: TfjpConfig = TfjpConfig()) -> TfjpResult:  # noqa: B008 (frozen)
    """Clean one clip (paper, Algorithm 1).

    `samples`: float32, shape (n,), n >= 1, 16 kHz mono, finite (what `operators.clean.ingress` returns).
    Raises SilentClipError if every column is silent, ValueError for another shape, NaN or infinity.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"samples must have shape (n,) with n >= 1, got {samples.shape}")
    peak = max(float(samples.max()), -float(samples.min()))
    if not peak < 1e30:
        raise ValueError("samples must be finite")
    inner = _trim(samples)
    trimmed_ms = 1000 * (samples.size - (inner.stop - inner.start)) / c.SAMPLE_RATE
    trace = [Step("trim", 0, {"cut_ms": trimmed_ms})]
    exponent = int(np.ceil(np.log2(peak))) if peak > 1.0 else 0  # a power of two is exact; without scaling, energies may overflow
    spectrum, magnitude, energy = stft.analyse(np.ldexp(samples[inner], -exponent) if exponent else samples[inner], _SCRATCH)
    if energy.max() <= DIGITAL_SILENCE or smooth3(energy).max() < SILENT:
        raise SilentClipError("every column of the clip is silent")
    clip = Columns(magnitude, np.arange(energy.size), energy, floor=np.float32(config.subtraction_floor))

    limit = round(config.silence_limit_ms * c.SAMPLE_RATE / 1000 / c.STFT_HOP) - 1  # r columns cover r + 1 hops
    passes, converged = 0, False
    for lap in range(config.max_passes):
        for _ in range(config.max_passes):
            passes += 1
            clip = _cut_and_denoise(clip, config, limit, passes, trace)
            if is_stable(clip, limit):
                break
        start, stop = _locate(clip, passes, trace)
        span = clip.take(slice(start, stop))
        keep = silence_cut(span.energy, limit).keep
        trace.append(Step("final check", passes, {"cut_ms": _cut_ms(keep)}))
        if not has_cut(keep):
            converged = True
            break
        if lap + 1 < config.max_passes:  # goto S1; at the cap, the last aligned clip is returned
            clip = span.take(keep)
    output, kept = _render(spectrum, clip, start, stop)
    kept[kept >= 0] += inner.start // c.STFT_HOP
    trace.append(Step("spec_smooth", passes, {"taper_ms": 1000 * c.FADE_SECONDS}))
    cleaning = _summary(samples.size, output.size, clip.noise is not None, trace, converged)
    return TfjpResult(np.ldexp(output, exponent), cleaning, tuple(trace), kept)


def _trim(samples: NDArray[np.float32]) -> slice:
    """Return the range without the zeros at both ends; the start is a multiple of δ."""
    sounding = samples != 0.0
    first, last = int(sounding.argmax()), samples.size - int(sounding[::-1].argmax())
    return slice(max(0, first // c.STFT_HOP - TAPER) // ALIGN * ALIGN * c.STFT_HOP, last)


def _cut_and_denoise(clip: Columns, config: TfjpConfig, limit: int, number: int, trace: list[Step]) -> Columns:
    """Run S1-2 of Algorithm 1: cut silence, measure the noise profile, denoise.

    Denoising is skipped if it could only damage the clip: `steady` (quiet and loud columns have similar levels), `inaudible` (the
    noise is too quiet to matter), `varying` (subtracting their own mean does not halve the quietest columns, which are then not
    stationary noise but, for example, a decaying string, a passing car or the residue of an earlier pass).
    """
    keep, levels, gate = silence_cut(clip.energy, limit)
    clip = clip.take(keep) if has_cut(keep) else clip
    trace.append(Step("silence_cut", number, {"cut_ms": _cut_ms(keep), "gate_db": gate, "columns": levels.size}))
    profile = noise_profile(clip, config)
    noise_db = _profile_db(profile)
    trace.append(Step("noise_profile", number, {"noise_db": noise_db}))
    p5, p95 = percentiles(levels[clip.energy > DIGITAL_SILENCE], 5.0, 95.0)
    facts = {"p5_db": p5, "p95_db": p95, "steady": p5 > p95 - STEADY_DB}
    facts["inaudible"] = noise_db < p95 - INAUDIBLE_DB
    skipped = not config.denoise or facts["steady"] or facts["inaudible"]
    if not skipped:
        clean = denoise(clip, profile, config)
        left = noise_profile(clean, config)
        skipped = facts["varying"] = float(left.mean()) > 0.5 * float(profile.mean())
        facts["left_db"] = _profile_db(left)
        clip = clip if skipped else clean
    trace.append(Step("denoise", number, {"skipped": bool(skipped), **facts}))
    return clip


def silence_gate(energy: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return levels (m,) in dB of energies (m,), smoothed over three columns, and the gate below which a column is silent.

    Digital silence does not affect the gate. The loudest column is never silent.
    """
    levels = to_db(smooth3(energy))
    return levels, min(gate_db(levels[energy > DIGITAL_SILENCE]), float(levels.max()))


class SilenceCut(NamedTuple):
    """The result of `silence_cut`."""

    keep: NDArray[np.bool_]
    """Mask of the columns that are kept."""
    levels: NDArray[np.float32]
    """Levels of the kept columns, as returned by `silence_gate`."""
    gate: float


def silence_cut(energy: NDArray[np.float32], limit: int) -> SilenceCut:
    """Shorten each silent run longer than `limit` columns, leaving half the limit on each side (B.1: τ).

    Cutting changes the gate, so that this repeats under the new gate until no run is too long. The operation is idempotent.
    """
    keep = np.ones(energy.size, dtype=np.bool_)
    levels, gate = silence_gate(energy)
    while (long := _long_runs(levels < gate, limit)).size:
        kept = np.flatnonzero(keep)
        for begin, end in long:
            keep[kept[begin + limit // 2 : end - (limit - limit // 2)]] = False
        levels, gate = silence_gate(energy[keep])
    return SilenceCut(keep, levels, gate)


def _long_runs(silent: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Return begin and end of the runs longer than `limit`, shape (runs, 2)."""
    framed = np.zeros(silent.size + 2, dtype=np.bool_)
    framed[1:-1] = silent
    edges = np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] > limit]


def noise_profile(clip: Columns, config: TfjpConfig) -> NDArray[np.float32]:
    """Return the mean magnitude per bin (201,) of at least three lowest-energy columns that are not digital silence."""
    recorded = np.flatnonzero(clip.energy > DIGITAL_SILENCE)
    count = min(recorded.size, max(MINIMUM_NOISE_FRAMES, int(config.noise_frame_share * recorded.size)))
    quietest = recorded[np.argsort(clip.energy[recorded], kind="stable")[:count]]
    profile: NDArray[np.float32] = clip.magnitudes(quietest).mean(axis=0)
    return profile


def denoise(clip: Columns, profile: NDArray[np.float32], config: TfjpConfig) -> Columns:
    """Apply spectral subtraction: max(m - γ n, β m_original)."""
    return clip.subtract(np.float32(config.subtraction_gain) * profile)


def is_stable(clip: Columns, limit: int) -> bool:
    """Return whether no silent run is longer than `limit` under the gate of the denoised clip.

    The noise needs no check: `_cut_and_denoise` has halved it or skipped it.
    """
    return not has_cut(silence_cut(clip.energy, limit).keep)


def has_cut(keep: NDArray[np.bool_]) -> bool:
    """Return whether `silence_cut` removed a column."""
    return not keep.all()


def _locate(clip: Columns, number: int, trace: list[Step]) -> tuple[int, int]:
    """Run S3-4 of Algorithm 1: return the range of the core on the δ grid, under its own gate.

    Trimming changes the gate of the rest, so that both steps repeat within the range until its length is stable. Each repetition
    removes at least one δ.
    """
    entropy = spectral_entropy(clip.in_bands())
    start, stop = 0, clip.energy.size
    while True:
        energy = clip.energy[start:stop]
        levels, gate = silence_gate(energy)
        core = core_locate(levels, gate, entropy[start:stop])
        first, last = boundary_norm(*core, levels >= gate)
        before, offset = stop - start, start
        start, stop = offset + first, offset + last
        if last - first >= before:
            break
    trace.append(Step("core_locate", number, {"start_s": _seconds(offset + core[0]), "end_s": _seconds(offset + core[1])}))
    trace.append(Step("boundary_norm", number, {"start_s": _seconds(start), "end_s": _seconds(stop)}))
    return start, stop


def spectral_entropy(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normalised entropy (m,) of band energies (m, 32), from 0 (tone) to 1 (white noise)."""
    share = bands / np.maximum(bands @ stft.ALL_BANDS, np.float32(1e-20))[:, None]
    logs = np.log(np.maximum(share, np.float32(1e-20)))
    entropy: NDArray[np.float32] = np.einsum("ij,ij->i", share, logs)
    return entropy * np.float32(-1.0 / np.log(stft.BANDS))


def core_locate(levels: NDArray[np.float32], gate: float, entropy: NDArray[np.float32]) -> tuple[int, int]:
    """Return the range [start, stop) of columns with the largest sum of scores (Kadane's algorithm).

    The score is normalised log energy / (normalised spectral entropy + 0.1), 0 for silent columns, minus 0.1 of the mean active
    score. The first and the last column are active.
    """
    active = levels >= gate
    top = percentiles(levels[active], 95.0)[0]
    loudness = np.clip((levels - gate) / max(top - gate, 1.0), 0.0, 1.0) + QUIET_SCORE
    score = np.where(active, loudness / (entropy + ENTROPY_OFFSET), 0.0).astype(np.float64)
    score -= SILENCE_PENALTY * score[active].mean()
    total = np.concatenate(([0.0], np.cumsum(score)))
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    start = int(np.flatnonzero(total[: stop + 1] == lowest[stop])[-1])
    return start, stop


def boundary_norm(start: int, stop: int, active: NDArray[np.bool_]) -> tuple[int, int]:
    """Round a range of columns to multiples of δ, outward if an active column would be cut or tapered; at least one δ.

    `stop` may be past the end of the clip, which is then padded with zeros.
    """
    first = ALIGN * round(start / ALIGN)
    if first > 0 and active[start : first + TAPER].any():
        first -= ALIGN
    last = ALIGN * round(stop / ALIGN)
    if active[max(0, last - TAPER) : stop].any():
        last += ALIGN
    return first, max(last, first + ALIGN)


def spec_smooth(samples: NDArray[np.float32], content: int) -> NDArray[np.float32]:
    """Apply half-Hann fades of ω = 20 ms in place. The first and the last sample become 0.

    `content`: start of the padding by `boundary_norm`, where the fade-out ends. If subtraction raised a peak above full scale,
    the whole clip is scaled down. Raises SilentClipError if nothing remains (for example of a single click at an end).
    """
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(c.FADE_SAMPLES) / c.FADE_SAMPLES)).astype(np.float32)
    samples[: ramp.size] *= ramp
    falling = samples[max(0, content - ramp.size) : content]
    falling *= ramp[: falling.size][::-1]
    peak = max(samples.max(), -samples.min())
    if peak * peak < SILENT:
        raise SilentClipError("only the tapered ends of the clip are active")
    if peak > 1.0:
        samples /= peak
    return samples


def _render(
    spectrum: NDArray[np.complex64], clip: Columns, start: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Run the inverse STFT: return hops [start, stop) of `clip`, with zeros past its end, and their input hops."""
    present = clip.take(slice(start, stop + 1))
    hops = present.source.size - 1
    kept = np.full(stop - start, -1, dtype=np.intp)
    kept[:hops] = present.source[:-1]
    return spec_smooth(present.synthesise(spectrum, stop - start), hops * c.STFT_HOP), kept


def _profile_db(profile: NDArray[np.float32]) -> float:
    """Return the mean square of a noise profile over the bins >= 60 Hz, in dBFS."""
    return float(to_db(np.asarray((profile * profile) @ stft.WEIGHTS)))


def _seconds(hops: int) -> float:
    return hops * c.STFT_HOP / c.SAMPLE_RATE


def _cut_ms(keep: NDArray[np.bool_]) -> float:
    return 1000 * _seconds(int(keep.size - keep.sum()))


def _summary(in_samples: int, out_samples: int, denoised: bool, trace: list[Step], converged: bool) -> Cleaning:
    last = [step for step in trace if step.operator == "boundary_norm"][-1]
    cuts = [step for step in trace if "cut_ms" in step.facts]
    if not converged:
        cuts.remove([step for step in cuts if step.operator == "final check"][-1])  # found but not applied
    return Cleaning(
        in_samples=in_samples,
        out_samples=out_samples,
        cut_ms=sum(float(step.facts["cut_ms"]) for step in cuts),
        noise_floor_db=next(float(step.facts["noise_db"]) for step in trace if step.operator == "noise_profile"),
        denoised=denoised,
        span=(float(last.facts["start_s"]), float(last.facts["end_s"])),
        passes=max(step.number for step in trace),
        converged=converged,
    )
