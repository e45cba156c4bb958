"""Twelve classes of synthetic sounds with variation, which a model of a million parameters can learn in minutes on a CPU.

Every clip has its own parameters, so held-out clips are new sounds of known classes. By their labels half of the classes call for
a response (`schemas.taxonomy.urgency`). As in field recordings, quiet noise surrounds the sound, which TFJP removes. Three more
classes are backgrounds. The source of every clip is `synthetic`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from soundflow.schemas import constants as c
from soundflow.schemas.identity import rng_for

Samples = NDArray[np.float64]
Rng = np.random.Generator
RATE: Final = c.SAMPLE_RATE
FIELDS: Final = ("id", "path", "label", "caption", "role", "licence", "source", "split")


def _time(seconds: float) -> Samples:
    return np.arange(round(seconds * RATE)) / RATE


def _tone(frequency: Samples | float, seconds: float, harmonics: int = 1) -> Samples:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, _time(seconds).shape)) / RATE
    return np.asarray(sum(np.sin(k * phase) / k for k in range(1, harmonics + 1)))


def _noise(rng: Rng, seconds: float, low: float, high: float) -> Samples:
    filters = scipy.signal.butter(2, [low, high], btype="bandpass", fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(filters, rng.standard_normal(round(seconds * RATE))))


def _repeated(rng: Rng, seconds: float, gap: tuple[float, float], one: Callable[[], Samples]) -> Samples:
    """Repeat a sound at random intervals in seconds."""
    out = np.zeros(round(seconds * RATE))
    at = 0.0
    while at < seconds - 0.05:
        piece = one()[: len(out) - round(at * RATE)]
        out[round(at * RATE) : round(at * RATE) + len(piece)] += piece
        at += rng.uniform(*gap)
    return out


def _decay(samples: Samples, seconds: float) -> Samples:
    return samples * np.exp(-_time(len(samples) / RATE)[: len(samples)] / seconds)


def siren(rng: Rng, seconds: float) -> Samples:
    """A tone that sweeps up and down."""
    sweep = np.sin(2 * np.pi * rng.uniform(0.6, 1.6) * _time(seconds) + rng.uniform(0, 6))
    return _tone(rng.uniform(700, 1000) + rng.uniform(200, 400) * sweep, seconds, harmonics=3)


def smoke_alarm(rng: Rng, seconds: float) -> Samples:
    """High beeps at an even pace."""
    rate = rng.uniform(2.5, 4.5)
    return _tone(rng.uniform(2700, 3400), seconds) * (np.sin(2 * np.pi * rate * _time(seconds)) > rng.uniform(-0.3, 0.3))


def glass(rng: Rng, seconds: float) -> Samples:
    """A burst of splinters: many short high tones."""
    count = int(rng.integers(25, 50))
    out = _decay(_noise(rng, seconds, 3000, 7500), rng.uniform(0.1, 0.25)) * 1.5
    for at in rng.uniform(0, 0.7 * seconds, count):
        piece = _decay(_tone(rng.uniform(2500, 7000), 0.12), 0.03) * rng.uniform(0.2, 1)
        begin = round(at * RATE)
        out[begin : begin + len(piece)] += piece[: len(out) - begin]
    return out


def knock(rng: Rng, seconds: float) -> Samples:
    """Low thuds."""
    low = rng.uniform(90, 160)
    return _repeated(rng, seconds, (0.22, 0.34), lambda: _decay(_noise(rng, 0.2, low, 4 * low), 0.03))


def telephone(rng: Rng, seconds: float) -> Samples:
    """Two tones that are switched on and off at about 20 Hz."""
    base = rng.uniform(400, 480)
    warble = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.uniform(16, 25) * _time(seconds)))
    return (_tone(base, seconds, 2) + _tone(base * rng.uniform(1.1, 1.25), seconds, 2)) * warble


def baby(rng: Rng, seconds: float) -> Samples:
    """Voiced cries: harmonics of a pitch that rises and falls."""

    def cry() -> Samples:
        length = rng.uniform(0.5, 0.8)
        arc = np.sin(np.pi * _time(length) / length)
        return _tone(rng.uniform(350, 420) + rng.uniform(80, 160) * arc, length, harmonics=8) * arc

    return _repeated(rng, seconds, (0.7, 0.95), cry)


def bird(rng: Rng, seconds: float) -> Samples:
    """Short high chirps."""

    def chirp() -> Samples:
        length = rng.uniform(0.06, 0.14)
        slope = np.linspace(0, rng.choice([-1500, 1500]), round(length * RATE))
        return _tone(rng.uniform(3500, 5500) + slope, length) * np.hanning(round(length * RATE))

    return _repeated(rng, seconds, (0.12, 0.3), chirp)


def footsteps(rng: Rng, seconds: float) -> Samples:
    """Dull steps, each with a scrape."""
    pace = rng.uniform(0.42, 0.6)

    def step() -> Samples:
        thud, scrape = _decay(_noise(rng, 0.25, 60, 250), 0.05), _decay(_noise(rng, 0.25, 800, 2500), 0.04)
        return thud + 0.4 * scrape

    return _repeated(rng, seconds, (pace, pace * 1.08), step)


def typing(rng: Rng, seconds: float) -> Samples:
    """Quick clicks."""
    return _repeated(rng, seconds, (0.06, 0.22), lambda: _decay(_noise(rng, 0.05, 1500, 5500), 0.008) * rng.uniform(0.6, 1))


def rain(rng: Rng, seconds: float) -> Samples:
    """Steady noise with drops in it."""
    drops = _repeated(rng, seconds, (0.02, 0.08), lambda: _decay(_noise(rng, 0.03, 2000, 7000), 0.005) * rng.uniform(0.5, 2))
    return _noise(rng, seconds, rng.uniform(300, 600), rng.uniform(5000, 7000)) * 0.7 + drops


def bell(rng: Rng, seconds: float) -> Samples:
    """An inharmonic strike that rings out."""
    base = rng.uniform(500, 900)
    ratios = (1.0, 2.76, 5.4)
    return np.asarray(sum(_decay(_tone(base * ratio, seconds), rng.uniform(0.4, 0.9) / ratio) for ratio in ratios))


def drum(rng: Rng, seconds: float) -> Samples:
    """Regular low beats with a falling pitch."""
    beat = rng.uniform(0.28, 0.5)

    def hit() -> Samples:
        return _decay(_tone(rng.uniform(55, 75) + 120 * np.exp(-_time(0.3) / 0.03), 0.3), 0.1)

    return _repeated(rng, seconds, (beat, beat * 1.01), hit)


def wind(rng: Rng, seconds: float) -> Samples:
    """Low noise that swells."""
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * _time(seconds) + rng.uniform(0, 6))
    return _noise(rng, seconds, 80, rng.uniform(300, 500)) * swell


def crowd(rng: Rng, seconds: float) -> Samples:
    """Many unintelligible voices."""
    voices = [_tone(rng.uniform(100, 260), seconds, 6) * _noise(rng, seconds, 1, 5) for _ in range(8)]
    return np.asarray(sum(voices))


def engine(rng: Rng, seconds: float) -> Samples:
    """A steady hum."""
    return _tone(rng.uniform(45, 80), seconds, harmonics=10) + 0.1 * _noise(rng, seconds, 100, 1000)


BACKDROPS: Final[dict[str, tuple[Callable[[Rng, float], Samples], str]]] = {
    "wind": (wind, "wind"),
    "crowd": (crowd, "a crowd"),
    "engine": (engine, "an engine"),
}
"""Label → generator and caption. None is ambient, since noise tracks would use ambient clips of both splits."""
SOUNDS: Final[dict[str, tuple[Callable[[Rng, float], Samples], str]]] = {
    "siren": (siren, "a siren"),
    "smoke alarm": (smoke_alarm, "a smoke alarm"),
    "glass crash": (glass, "breaking glass"),
    "door knock": (knock, "a knock on the door"),
    "telephone": (telephone, "a telephone ringing"),
    "baby cry": (baby, "a baby crying"),
    "bird chirp": (bird, "birds chirping"),
    "footsteps": (footsteps, "footsteps"),
    "typing": (typing, "somebody typing"),
    "rain": (rain, "rain"),
    "bell": (bell, "a bell"),
    "drum": (drum, "a drum"),
}
"""Label → generator and caption. The first six call for a response."""


def write_recordings(folder: Path, seed: int, per_class: Mapping[str, int]) -> Path:
    """Write `per_class` (split → number) clips of every class and their manifest; return the path of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    classes = [(label, make, caption, "foreground") for label, (make, caption) in SOUNDS.items()]
    classes += [(label, make, caption, "background") for label, (make, caption) in BACKDROPS.items()]
    for label, make, caption, role in classes:
        for split, count in per_class.items():
            for number in range(count):
                rng = rng_for(f"learning/{seed}/{label}/{split}", 0, number, "recording")
                foreground = role == "foreground"
                take = _take(rng, make(rng, float(rng.uniform(1.0, 2.6) if foreground else rng.uniform(5, 9))), foreground)
                name = f"{label.replace(' ', '_')}-{split}-{number:03d}.wav"
                soundfile.write(folder / name, take.astype(np.float32), RATE, subtype="PCM_16")
                about = {"label": label, "caption": caption, "role": role, "licence": "CC0-1.0"}
                rows.append({"id": name, "path": name, "source": "synthetic", "split": split} | about)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def _take(rng: Rng, sound: Samples, foreground: bool) -> Samples:
    """Turn a sound into a recording: quiet before and after it, noise, and a random level."""
    before, after = rng.uniform(0.1, 1.0, 2) if foreground else (0.0, 0.0)
    take = np.pad(sound, (round(before * RATE), round(after * RATE)))
    loudest = np.abs(take).max()
    level = rng.uniform(0.1, 0.9) / loudest
    return np.asarray(level * (take + rng.uniform(0.001, 0.01) * loudest * rng.standard_normal(len(take))))
