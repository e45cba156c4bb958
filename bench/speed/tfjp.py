"""Speed and quality of TFJP: `python -m soundflow.bench.speed.tfjp [--json OUT] [--runs N]`.

Speed is compared with noisereduce (stationary) followed by librosa.effects.split, and with a lower bound, the scipy rFFT and
irFFT of TFJP's frames. Quality is SI-SDR on the hops that TFJP keeps, for speech in white, pink and speech-shaped noise at 20 and
10 dB. It is compared with the better of noisereduce without and with half a second of pure noise as its profile. The speech is
rendered by the embedded voice; recordings below `demo/recordings` are added if they exist.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray

from soundflow.bench.harness import measure as bench
from soundflow.operators.clean.activity import active_power
from soundflow.operators.clean.columns import BLOCK
from soundflow.operators.clean.ingress import read_audio
from soundflow.operators.clean.tfjp import tfjp
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Ok

CLIP_SECONDS: Final = 10.0
"""Length of an AudioSet clip, the largest source of events in the paper."""
Audio = NDArray[np.float32]
SENTENCES = (
    "What is the weather going to be like tomorrow morning?",
    "Please turn the heating down before you leave the house.",
    "The storm came in from the sea, and by the evening every street in the town was under water.",
    "Somebody left the kitchen door open, and the dog is out in the garden again.",
)
PAUSE = np.zeros(c.SAMPLE_RATE, dtype=np.float32)


def spoken() -> list[Audio]:
    """Render sentences with half a second of silence before and a second after each."""
    from hibari import SAMPLE_RATE, Hibari

    voice = Hibari()
    clips = []
    for number, sentence in enumerate(SENTENCES):
        speech = soxr.resample(np.asarray(voice(sentence, seed=number), dtype=np.float32), SAMPLE_RATE, c.SAMPLE_RATE)
        clips.append(np.concatenate([PAUSE[::2], speech, PAUSE]))
    return clips


def recorded(folder: Path = Path("demo/recordings"), limit: int = 8) -> list[Audio]:
    """Load real prompts of 3 to 15 s from the demo's recordings, if `make demo` was run."""
    found: list[Audio] = []
    for path in sorted(folder.rglob("*.wav")):
        if "asterisk" not in str(path) or len(found) == limit:
            continue
        outcome = read_audio(path)
        if isinstance(outcome, Ok) and 3.0 < outcome.value.seconds < 15.0:
            found.append(np.concatenate([PAUSE[::2], outcome.value.samples, PAUSE]))
    return found


def noises(size: int, speech: Sequence[Audio], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return white noise, pink noise, and noise with the long-term spectrum of `speech`."""
    white = rng.standard_normal(size)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(spectrum.size), 40.0 * size / c.SAMPLE_RATE)), n=size)
    long_term = np.abs(np.fft.rfft(np.concatenate(list(speech)), n=1024 * 1024))
    smooth = np.convolve(long_term, np.ones(2048) / 2048, mode="same")
    shape = np.interp(np.linspace(0, 1, spectrum.size), np.linspace(0, 1, smooth.size), smooth)
    return {"white": white, "pink": pink, "speech-shaped": np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, n=size)}


def si_sdr(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB."""
    reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
    target = np.dot(estimate, reference) / np.dot(reference, reference) * reference
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


def hops_of(x: NDArray[np.floating], hops: NDArray[np.intp]) -> NDArray[np.floating]:
    """Return the samples of the given hops (12.5 ms each), concatenated."""
    chosen: NDArray[np.floating] = np.append(x, np.zeros(-x.size % c.STFT_HOP)).reshape(-1, c.STFT_HOP)[hops].ravel()
    return chosen


def quality(speech: Sequence[Audio], snr_db: float, noisereduce: Any) -> dict[str, float | None]:
    """Return the mean SI-SDR (dB) of mixtures, TFJP and peer, on the hops that TFJP keeps, away from cuts and tapers."""
    rows: dict[str, list[float]] = {"mixture": [], "tfjp": [], "noisereduce": [], "noisereduce shown noise": []}
    rng = np.random.default_rng(round(snr_db))
    for clip in speech:
        for noise in noises(clip.size, speech, rng).values():
            gain = np.sqrt(active_power(clip) / np.mean(noise**2) * 10 ** (-snr_db / 10))
            mixture = (clip + gain * noise).astype(np.float32)
            result = tfjp(mixture)
            steady = np.zeros(result.kept.size, dtype=np.bool_)
            steady[4:-4] = (np.diff(result.kept)[3:-4] == 1) & (np.diff(result.kept)[4:-3] == 1)
            places = np.flatnonzero(steady)
            source = result.kept[places]
            reference = hops_of(clip, source)
            rows["mixture"].append(si_sdr(reference, hops_of(mixture, source)))
            rows["tfjp"].append(si_sdr(reference, hops_of(result.samples, places)))
            if noisereduce is not None:
                pause = {"y_noise": mixture[: PAUSE.size // 2]}
                for name, profile in (("noisereduce", {}), ("noisereduce shown noise", pause)):
                    peer = noisereduce.reduce_noise(y=mixture, sr=c.SAMPLE_RATE, stationary=True, **profile)
                    rows[name].append(si_sdr(reference, hops_of(peer, source)))
    return {name: statistics.fmean(values) if values else None for name, values in rows.items()}


def fft_limit(samples: Audio) -> int:
    """Run only the rFFT and irFFT of TFJP's frames, in blocks as TFJP does; return the number of frames."""
    frames = np.lib.stride_tricks.sliding_window_view(np.append(samples, PAUSE[: c.STFT_SIZE]), c.STFT_SIZE)[:: c.STFT_HOP]
    for start in range(0, frames.shape[0], BLOCK):
        spectrum = scipy.fft.rfft(frames[start : start + BLOCK], axis=1, workers=1)
        scipy.fft.irfft(spectrum, n=c.STFT_SIZE, axis=1, workers=1, overwrite_x=True)
    return int(frames.shape[0])


def clips_of(samples: Audio, seconds: float) -> list[Audio]:
    """Split samples into equal parts of about `seconds`."""
    return np.array_split(samples, max(1, round(samples.size / (seconds * c.SAMPLE_RATE))))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("speed.tfjp", argv, runs=15)
    noisereduce, librosa = bench.import_peer("noisereduce"), bench.import_peer("librosa")
    real = recorded()
    speech = [*spoken(), *real]
    rng = np.random.default_rng(1)
    talk = np.concatenate(speech)[: 60 * c.SAMPLE_RATE]
    noisy = (talk + 0.1 * np.sqrt(active_power(talk)) * rng.standard_normal(talk.size)).astype(np.float32)
    clips = clips_of(noisy, CLIP_SECONDS)
    short = clips_of(noisy, CLIP_SECONDS / 2)

    def peers(clips: Sequence[Audio] = clips) -> None:
        assert noisereduce is not None and librosa is not None
        for clip in clips:
            librosa.effects.split(noisereduce.reduce_noise(y=clip, sr=c.SAMPLE_RATE, stationary=True))

    candidates: dict[str, Callable[[], object]] = {
        "tfjp": lambda: [tfjp(clip) for clip in clips],
        "fft limit": lambda: [fft_limit(clip) for clip in clips],
    }
    timing = bench.compare("tfjp", candidates, runs=args.runs, warmup=3)["medians"]
    missing = [name for name, module in (("noisereduce", noisereduce), ("librosa", librosa)) if module is None]
    faster = faster_short = None
    if not missing:
        against = bench.compare("tfjp", {"tfjp": candidates["tfjp"], "peer": peers}, runs=9, warmup=2)["medians"]
        timing["noisereduce + librosa.effects.split"] = against["peer"]
        faster = against["peer"] / against["tfjp"]
        shorter = {"tfjp": lambda: [tfjp(clip) for clip in short], "peer": lambda: peers(short)}
        against = bench.compare("tfjp", shorter, runs=5, warmup=2)["medians"]
        faster_short = round(against["peer"] / against["tfjp"], 2)
    ratios = [
        bench.Ratio("x noisereduce(stationary) + librosa.effects.split", faster, at_least=12.0),
        bench.Ratio("x rFFT + irFFT of its own frames", timing["tfjp"] / timing["fft limit"], at_most=4.0),
    ]
    notes: dict[str, Any] = {
        "seconds_of_audio": noisy.size / c.SAMPLE_RATE,
        "seconds_of_a_clip": CLIP_SECONDS,
        "x peer on clips half as long": faster_short,
        "times_real_time": round(noisy.size / c.SAMPLE_RATE / timing["tfjp"]),
        "speech": f"{len(SENTENCES)} sentences of the embedded voice, {len(real)} recordings",
    }
    for snr_db in (20.0, 10.0):
        found = quality(speech, snr_db, noisereduce)
        theirs = [value for name, value in found.items() if name.startswith("noisereduce") and value is not None]
        better = (found["tfjp"] or 0.0) - max(theirs) if theirs else None
        ratios.append(bench.Ratio(f"SI-SDR over noisereduce at {snr_db:g} dB (dB)", better, at_least=0.0))
        notes[f"si_sdr_{snr_db:g}_db"] = {name: None if value is None else round(value, 2) for name, value in found.items()}
    versions = ["numpy", "scipy", "noisereduce", "librosa", "numba"]
    return bench.finish("tfjp", ratios, timing, versions=versions, missing=missing, json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
