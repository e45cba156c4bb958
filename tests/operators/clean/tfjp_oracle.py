"""TFJP once more, slowly: float64, one frame at a time, every operator on frames of its own.

Written from the reading, not from the code. A frame is
(where it came from, its spectrum as recorded, its spectrum now). Nothing is shared with `operators`.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field

import numpy as np

HOP, SIZE, DELTA = 200, 400, 16
SQRT_HANN = [math.sqrt(0.5 - 0.5 * math.cos(2 * math.pi * i / SIZE)) for i in range(SIZE)]


@dataclass
class Frame:
    source: int
    recorded: np.ndarray
    now: np.ndarray


@dataclass
class Result:
    samples: np.ndarray
    kept: list[int]
    converged: bool
    passes: int
    denoised: bool
    log: list[str] = field(default_factory=list)


def power(frame: Frame) -> float:
    """Mean square over the bins from 80 Hz on (the first at or above 60 Hz)."""
    total = 0.0
    for k, value in enumerate(frame.now):
        if k >= 2:
            total += (1 if k == SIZE // 2 else 2) * abs(value) ** 2
    return total / SIZE / (SIZE / 2)


def levels(frames: list[Frame]) -> tuple[list[float], list[bool]]:
    """dB of the mean over each frame and its neighbours; and which frames are more than digital silence."""
    powers = [power(frame) for frame in frames]
    out = []
    for i in range(len(powers)):
        around = powers[max(0, i - 1) : i + 2]
        out.append(10 * math.log10(max(sum(around) / len(around), 1e-20)))
    return out, [value > 1e-12 for value in powers]


def gate(level: list[float], recorded: list[bool]) -> float:
    counted = [value for value, ok in zip(level, recorded, strict=True) if ok and value > -120]
    found = -65.0
    if counted:
        p10, p95 = np.percentile(counted, [10, 95])
        found = max(float(np.clip(p10 + 6, p95 - 45, p95 - 15)), -65.0)
    return min(found, max(level))


def silent_runs(frames: list[Frame]) -> list[tuple[int, int]]:
    level, recorded = levels(frames)
    limit = gate(level, recorded)
    runs, begin = [], None
    for i, value in enumerate([*level, math.inf]):
        if value < limit and begin is None:
            begin = i
        if value >= limit and begin is not None:
            runs.append((begin, i))
            begin = None
    return runs


def silence_cut(frames: list[Frame], longest: int) -> list[Frame]:
    while True:
        drop: set[int] = set()
        for begin, end in silent_runs(frames):
            if end - begin > longest:
                drop |= set(range(begin + longest // 2, end - (longest - longest // 2)))
        if not drop:
            return frames
        frames = [frame for i, frame in enumerate(frames) if i not in drop]


def noise_profile(frames: list[Frame]) -> np.ndarray:
    recorded = sorted((power(frame), i) for i, frame in enumerate(frames) if power(frame) > 1e-12)
    count = min(len(recorded), max(3, int(0.05 * len(recorded))))
    return sum(np.abs(frames[i].now) for _, i in recorded[:count]) / count


def denoise(frames: list[Frame], noise: np.ndarray) -> list[Frame]:
    out = []
    for frame in frames:
        spectrum = frame.now.copy()
        for k, value in enumerate(frame.now):
            magnitude = max(abs(value) - noise[k], 0.05 * abs(frame.recorded[k]))
            spectrum[k] = cmath.rect(magnitude, cmath.phase(value))
        out.append(Frame(frame.source, frame.recorded, spectrum))
    return out


def level_of(profile: np.ndarray) -> float:
    return 10 * math.log10(max(power(Frame(0, profile, profile)), 1e-20))


def worth_denoising(frames: list[Frame]) -> list[Frame] | None:
    level, recorded = levels(frames)
    p5, p95 = np.percentile([value for value, ok in zip(level, recorded, strict=True) if ok], [5, 95])
    noise = noise_profile(frames)
    if p5 > p95 - 12 or level_of(noise) < p95 - 50:
        return None
    cleaner = denoise(frames, noise)
    return cleaner if noise_profile(cleaner).mean() <= 0.5 * noise.mean() else None


def entropy(frame: Frame) -> float:
    bands = [0.0] * 32
    for k in range(2, SIZE // 2 + 1):
        bands[(k - 2) * 32 // (SIZE // 2 - 1)] += (1 if k == SIZE // 2 else 2) * abs(frame.now[k]) ** 2
    total = sum(bands)
    return -sum(b / total * math.log(b / total) for b in bands if b > 0) / math.log(32) if total else 0.0


def core_locate(frames: list[Frame]) -> tuple[int, int]:
    level, recorded = levels(frames)
    limit = gate(level, recorded)
    top = float(np.percentile([value for value in level if value >= limit], 95))
    score = []
    for frame, value in zip(frames, level, strict=True):
        loudness = min(max((value - limit) / max(top - limit, 1.0), 0.0), 1.0) + 1e-3
        score.append(loudness / (entropy(frame) + 0.1) if value >= limit else 0.0)
    penalty = 0.1 * sum(score) / sum(value >= limit for value in level)
    best, span, running, begin = -math.inf, (0, 0), 0.0, 0
    for i, value in enumerate(score):
        if running <= 0:
            running, begin = 0.0, i
        running += value - penalty
        if running > best:
            best, span = running, (begin, i + 1)
    return span


def boundary_norm(frames: list[Frame], span: tuple[int, int]) -> tuple[int, int]:
    level, recorded = levels(frames)
    limit = gate(level, recorded)
    active = [i for i, value in enumerate(level) if value >= limit and span[0] <= i < span[1]]
    first = DELTA * round(span[0] / DELTA)
    if first > 0 and any(i < first + 2 for i in active):
        first -= DELTA
    last = DELTA * round(span[1] / DELTA)
    if any(i >= last - 2 for i in active):
        last += DELTA
    return first, max(last, first + DELTA)


def analyse(x: np.ndarray) -> list[Frame]:
    hops = -(-len(x) // HOP)
    padded = np.zeros((hops + 2) * HOP)
    padded[HOP : HOP + len(x)] = x
    spectra = [np.fft.rfft(padded[k * HOP : k * HOP + SIZE] * SQRT_HANN) for k in range(hops + 1)]
    return [Frame(k, spectrum, spectrum) for k, spectrum in enumerate(spectra)]


def synthesise(frames: list[Frame]) -> np.ndarray:
    out = np.zeros((len(frames) + 1) * HOP)
    for k, frame in enumerate(frames):
        out[k * HOP : k * HOP + SIZE] += np.fft.irfft(frame.now, SIZE) * SQRT_HANN
    return out[HOP:-HOP]


def tfjp_oracle(x: np.ndarray, passes_allowed: int = 3, longest: int = 23) -> Result:
    """The reading with τ = 24 hops (a run of 23 frames), γ = 1, β = 0.05, K = `passes_allowed`."""
    x = np.trim_zeros(np.asarray(x, dtype=np.float64), "b")
    first = int(np.flatnonzero(x)[0]) // HOP
    frames = analyse(x)[max(0, first - 2) // DELTA * DELTA :]
    passes, denoised, converged = 0, False, False
    for lap in range(passes_allowed):
        for _ in range(passes_allowed):
            passes += 1
            frames = silence_cut(frames, longest)
            cleaner = worth_denoising(frames)
            denoised |= cleaner is not None
            frames = cleaner or frames
            if all(end - begin <= longest for begin, end in silent_runs(frames)):
                break
        start, stop = 0, len(frames)
        while True:
            inside = frames[start:stop]
            first, last = boundary_norm(inside, core_locate(inside))
            before = stop - start
            start, stop = start + first, start + last
            if last - first >= before:
                break
        shorter = silence_cut(frames[start:stop], longest)
        converged = len(shorter) == len(frames[start:stop])
        if converged or lap + 1 == passes_allowed:
            break
        frames = shorter
    content = frames[start : stop + 1]
    samples = np.zeros((stop - start) * HOP)
    heard_samples = synthesise(content)
    samples[: len(heard_samples)] = heard_samples
    rise = np.array([0.5 - 0.5 * math.cos(math.pi * i / 320) for i in range(320)])
    samples[:320] *= rise
    end = len(heard_samples)
    for i in range(min(320, end)):
        samples[end - 1 - i] *= rise[i]
    samples /= max(1.0, float(np.abs(samples).max()))
    kept = [frame.source for frame in content[:-1]]
    return Result(samples, kept + [-1] * ((stop - start) - len(kept)), converged, passes, denoised)
