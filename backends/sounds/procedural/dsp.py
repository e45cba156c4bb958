"""Building blocks of the procedural sounds: coloured noise, random curves, struck modes, harmonic tones, rooms.

All signals are float64 of shape (n,) at 16 kHz; `finish` converts to float32. The random generator is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_power
from soundflow.schemas import constants as c
from soundflow.schemas.pcm16 import round_to_pcm16

RATE: Final = c.SAMPLE_RATE
HIGHEST: Final = 7_600.0
"""Hz. Partials above are left out to avoid aliasing."""
PEAK: Final = 0.97

Signal = NDArray[np.float64]
Numbers = Sequence[float] | Signal
Values = Mapping[str, Any]
"""Parameter name → number or choice, already validated."""


@dataclass(frozen=True, slots=True)
class Range:
    """A numeric parameter, drawn uniformly. `less` and `more` are words for its lower and upper third, best first."""

    low: float
    high: float
    unit: str
    less: str = ""
    more: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter with named options: option → words that select it, separated by spaces."""

    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProceduralSound:
    """One procedural sound: its synthesis, its names, its parameters."""

    name: str
    make: Callable[[int, Values, np.random.Generator], Signal]
    """(samples, parameters, rng) → (samples,) at any level."""
    heads: str
    """Phrases that name it, separated by |; a caption must contain all words of one of them."""
    caption: str
    """Template with `{adjectives}` and names of parameters."""
    parameters: Mapping[str, Range | Choice]
    also: str = ""
    """Words that add nothing to the name of the sound."""
    seconds: tuple[float, float] = (1.0, 30.0)
    counted: str = ""
    """The parameter (events per second) that spaces a stated number of events; empty if events cannot be counted."""
    tail: float = 0.0
    """Seconds that the last counted event rings."""
    wet: float = 0.25
    """Share of room in the result at medium distance; 0 for sounds that are always outdoors."""


def noise(n: int, rng: np.random.Generator, gain: Callable[[Signal], Signal]) -> Signal:
    """Return Gaussian noise with the amplitude response `gain(frequencies in Hz)`, at unit RMS."""
    spectrum = scipy.fft.rfft(rng.standard_normal(n), workers=1)
    response = np.asarray(gain(np.arange(spectrum.size) * (RATE / n)), dtype=np.float64)
    response[0] = 0.0
    return unit(scipy.fft.irfft(spectrum * response, n=n, workers=1))


def band(low: float, high: float, slope: float = 2.0, tilt: float = 0.0) -> Callable[[Signal], Signal]:
    """Return a response that passes `low`…`high` Hz, with skirts of 6·`slope` dB per octave and a fall of 6·`tilt` inside."""

    def gain(frequency: Signal) -> Signal:
        f = np.maximum(frequency, 1.0)
        skirts = 1.0 / np.sqrt((1.0 + (low / f) ** (2 * slope)) * (1.0 + (f / high) ** (2 * slope)))
        return np.asarray(skirts * (f / 1000.0) ** -tilt)

    return gain


def shaped(x: Signal, gain: Callable[[Signal], Signal]) -> Signal:
    """Filter `x` (zero phase, zero-padded) by an amplitude response."""
    size = scipy.fft.next_fast_len(x.size + RATE // 4, real=True)
    spectrum = scipy.fft.rfft(x, n=size, workers=1)
    return np.asarray(scipy.fft.irfft(spectrum * gain(np.arange(spectrum.size) * (RATE / size)), n=size, workers=1)[: x.size])


def resonance(*formants: tuple[float, float, float]) -> Callable[[Signal], Signal]:
    """Return a response with a peak per (Hz, bandwidth in Hz, gain) over a flat floor of 0.05."""

    def gain(frequency: Signal) -> Signal:
        out = np.full(frequency.shape, 0.05)
        for centre, width, height in formants:
            out += height / np.sqrt(1.0 + ((frequency - centre) / (width / 2)) ** 2)
        return out

    return gain


def unit(x: Signal) -> Signal:
    """Scale `x` to an RMS of 1; silence stays silence."""
    return np.asarray(x / max(float(np.sqrt(np.mean(x * x))), 1e-12))


def wander(n: int, rng: np.random.Generator, hz: float) -> Signal:
    """Return a smooth random curve of unit variance that turns about `hz` times a second."""
    step = 64  # control rate 250 Hz
    count = n // step + 3
    spectrum = scipy.fft.rfft(rng.standard_normal(count), workers=1)
    frequency = np.arange(spectrum.size) * (RATE / step / count)
    spectrum *= 1.0 / (1.0 + (frequency / hz) ** 4)
    spectrum[0] = 0.0
    curve = unit(scipy.fft.irfft(spectrum, n=count, workers=1))
    return np.interp(np.arange(n), np.arange(count) * step, curve)


def tone(frequency: Signal | float, n: int, amplitudes: Numbers, rng: np.random.Generator) -> Signal:
    """Return partials 1, 2, 3 … with random phases on a frequency curve in Hz."""
    curve = np.broadcast_to(np.asarray(frequency, dtype=np.float64), (n,))
    phase = 2 * np.pi / RATE * np.cumsum(curve)
    out = np.zeros(n)
    highest = float(curve.max())
    for number, amplitude in enumerate(amplitudes, 1):
        start = rng.uniform(0, 2 * np.pi)
        if amplitude == 0.0 or number * float(curve.min()) > HIGHEST:
            continue
        partial = amplitude * np.sin(number * phase + start)
        out += partial if number * highest <= HIGHEST else partial * (number * curve <= HIGHEST)
    return out


def struck(n: int, frequencies: Numbers, t60: Numbers, amplitudes: Numbers, rng: np.random.Generator) -> Signal:
    """Return damped modes: each falls by 60 dB in its `t60` seconds; random phases, 1 ms of attack."""
    time = np.arange(n) / RATE
    out = np.zeros(n)
    for frequency, decay, amplitude in zip(frequencies, t60, amplitudes, strict=True):
        phase = rng.uniform(0, 2 * np.pi)
        if frequency < HIGHEST:
            out += amplitude * np.exp(-6.91 / decay * time) * np.sin(2 * np.pi * frequency * time + phase)
    out[:16] *= np.linspace(0.0, 1.0, 16)[: out[:16].size]
    return out


def burst(n: int, rng: np.random.Generator, gain: Callable[[Signal], Signal], t60: float, attack: float = 0.001) -> Signal:
    """Return a noise burst: `attack` seconds up, then 60 dB down in `t60` seconds."""
    time = np.arange(n) / RATE
    return noise(n, rng, gain) * np.minimum(time / attack, 1.0) * np.exp(-6.91 / t60 * np.maximum(time - attack, 0.0))


def add(out: Signal, at: float, sound: Signal, gain: float = 1.0) -> None:
    """Mix `sound` into `out` from second `at` on; samples beyond either end are dropped."""
    start = round(at * RATE)
    if start < 0:
        sound, start = sound[-start:], 0
    stop = min(out.size, start + sound.size)
    if stop > start:
        out[start:stop] += gain * sound[: stop - start]


def beats(n: int, rate: float, jitter: float, rng: np.random.Generator, first: float = 0.03, count: int = 0) -> list[float]:
    """Return the times (seconds) of events at `rate` per second; intervals vary by `jitter` (a share; one sigma, at most 2.4).

    `count` events span exactly (count - 1) / rate seconds; 0 fills n samples.
    """
    many = count or int(2 * n / RATE * rate) + 2
    intervals = (1.0 + jitter * np.clip(rng.standard_normal(many), -2.4, 2.4)) / rate
    times = first + np.concatenate([[0.0], np.cumsum(intervals[1:])])
    if count > 1:
        times = first + (times - first) * ((count - 1) / rate / (times[-1] - first))
    return [float(time) for time in times if count or time < n / RATE - 0.02]


def scatter(n: int, density: Signal | float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return positions (samples) of a Poisson process with `density` events per second (a number or a curve (n,))."""
    rate = np.broadcast_to(np.asarray(density, dtype=np.float64), (n,))
    total = np.cumsum(rate) / RATE
    count = int(rng.poisson(total[-1]))
    return np.sort(np.searchsorted(total, rng.uniform(0, total[-1], count)))


def grains(n: int, places: NDArray[np.intp], kinds: Sequence[Signal], gains: Signal, rng: np.random.Generator) -> Signal:
    """Place one of `kinds` at each place, with its gain. Costs one convolution per kind, not one per grain."""
    size = scipy.fft.next_fast_len(n + max(kind.size for kind in kinds), real=True)
    which = rng.integers(len(kinds), size=places.size)
    total = np.zeros(size // 2 + 1, dtype=np.complex128)
    for number, kind in enumerate(kinds):
        train = np.zeros(size)
        chosen = which == number
        np.add.at(train, places[chosen], gains[chosen])
        total += scipy.fft.rfft(train, workers=1) * scipy.fft.rfft(kind, n=size, workers=1)
    return np.asarray(scipy.fft.irfft(total, n=size, workers=1)[:n])


def gate(n: int, spans: Sequence[tuple[float, float]], rise: float = 0.004) -> Signal:
    """Return a curve of 1 inside the spans (seconds) and 0 outside, with ramps of `rise` seconds."""
    out = np.zeros(n)
    width = max(1, round(rise * RATE))
    for begin, end in spans:
        start, stop = round(begin * RATE), min(n, round(end * RATE))
        if stop - start > 2 * width:
            ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(width) / width)
            out[start:stop] = 1.0
            out[start : start + width] = ramp
            out[stop - width : stop] = ramp[::-1]
    return out


def room(x: Signal, rng: np.random.Generator, distance: float, wet: float) -> Signal:
    """Move `x` to `distance` (0 near … 1 far): air absorbs high frequencies, the room adds early echoes and a diffuse tail."""
    if wet > 0.0:
        t60 = 0.15 + 0.9 * distance * rng.uniform(0.5, 1.0)
        size = round(t60 * RATE)
        tail = noise(size, rng, band(150, 4500, 1, 0.3)) * np.exp(-6.91 * np.arange(size) / size)
        tail[: RATE // 200] = 0.0
        for _ in range(5):
            tail[int(rng.integers(RATE // 200, size // 3))] += rng.choice((-1, 1)) * 4.0
        length = scipy.fft.next_fast_len(x.size + size, real=True)
        spectrum = scipy.fft.rfft(x, n=length, workers=1) * scipy.fft.rfft(tail, n=length, workers=1)
        echo = scipy.fft.irfft(spectrum, n=length, workers=1)[: x.size]
        share = min(0.6, 2 * wet * (0.2 + 0.8 * distance))
        x = unit(x) * (1.0 - share) + unit(echo) * share
    cutoff = 9000.0 * 0.22**distance
    return shaped(x, lambda f: 1.0 / np.sqrt(1.0 + (f / cutoff) ** 4))


def finish(x: Signal) -> NDArray[np.float32]:
    """Remove DC, taper over ω, scale to -26 dBFS active (less if the peak would pass 0.97) and round to the 16-bit grid.

    The grid hides the last bits, in which Fourier transforms differ between machines.
    """
    x = shaped(x, lambda f: np.where(f < 20.0, 0.0, 1.0))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(c.FADE_SAMPLES) / c.FADE_SAMPLES)
    x[: ramp.size] *= ramp
    x[-ramp.size :] *= ramp[::-1]
    x = unit(x) * 0.05
    level = active_power(x.astype(np.float32))
    x *= 10.0 ** (c.REFERENCE_LEVEL_DBFS / 20.0) / np.sqrt(level)
    x *= min(1.0, PEAK / float(np.abs(x).max()))
    return round_to_pcm16(x)
