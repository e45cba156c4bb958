"""Accuracy of the offline clip verifier on real clips and on degraded copies, with the criteria that reject them.

    python -m soundflow.bench.experiments.verifier [--json OUT] [--runs N] [--clips demo/clips]

Each clip is requested in other words than its label, as by a refiner (DESCRIPTIONS). Degraded clips pass ingress and TFJP like
any recording. TFJP may repair some of them, which may then be accepted.
"""

from __future__ import annotations

import asyncio
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
DESCRIPTIONS: Final = {
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
"""Groups of similar labels, which are not used as wrong labels for each other."""


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate clip and the request for it."""

    candidate: CandidateClip
    request: RequiredClip
    neighbour: Audio


class CaseFactory:
    """Makes the cases of each kind from the clips of an index."""

    def __init__(self, index: ClipIndex):
        self.index = index
        self.clips = [clip for clip in index.clips() if clip.label in DESCRIPTIONS and clip.role.value in EVENT_ROLES]
        self.speech = [clip for clip in index.clips() if clip.kind == "speech"]

    def cases(
        self, degrade: Callable[[Audio, np.random.Generator], Audio] | None, shortest: float = 0.0, **changes: Any
    ) -> Iterator[Case]:
        """Yield a case per clip of at least `shortest` seconds, degraded by `degrade`.

        `changes` are `factor`, which scales the requested length, and `wrong`, which requests another sound.
        """
        for number, clip in enumerate(self.clips):
            if clip.samples < shortest * c.SAMPLE_RATE:
                continue
            rng = rng_for("0" * 64, 0, number, "bench.verifier")
            samples = self.index.audio(clip)
            if degrade is not None:
                cleaned = _cleaned(degrade(samples, rng), clip)
                if cleaned is None:
                    continue  # rejected by ingress
                clip, samples = cleaned
            other = self.clips[int(rng.integers(len(self.clips)))]
            yield Case(CandidateClip(clip, samples), self._request(clip, samples, rng, **changes), self.index.audio(other))

    def _request(
        self, clip: Clip, samples: Audio, rng: np.random.Generator, factor: float = 1.0, wrong: bool = False
    ) -> RequiredClip:
        label = clip.label
        if wrong:
            near = {label, *(name for group in NEAR if label in group.split(",") for name in group.split(","))}
            others = sorted(set(DESCRIPTIONS) - near)
            label = others[int(rng.integers(len(others)))]
        query, _, caption = DESCRIPTIONS[label].partition("|")
        seconds = samples.size / c.SAMPLE_RATE * factor
        return RequiredClip(query, caption, clip.role.value, (0.6 * seconds, 1.5 * seconds))  # type: ignore[arg-type]

    def procedural(self) -> Iterator[Case]:
        """Yield a case per sound of the synthesizer, cleaned as in a build."""
        for number, sound in enumerate(SOUNDS.values()):
            rng = rng_for("0" * 64, 0, number, "bench.verifier.procedural")
            query = sound.heads.split("|")[0]
            request = RequiredClip(query, f"The sound of {query}.", "foreground", (1.0, max(5.0, 2 * sound.seconds[0])))
            made = asyncio.run(Procedural().generate(query, request.seconds, int(rng.integers(2**31))))
            assert isinstance(made, Ok)
            pattern = self.clips[int(rng.integers(len(self.clips)))]
            changes = {"label": query, "caption": made.value.caption, "role": ClipRole.FOREGROUND}
            cleaned = _cleaned(made.value.samples, pattern.model_copy(update=changes))
            assert cleaned is not None
            yield Case(CandidateClip(*cleaned), request, self.index.audio(pattern))

    def with_speech(self, samples: Audio, rng: np.random.Generator) -> Audio:
        """Mix speech with `samples` at equal active power."""
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
    """Add noise at an SNR relative to the active power of `samples`, with a quarter of a second of noise at both ends."""
    white = rng.standard_normal(samples.size + c.SAMPLE_RATE // 2)
    spectrum = np.fft.rfft(white) / (np.sqrt(np.maximum(np.arange(white.size // 2 + 1), 20.0)) if pink else 1.0)
    noise = np.fft.irfft(spectrum, n=white.size)
    noise *= np.sqrt(active_power(samples) / 10 ** (snr_db / 10) / np.mean(noise**2))
    noise[c.SAMPLE_RATE // 4 : c.SAMPLE_RATE // 4 + samples.size] += samples
    return noise.astype(np.float32)


def clipped(gain_db: float, samples: Audio, rng: np.random.Generator) -> Audio:
    """Amplify `samples` to a peak `gain_db` above full scale and clip them."""
    return np.asarray(np.clip(samples / np.abs(samples).max() * 10 ** (gain_db / 20), -1, 1), dtype=np.float32)


def quiet(level_db: float, samples: Audio, rng: np.random.Generator) -> Audio:
    """Scale `samples` to an active level in dBFS and round them to 16 bits."""
    scaled = samples * 10 ** (level_db / 20) / np.sqrt(active_power(samples))
    return round_to_pcm16(scaled)


def kinds(factory: CaseFactory) -> dict[str, tuple[bool, Callable[[], Iterator[Case]]]]:
    """Return kind → (whether its clips should be accepted, function that yields its cases)."""
    cases = factory.cases
    return {
        "as recorded": (True, partial(cases, None)),
        "procedural": (True, factory.procedural),
        "white noise at 20 dB": (True, partial(cases, partial(noisy, 20.0, False))),
        "pink noise at 20 dB": (True, partial(cases, partial(noisy, 20.0, True))),
        "white noise at 0 dB": (False, partial(cases, partial(noisy, 0.0, False))),
        "white noise at -10 dB": (False, partial(cases, partial(noisy, -10.0, False))),
        "pink noise at 0 dB": (False, partial(cases, partial(noisy, 0.0, True))),
        "pink noise at -10 dB": (False, partial(cases, partial(noisy, -10.0, True))),
        "clipped by 12 dB": (False, partial(cases, partial(clipped, 12.0))),
        "near silence, -62 dBFS": (False, partial(cases, partial(quiet, -62.0))),
        "another sound": (False, partial(cases, None, wrong=True)),
        "4 times too long": (False, partial(cases, None, shortest=1.0, factor=0.25)),
        "4 times too short": (False, partial(cases, None, factor=4.0)),
        "mixed with speech": (False, partial(cases, factory.with_speech)),
    }


def judge(cases: Sequence[Case], rules: Rules, embedder: Embedder, detector: SpeechDetector | None) -> Counter[str]:
    """Count the outcomes of cases: `accept`, `accept after TFJP`, or the criterion that rejects them."""

    def reprocess(candidate: CandidateClip) -> Outcome[CandidateClip]:
        cleaned = _cleaned(candidate.samples, candidate.clip)
        return Ok(CandidateClip(*cleaned)) if cleaned else Rejected("silent")

    found: Counter[str] = Counter()
    for case in cases:
        outcome = asyncio.run(verify(case.request, case.candidate, [case.neighbour], rules, embedder.embed, reprocess, detector))
        if isinstance(outcome, Ok):
            found["accept" if len(outcome.value.judged) == 1 else "accept after TFJP"] += 1
        else:
            assert isinstance(outcome, Rejected)
            found[outcome.reason.removeprefix("clip_")] += 1
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    parser = bench.make_parser("experiments.verifier", runs=3)
    clips = Path("demo/clips")
    parser.add_argument("--clips", type=Path, default=clips, metavar="DIR", help=f"Directory of a clip index (default {clips}).")
    args = parser.parse_args(argv)
    try:
        factory = CaseFactory(ClipIndex.open(args.clips))
    except InputError as error:
        parser.error(f"{error}; or run `make demo` first")
    embedder = open_embedder(resolved(RetrievalConfig()))
    rules, detector = Rules(VerifierConfig(), embedder.name), _speech_detector()
    columns = ["accept", "accept after TFJP", "identity", "cleanliness", "duration_fit", "continuity"]
    print(f"{'':<24}" + "".join(f"{name:>18}" for name in columns))
    totals = {True: Counter[str](), False: Counter[str]()}
    table: dict[str, dict[str, int]] = {}
    for kind, (good, make) in kinds(factory).items():
        if kind == "mixed with speech" and detector is None:
            continue
        found = judge(list(make()), rules, embedder, detector)
        table[kind] = dict(found)
        totals[good] += found
        print(f"{kind:<24}" + "".join(f"{found[name] or '':>18}" for name in columns))
    good_accepted, degraded_accepted = (totals[good]["accept"] + totals[good]["accept after TFJP"] for good in (True, False))
    case = next(factory.cases(None))
    timing = bench.compare(
        "verifier",
        {"measure one clip": lambda: measure(case.request, case.candidate, [case.neighbour], embedder.embed)},
        args.runs,
    )
    ratios = [
        bench.Ratio("good clips accepted", good_accepted / totals[True].total(), at_least=0.9),
        bench.Ratio("degraded or wrong clips accepted", degraded_accepted / totals[False].total(), at_most=0.12),
    ]
    notes = {"embedder": embedder.name, "speech detector": detector is not None, "confusion": table}
    return bench.finish(
        "verifier", ratios, timing["medians"], versions=["numpy", "faster-whisper"], json_path=args.json, notes=notes
    )


def _speech_detector() -> SpeechDetector | None:
    from soundflow.backends.asr.voice_activity import VoiceActivityDetector

    try:
        return VoiceActivityDetector()
    except InputError as error:
        print(error)
        return None


if __name__ == "__main__":
    raise SystemExit(main())
