"""Is the gate right? What it passes and refuses of speech that is good, and of speech that is not.

`python -m soundflow.bench.experiments.asr_gate [--json OUT] [--runs N]` (N voices of Kokoro, when its assets are here; default
2). For every voice a hundred sentences are rewritten, rendered once and judged as in `soundflow speak`, retries included. Then,
for the embedded voice:
* texts altered by 1, 2 and 3 words in 20 against speech of the unaltered text: which share is refused (false accepts);
* renderings with a wrong, a missing and a cut-off clause against the whole text: which share is refused, and by which reason;
* whole renderings cut by a twentieth to a quarter, or whose samples were taken for another rate.
espeak-ng is measured when it is installed: it should fare visibly worse.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.backends.tts.speakers import open_speaker
from soundflow.bench.experiments.sentences import SENTENCES, clauses, whole
from soundflow.bench.harness import measure as bench
from soundflow.operators.clean.activity import active_hops
from soundflow.operators.protocols.asr import Recogniser, Transcription
from soundflow.operators.protocols.tts import Knob, Rendering, Speaker, resample_to_16k
from soundflow.operators.speech.chain import SpeechTools, render_turn
from soundflow.operators.speech.gate import check_rendering
from soundflow.operators.speech.normalise import to_spoken_form
from soundflow.operators.speech.pace import measure_pace
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok
from soundflow.schemas.speech import GateConfig, HibariConfig, KokoroConfig, Pace, Voice, WhisperConfig

KOKORO: Final = ("kokoro:af_heart", "kokoro:am_michael", "kokoro:bf_emma", "kokoro:bm_george")
WORDS: Final = 20
CUT: Final = (0.0, 0.7)
"""How much of the last clause of a cut rendering is still heard, [low, high]."""
RATES: Final = ((16_000, 24_000), (24_000, 16_000), (22_050, 24_000))
"""(true, assumed) sample rates."""
GATE: Final = GateConfig()


class Espeak:
    """espeak-ng, if it is installed: understood worse than a neural voice."""

    voices = (Voice(name="espeak:en-us", language="en-US", gender="male", licence="GPL-3.0"),)
    knobs: tuple[Knob, ...] = ("speed",)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        command = ["espeak-ng", "-v", voice.id, "-s", str(round(175 * speed)), "--stdout", text]
        wav = subprocess.run(command, capture_output=True, check=True).stdout
        samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
        return Rendering(resample_to_16k(samples, rate), {"backend": "espeak"})


class Remembering:
    """A recogniser that hears no rendering twice."""

    def __init__(self, recogniser: Recogniser):
        self._recogniser = recogniser
        self._heard: dict[bytes, Transcription] = {}

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        key = samples.tobytes()
        if key not in self._heard:
            self._heard[key] = self._recogniser.transcribe(samples, language)
        return self._heard[key]


def passes(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, Any]:
    """All sentences by one voice: share that passed at the first take and within R retries, word error rates, reasons."""
    voice_pool = VoicePool({voice.backend: speaker})
    tools = SpeechTools(voice_pool, recogniser, rewrite_by_rules, lambda voice: pace, GATE, 0)
    first = passed = 0
    wers, reasons, refused = [], Counter[str](), []
    for number, sentence in enumerate(SENTENCES):
        turn = render_turn(to_spoken_form(whole(sentence)), voice, "en", "bench", number, tools)
        first += not turn.takes[0].refused
        passed += turn.samples is not None
        reasons.update(take.refused for take in turn.takes[:1] if take.refused)
        wer = turn.takes[0].metrics.get("wer")
        wers += [float(wer)] if isinstance(wer, int | float) else []
        if turn.takes[0].refused:
            refused.append({"ref": turn.text, "reason": turn.takes[0].refused, "hyp": turn.takes[0].metrics.get("hyp")})
    return {
        "first take": first / len(SENTENCES),
        "within retries": passed / len(SENTENCES),
        "wer": {name: round(float(np.quantile(wers, q)), 3) for name, q in (("p50", 0.5), ("p90", 0.9), ("max", 1.0))}
        | {"mean": round(float(np.mean(wers)), 4)},
        "reasons at the first take": dict(reasons),
        "refused at the first take": refused[:12],
    }


def altered(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, float]:
    """Share of texts of about 20 words that are refused after 0, 1, 2 and 3 of their words were replaced, dropped or added."""
    texts = [text for text in (to_spoken_form(whole(sentence)) for sentence in SENTENCES) if 16 <= len(text.split()) <= 24]
    others = sorted({word for text in texts for word in text.lower().replace(",", "").replace(".", "").split()})
    refused = Counter[int]()
    for number, text in enumerate(texts):
        samples = speaker.say(text, voice, seed=number).samples
        for errors in range(4):
            rng = rng_for(text, 0, number, "altered", errors)
            reference = _alter(text, round(errors * len(text.split()) / WORDS), others, rng)
            outcome = check_rendering(samples, reference, "en", recogniser, pace, config=GATE)
            refused[errors] += not isinstance(outcome, Ok)
    return {f"{errors} in {WORDS}": refused[errors] / len(texts) for errors in range(4)} | {"texts": len(texts)}


def _alter(text: str, errors: int, others: Sequence[str], rng: np.random.Generator) -> str:
    words = text.split()
    for place in sorted((int(place) for place in rng.choice(len(words), errors, replace=False)), reverse=True):
        other = str(rng.choice([word for word in others if word != words[place].lower()]))
        kind = int(rng.integers(3))
        words[place : place + 1] = [[other], [], [words[place], other]][kind]
    return " ".join(words)


def spoiled(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, Any]:
    """Renderings with a wrong, missing or cut-off clause, judged against the whole text: share refused, by which reason."""
    chosen = [sentence for sentence in SENTENCES if "|" in sentence]
    counts: dict[str, Counter[str]] = {"wrong": Counter(), "missing": Counter(), "cut off": Counter()}
    accepted = []
    for number, sentence in enumerate(chosen):
        parts, rng = clauses(sentence), rng_for("bench/asr_gate", 0, number, "spoiled")
        other = clauses(chosen[(number + 1 + int(rng.integers(len(chosen) - 1))) % len(chosen)])
        place = int(rng.integers(len(parts)))
        text = to_spoken_form(whole(sentence))
        versions = {
            "wrong": " ".join([*parts[:place], other[min(place, len(other) - 1)], *parts[place + 1 :]]),
            "missing": " ".join([*parts[:place], *parts[place + 1 :]]),
        }
        speech = {kind: speaker.say(to_spoken_form(said), voice, seed=number).samples for kind, said in versions.items()}
        speech["cut off"] = _cut(speaker.say(text, voice, seed=number).samples, parts, float(rng.uniform(*CUT)), rng)
        for kind, samples in speech.items():
            outcome = check_rendering(samples, text, "en", recogniser, pace, config=GATE)
            counts[kind]["accepted" if isinstance(outcome, Ok) else outcome.reason] += 1
            if isinstance(outcome, Ok):
                accepted.append({"kind": kind, "ref": text, **outcome.value})
    return {
        "refused": {kind: 1.0 - found["accepted"] / len(chosen) for kind, found in counts.items()},
        "reasons": {kind: dict(found) for kind, found in counts.items()},
        "accepted": accepted,
    }


def _cut(samples: NDArray[np.float32], parts: Sequence[str], heard: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """The rendering with only the share `heard` of its last clause; every second one with silence where the rest was."""
    active = np.flatnonzero(active_hops(samples)) * c.STFT_HOP
    share = len(" ".join(parts[:-1])) / len(" ".join(parts))
    end = int(active[0] + (active[-1] - active[0]) * (share + heard * (1.0 - share)))
    tail = np.zeros(samples.size - active[-1] if rng.random() < 0.5 else 0, dtype=np.float32)
    return np.concatenate([samples[:end], tail])


def damaged(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, float]:
    """Share refused of whole renderings that were cut by so much, or whose samples were taken for another rate."""
    damages: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {}
    for share in (0.05, 0.1, 0.25):
        damages[f"cut by {share:.0%}"] = partial(_shortened, share=share)
    for true, assumed in RATES:
        damages[f"{true} Hz taken for {assumed}"] = partial(_mistaken, true=true, assumed=assumed)
    refused = Counter[str]()
    chosen = SENTENCES[::3]
    for number, sentence in enumerate(chosen):
        text = to_spoken_form(whole(sentence))
        samples = speaker.say(text, voice, seed=number).samples
        for name, damage in damages.items():
            refused[name] += not isinstance(check_rendering(damage(samples), text, "en", recogniser, pace, config=GATE), Ok)
    return {name: refused[name] / len(chosen) for name in damages}


def _shortened(samples: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    active = np.flatnonzero(active_hops(samples)) * c.STFT_HOP
    return samples[: int(active[-1] - share * (active[-1] - active[0]))]


def _mistaken(samples: NDArray[np.float32], true: int, assumed: int) -> NDArray[np.float32]:
    return np.asarray(soxr.resample(samples, assumed, true), dtype=np.float32)


def speakers(kokoro: int) -> tuple[list[tuple[Voice, Speaker]], list[str]]:
    """The voices to measure, the embedded one first, and what is missing."""
    hibari = open_speaker(HibariConfig())
    found: list[tuple[Voice, Speaker]] = [(voice, hibari) for voice in hibari.voices]
    missing = []
    try:
        speaker = open_speaker(KokoroConfig())
        found += [(voice, speaker) for voice in speaker.voices if voice.name in KOKORO[:kokoro]]
    except InputError as error:
        print(f"kokoro is left out: {error}")
        missing.append("kokoro")
    if shutil.which("espeak-ng"):
        found.append((Espeak.voices[0], Espeak()))
    else:
        missing.append("espeak-ng")
    return found, missing


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's text."""
    args = bench.parse_arguments("experiments.asr_gate", argv, runs=2)
    recogniser = Remembering(open_recogniser(WhisperConfig()))
    found, missing = speakers(args.runs)
    ratios: list[bench.Ratio] = []
    notes: dict[str, Any] = {"gate": GATE.model_dump(), "recogniser": WhisperConfig().model_for("en")}
    shares = {}
    for voice, speaker in found:
        pace = measure_pace(voice, speaker, recogniser)
        told = passes(voice, speaker, recogniser, pace)
        notes[voice.name] = told | {"pace": pace.model_dump()}
        shares[voice.name] = told["first take"]
        limit = None if voice.backend == "espeak" else 0.95
        ratios.append(bench.Ratio(f"{voice.name}: passed at the first take", told["first take"], at_least=limit))
        ratios.append(bench.Ratio(f"{voice.name}: passed within retries", told["within retries"], at_least=limit))
        print(f"{voice.name}: {told}", flush=True)
    voice, speaker = found[0]
    if "espeak:en-us" in shares:
        ratios.append(
            bench.Ratio("espeak below the embedded voice by", shares[voice.name] - shares["espeak:en-us"], at_least=0.1)
        )
    pace = measure_pace(voice, speaker, recogniser)
    caught = altered(voice, speaker, recogniser, pace)
    notes["altered texts refused"] = caught
    ratios.append(bench.Ratio("texts altered by 3 words in 20: refused", caught[f"3 in {WORDS}"], at_least=0.95))
    bad = spoiled(voice, speaker, recogniser, pace)
    notes["spoiled renderings"] = bad
    ratios += [
        bench.Ratio(f"renderings with a clause {kind}: refused", share, at_least=0.95) for kind, share in bad["refused"].items()
    ]
    harm = damaged(voice, speaker, recogniser, pace)
    notes["damaged renderings refused"] = harm
    ratios += [bench.Ratio(f"{name}: refused", harm[name], at_least=0.95) for name in list(harm)[2:5]]
    packages = ["hibari-tts", "faster-whisper", "jiwer", "whisper-normalizer", "numpy"]
    return bench.finish("asr_gate", ratios, {}, versions=packages, missing=missing, json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
