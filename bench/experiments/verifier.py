"""The offline clip verifier on real clips and on the same ones spoilt: how many of each it accepts, and why it refuses the rest.

    python -m soundflow.bench.experiments.verifier [--json OUT] [--clips demo/clips]

Every clip is wanted in words that are not its own, as a refiner writes them (WANTED). What is spoilt goes through ingress and
TFJP again, as any recording does: what TFJP mends is not spoilt any more, and may be accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.backends.embed.embedders import open_embedder, resolved
from soundflow.backends.sounds.procedural import Procedural
from soundflow.backends.sounds.procedural.catalogue import SOUNDS
from soundflow.bench.harness import measure as bench
from soundflow.operators.clean.activity import active_power
from soundflow.operators.clean.ingress import ingress
from soundflow.operators.clean.tfjp import tfjp
from soundflow.operators.curate.clip_evidence import CandidateClip, RequiredClip, SpeechDetector, measure
from soundflow.operators.curate.verifying import Rules, verify
from soundflow.operators.protocols.embedding import Embedder
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole, TfjpConfig
from soundflow.schemas.generation import VerifierConfig
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.pcm16 import round_to_pcm16
from soundflow.schemas.retrieval import RetrievalConfig

Audio = NDArray[np.float32]
WANTED: Final = {
    label: words
    for line in (resources.files("soundflow.bench.speed") / "wanted_sounds.txt").read_text(encoding="utf-8").splitlines()
    for label, _, words in [line.partition("|")]
}
"""Label → query|caption."""
NEAR: Final = (
    "cricket,crickets", "bird chirp,crow bird,owl", "bell,level crossing bell", "door,door creak", "water,water drop,bubbles",
    "applause,hand clap", "ship horn,car horn,factory whistle", "horse,horse gallop", "duck,goose", "crash,cymbal,explosion",
    "car passing,bus engine,car horn,motorcycle passing", "ambient drone,ambient woosh,ambient sauna", "chainsaw,sawmill",
    "sneeze,cough", "laugh,party chatter", "scream,baby cry",
)  # fmt: skip
"""Labels that may pass for each other: none is another's wrong label."""


@dataclass(frozen=True, slots=True)
class Case:
    """A clip and what it is wanted for."""

    candidate: CandidateClip
    wanted: RequiredClip
    neighbour: Audio


class Spoiler:
    """Makes the cases of one kind from the clips of an index."""

    def __init__(self, index: ClipIndex):
        self.index = index
        self.clips = [clip for clip in index.clips() if clip.label in WANTED and clip.role.value in EVENT_ROLES]
        self.speech = [clip for clip in index.clips() if clip.kind == "speech"]

    def cases(
        self, spoil: Callable[[Audio, np.random.Generator], Audio] | None, shortest: float = 0.0, **changes: Any
    ) -> Iterator[Case]:
        """Every clip of `shortest` seconds, its recording spoilt by `spoil`; `factor` changes the wanted length, `wrong` the
        wanted sound."""
        for number, clip in enumerate(self.clips):
            if clip.samples < shortest * c.SAMPLE_RATE:
                continue
            rng = rng_for("0" * 64, 0, number, "bench.verifier")
            samples = self.index.audio(clip)
            if spoil is not None:
                cleaned = _cleaned(spoil(samples, rng), clip)
                if cleaned is None:
                    continue  # ingress refuses it before any verifier sees it
                clip, samples = cleaned
            other = self.clips[int(rng.integers(len(self.clips)))]
            yield Case(CandidateClip(clip, samples), self._wanted(clip, samples, rng, **changes), self.index.audio(other))

    def _wanted(
        self, clip: Clip, samples: Audio, rng: np.random.Generator, factor: float = 1.0, wrong: bool = False
    ) -> RequiredClip:
        label = clip.label
        if wrong:
            near = {label, *(name for group in NEAR if label in group.split(",") for name in group.split(","))}
            others = sorted(set(WANTED) - near)
            label = others[int(rng.integers(len(others)))]
        query, _, caption = WANTED[label].partition("|")
        seconds = samples.size / c.SAMPLE_RATE * factor
        return RequiredClip(query, caption, clip.role.value, (0.6 * seconds, 1.5 * seconds))  # type: ignore[arg-type]

    def procedural(self) -> Iterator[Case]:
        """What the synthesiser makes of the names of its sounds, as a build would clean it."""
        for number, sound in enumerate(SOUNDS.values()):
            rng = rng_for("0" * 64, 0, number, "bench.verifier.procedural")
            query = sound.heads.split("|")[0]
            wanted = RequiredClip(query, f"The sound of {query}.", "foreground", (1.0, max(5.0, 2 * sound.seconds[0])))
            made = asyncio.run(Procedural().generate(query, wanted.seconds, int(rng.integers(2**31))))
            assert isinstance(made, Ok)
            pattern = self.clips[int(rng.integers(len(self.clips)))]
            told = {"label": query, "caption": made.value.caption, "role": ClipRole.FOREGROUND}
            cleaned = _cleaned(made.value.samples, pattern.model_copy(update=told))
            assert cleaned is not None
            yield Case(CandidateClip(*cleaned), wanted, self.index.audio(pattern))

    def with_speech(self, samples: Audio, rng: np.random.Generator) -> Audio:
        """Somebody speaks over it, as loud as it is."""
        spoken = self.index.audio(self.speech[int(rng.integers(len(self.speech)))])
        out = np.zeros(max(spoken.size, samples.size), dtype=np.float32)
        out[: samples.size] += samples
        out[: spoken.size] += spoken * np.sqrt(active_power(samples) / active_power(spoken))
        return out


EVENT_ROLES: Final = frozenset({"foreground", "background", "ambient"})


def _cleaned(samples: Audio, clip: Clip) -> tuple[Clip, Audio] | None:
    found = ingress(samples, c.SAMPLE_RATE)
    if isinstance(found, Rejected):
        return None
    assert isinstance(found, Ok)
    cleaned = tfjp(found.value.samples, TfjpConfig(denoise=clip.role.value != "ambient")).samples
    return clip.model_copy(update={"clipped_ratio": found.value.clipped_ratio, "samples": cleaned.size}), cleaned


def noisy(snr_db: float, pink: bool, samples: Audio, rng: np.random.Generator) -> Audio:
    """`samples` in the middle of half a second more of noise, at an SNR against their active power."""
    white = rng.standard_normal(samples.size + c.SAMPLE_RATE // 2)
    spectrum = np.fft.rfft(white) / (np.sqrt(np.maximum(np.arange(white.size // 2 + 1), 20.0)) if pink else 1.0)
    noise = np.fft.irfft(spectrum, n=white.size)
    noise *= np.sqrt(active_power(samples) / 10 ** (snr_db / 10) / np.mean(noise**2))
    noise[c.SAMPLE_RATE // 4 : c.SAMPLE_RATE // 4 + samples.size] += samples
    return noise.astype(np.float32)


def clipped(gain_db: float, samples: Audio, rng: np.random.Generator) -> Audio:
    """`samples` so many dB above full scale, cut off there."""
    return np.asarray(np.clip(samples / np.abs(samples).max() * 10 ** (gain_db / 20), -1, 1), dtype=np.float32)


def quiet(level_db: float, samples: Audio, rng: np.random.Generator) -> Audio:
    """`samples` at an active level in dBFS, on a 16-bit grid."""
    scaled = samples * 10 ** (level_db / 20) / np.sqrt(active_power(samples))
    return round_to_pcm16(scaled)


def kinds(spoiler: Spoiler) -> dict[str, tuple[bool, Callable[[], Iterator[Case]]]]:
    """Kind → (whether its clips should be accepted, its cases)."""
    spoilt = spoiler.cases
    return {
        "as recorded": (True, partial(spoilt, None)),
        "procedural": (True, spoiler.procedural),
        "white noise at 20 dB": (True, partial(spoilt, partial(noisy, 20.0, False))),
        "pink noise at 20 dB": (True, partial(spoilt, partial(noisy, 20.0, True))),
        "white noise at 0 dB": (False, partial(spoilt, partial(noisy, 0.0, False))),
        "white noise at -10 dB": (False, partial(spoilt, partial(noisy, -10.0, False))),
        "pink noise at 0 dB": (False, partial(spoilt, partial(noisy, 0.0, True))),
        "pink noise at -10 dB": (False, partial(spoilt, partial(noisy, -10.0, True))),
        "clipped by 12 dB": (False, partial(spoilt, partial(clipped, 12.0))),
        "near silence, -62 dBFS": (False, partial(spoilt, partial(quiet, -62.0))),
        "another sound": (False, partial(spoilt, None, wrong=True)),
        "4 times too long": (False, partial(spoilt, None, shortest=1.0, factor=0.25)),
        "4 times too short": (False, partial(spoilt, None, factor=4.0)),
        "speech over it": (False, partial(spoilt, spoiler.with_speech)),
    }


def judge(cases: Sequence[Case], rules: Rules, embedder: Embedder, hear: SpeechDetector | None) -> Counter[str]:
    """What becomes of the cases: `accept`, `accept after TFJP`, or the criterion they fail."""

    def reprocess(candidate: CandidateClip) -> Outcome[CandidateClip]:
        cleaned = _cleaned(candidate.samples, candidate.clip)
        return Ok(CandidateClip(*cleaned)) if cleaned else Rejected("silent")

    found: Counter[str] = Counter()
    for case in cases:
        outcome = asyncio.run(verify(case.wanted, case.candidate, [case.neighbour], rules, embedder.embed, reprocess, hear))
        if isinstance(outcome, Ok):
            found["accept" if len(outcome.value.judged) == 1 else "accept after TFJP"] += 1
        else:
            assert isinstance(outcome, Rejected)
            found[outcome.reason.removeprefix("clip_")] += 1
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every kind; returns the exit code."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--clips", type=Path, default=Path("demo/clips"), metavar="DIR")
    mine, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    args = bench.parse_arguments("experiments.verifier", rest, runs=3)
    try:
        spoiler = Spoiler(ClipIndex.open(mine.clips))
    except InputError as error:
        parser.error(f"{error}; or run `make demo` first")
    embedder = open_embedder(resolved(RetrievalConfig()))
    rules, hear = Rules(VerifierConfig(), embedder.name), _hearing()
    columns = ["accept", "accept after TFJP", "identity", "cleanliness", "duration_fit", "continuity"]
    print(f"{'':<24}" + "".join(f"{name:>18}" for name in columns))
    totals = {True: Counter[str](), False: Counter[str]()}
    table: dict[str, dict[str, int]] = {}
    for kind, (good, make) in kinds(spoiler).items():
        if kind == "speech over it" and hear is None:
            continue
        found = judge(list(make()), rules, embedder, hear)
        table[kind] = dict(found)
        totals[good] += found
        print(f"{kind:<24}" + "".join(f"{found[name] or '':>18}" for name in columns))
    right, wrong = (totals[good]["accept"] + totals[good]["accept after TFJP"] for good in (True, False))
    case = next(spoiler.cases(None))
    timing = bench.compare(
        "verifier",
        {"measure one clip": lambda: measure(case.wanted, case.candidate, [case.neighbour], embedder.embed)},
        args.runs,
    )
    ratios = [
        bench.Ratio("good clips accepted", right / totals[True].total(), at_least=0.9),
        bench.Ratio("spoilt clips accepted", wrong / totals[False].total(), at_most=0.12),
    ]
    notes = {"embedder": embedder.name, "listens for speech": hear is not None, "confusion": table}
    return bench.finish(
        "verifier", ratios, timing["medians"], versions=["numpy", "faster-whisper"], json_path=args.json, notes=notes
    )


def _hearing() -> SpeechDetector | None:
    from soundflow.backends.asr.speech_gate import SpeechGate

    try:
        return SpeechGate()
    except InputError as error:
        print(error)
        return None


if __name__ == "__main__":
    raise SystemExit(main())
