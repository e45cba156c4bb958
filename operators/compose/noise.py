"""The two noise tracks of Algorithm 3: drawing of a source, and tiling over the whole stream with crossfades of ω."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipPool
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.pcm16 import FULL_SCALE, round_to_pcm16
from soundflow.schemas.scene import Draw
from soundflow.schemas.stream import PlannedNoise

SILENT_POWER: Final = 1e-9
"""Mean square (-90 dBFS) below which a track is silent."""
NOISE_DRAWS: Final = 8
"""Number of silent noise clips that are drawn before procedural noise is used."""
NOISE_ROLES: Final = {"event": (ClipRole.NOISE_EVENT,), "ambient": (ClipRole.NOISE_AMBIENT, ClipRole.AMBIENT)}
"""Roles from which a track is drawn, in this order."""
PROCEDURAL_SECONDS: Final = 10
PROCEDURAL_KEPT: Final = 8
"""Number of cached procedural noises (640 kB each), since a stream is read in several windows."""
COLOURS: Final = {"pink": 0.5, "brown": 1.0}
"""Exponent of the decrease of amplitude with frequency: the power of pink noise is 1/f, of brown noise 1/f²."""
FALLBACK: Final = {"event": "brown", "ambient": "pink"}

Audio = NDArray[np.float32]
ClipSamples = NDArray[np.float32] | NDArray[np.int16]
"""Cleaned samples of a pool: float32 in [-1, 1], or PCM16, possibly of a memory-mapped file."""
Track = Literal["event", "ambient"]


def noise_track(noise: PlannedNoise, span: range, audio: Callable[[PlannedNoise], ClipSamples]) -> tuple[Audio, float]:
    """Return the samples of `span` of a planned noise track before its amplitude, float32 (len(span),), and their unit.

    Procedural noise is generated here.
    """
    source = procedural(noise.procedural) if noise.procedural is not None else audio(noise)
    return tile(source, noise.start, len(span), span.start), unit_of(source)


def unit_of(samples: ClipSamples) -> float:
    """Return the amplitude of the number 1 in `samples`: 1.0 for floats, 2^-15 for PCM16.

    It is a power of two, so that multiplication by it is exact.
    """
    return 1.0 / FULL_SCALE if samples.dtype == np.int16 else 1.0


def tile(source: ClipSamples, start: int, length: int, skip: int = 0) -> Audio:
    """Return (length,) samples of the endlessly repeated `source` (n,), from `skip` samples after source[start], 0 <= start < n.

    Float32 in the unit of the source. Consecutive repetitions overlap by ω = 20 ms, or half the source if that is shorter, with
    sine and cosine ramps, whose powers sum to one (paper, TileCrossfade of Algorithm 3).
    """
    fade = min(c.FADE_SAMPLES, source.size // 2)
    period = source.size - fade
    first = (start - fade + skip) % period  # a start within the head is where the head fades in: near the end of the loop
    out = np.empty(length, dtype=np.float32)
    filled = min(length, period)
    before = min(filled, period - first)
    _copy_loop(source, fade, first, out[:before])
    _copy_loop(source, fade, 0, out[before:filled])
    while filled < length:  # whole periods
        more = min(filled, length - filled)
        out[filled : filled + more] = out[:more]
        filled += more
    return out


def _copy_loop(source: ClipSamples, fade: int, first: int, out: Audio) -> None:
    """Write out.size samples of the loop, which is source[fade:] with its last `fade` samples faded into source[:fade]."""
    out[:] = source[fade + first : fade + first + out.size]
    seam = source.size - 2 * fade
    begin, end = max(first, seam), first + out.size
    if fade and begin < end:
        angle = (np.arange(begin - seam, end - seam) + 0.5) * (np.pi / 2 / fade)
        crossing = out[begin - first :]
        crossing *= np.cos(angle).astype(np.float32)
        crossing += source[begin - seam : end - seam] * np.sin(angle).astype(np.float32)


@functools.lru_cache(maxsize=PROCEDURAL_KEPT)
def procedural(name: str) -> Audio:
    """Return the noise `procedural:<colour>:<seed>`: 10 s at RMS 0.1, float32, read-only. Equal names give equal samples.

    Samples are rounded to 16 bits, since the last bits of an FFT differ between processors. Raises InputError for any other name.
    """
    kind, _, rest = name.partition(":")
    colour, _, seed = rest.partition(":")
    if kind != "procedural" or colour not in COLOURS or not (seed.isascii() and seed.isdigit()):
        raise InputError(
            "is not the name of a procedural noise",
            value=name,
            remedy=f"Names have the form procedural:<{'|'.join(COLOURS)}>:<seed>",
        )
    count = PROCEDURAL_SECONDS * c.SAMPLE_RATE
    white = np.random.Generator(np.random.PCG64(int(seed))).standard_normal(count)
    spectrum = scipy.fft.rfft(white, workers=1)
    spectrum[0] = 0.0
    frequency = np.maximum(np.arange(spectrum.size) * c.SAMPLE_RATE / count, 40.0)
    coloured = scipy.fft.irfft(spectrum / frequency ** COLOURS[colour], n=count, workers=1)
    coloured *= 0.1 / np.sqrt(np.mean(coloured**2))
    samples = round_to_pcm16(coloured)
    samples.flags.writeable = False
    return samples


def mean_square(samples: Audio) -> float:
    """Return the power of a track. Blocks are summed in float32, their sums in float64."""
    whole = samples.size // 4096 * 4096
    blocks, rest = samples[:whole].reshape(-1, 4096), samples[whole:]
    total = np.einsum("ij,ij->i", blocks, blocks).sum(dtype=np.float64) + np.einsum("i,i->", rest, rest)
    return float(total) / samples.size


def significant(power: float) -> float:
    """Round to six digits, so that plans do not depend on how a processor rounds sums."""
    return float(f"{power:.6g}")


def draw_noise(
    track: Track,
    snr_db: float,
    main_power: float,
    samples: int,
    pool: ClipPool,
    taken: set[str],
    draws: list[Draw],
    rng: np.random.Generator,
) -> tuple[PlannedNoise, Audio]:
    """Draw a noise track `snr_db` below `main_power` (mean square); return its plan and its samples before the amplitude.

    A clip whose content is in `taken` (already used in this stream) is not drawn; the drawn clip is added to it. Silent clips are
    skipped and recorded in `draws`. Procedural noise is used if no recording remains. Raises OSError of the pool.
    """
    chosen = _draw_recording(track, samples, pool, taken, draws, rng)
    if chosen is None:
        name = f"procedural:{FALLBACK[track]}:{int(rng.integers(2**31))}"
        source = procedural(name)
        start = int(rng.integers(source.size))
        tiled = tile(source, start, samples)
        power = significant(mean_square(tiled))
        amplitude = amplitude_for(snr_db, main_power, power)
        generated = PlannedNoise(
            track=track, clip_id=None, procedural=name, label=name, start=start, snr_db=snr_db, power=power, amplitude=amplitude
        )
        return generated, tiled
    clip, start, tiled, power = chosen
    recorded = PlannedNoise(
        track=track,
        clip_id=clip.id,
        content_sha256=clip.content_sha256,
        clean_sha256=clip.clean_sha256,
        label=clip.label,
        source=clip.source,
        licence=clip.licence,
        attribution=clip.attribution,
        start=start,
        snr_db=snr_db,
        power=power,
        amplitude=amplitude_for(snr_db, main_power, power),
    )
    return recorded, tiled


def _draw_recording(
    track: Track, samples: int, pool: ClipPool, taken: set[str], draws: list[Draw], rng: np.random.Generator
) -> tuple[Clip, int, Audio, float] | None:
    silent = 0
    for role in NOISE_ROLES[track]:
        for clip_id in _shuffled(pool.ids(role), rng):
            if silent == NOISE_DRAWS:
                return None
            clip = pool.get(clip_id)
            if clip.content_sha256 in taken:
                draws.append(Draw(what=f"{track} noise passed over, already in this stream", value=clip.id))
                continue
            source = pool.audio(clip)
            start = int(rng.integers(source.size))
            tiled = tile(source, start, samples)
            power = significant(mean_square(tiled))
            if power >= SILENT_POWER:
                taken.add(clip.content_sha256)  # the two tracks use different recordings
                return clip, start, tiled, power
            draws.append(Draw(what=f"{track} noise passed over, silent", value=clip.id))
            silent += 1
    return None


def _shuffled(ids: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield `ids` in random order (sparse Fisher-Yates shuffle). The cost depends only on the number of ids taken."""
    moved: dict[int, int] = {}
    for last in range(len(ids) - 1, -1, -1):
        pick = int(rng.integers(last + 1))
        yield ids[moved.get(pick, pick)]
        moved[pick] = moved.get(last, last)


def amplitude_for(snr_db: float, main_power: float, noise_power: float) -> float:
    """Return the factor that scales a noise of `noise_power` to `snr_db` below `main_power`."""
    return math.sqrt(main_power / noise_power * math.pow(10.0, -snr_db / 10.0))
