"""Accuracy of the speech gate: the shares of correct and of spoiled renderings that it accepts.

`python -m soundflow.bench.experiments.asr_gate [--json OUT] [--runs N]`. For each voice, a hundred sentences are rewritten,
rendered and checked as in `soundflow speak`, including retries. Then, for the embedded voice:

* texts altered by 1, 2 and 3 words in 20, checked against speech of the original text: share rejected;
* renderings with a wrong, a missing and a truncated clause, checked against the complete text: share rejected, by reason;
* complete renderings truncated by 5 to 25 %, or played at a wrong sample rate: share rejected.

espeak-ng, if installed, is expected to score clearly lower than the embedded voice.
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
"""Share of the last clause that a truncated rendering retains, [low, high]."""
RATES: Final = ((16_000, 24_000), (24_000, 16_000), (22_050, 24_000))
"""(true, assumed) sample rates."""
GATE: Final = GateConfig()


class Espeak:
    """espeak-ng, which is less intelligible than a neural voice."""

    voices = (Voice(name="espeak:en-us", language="en-US", gender="male", licence="GPL-3.0"),)
    knobs: tuple[Knob, ...] = ("speed",)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        command = ["espeak-ng", "-v", voice.id, "-s", str(round(175 * speed)), "--stdout", text]
        wav = subprocess.run(command, capture_output=True, check=True).stdout
        samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
        return Rendering(resample_to_16k(samples, rate), {"backend": "espeak"})


class CachingRecogniser:
    """A recogniser that caches transcriptions by samples."""

    def __init__(self, recogniser: Recogniser):
        self._recogniser = recogniser
        self._transcriptions: dict[bytes, Transcription] = {}

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        key = samples.tobytes()
        if key not in self._transcriptions:
            self._transcriptions[key] = self._recogniser.transcribe(samples, language)
        return self._transcriptions[key]


def pass_rates(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, Any]:
    """Render all sentences by one voice; return the shares accepted at the first take and within retries, WERs and reasons."""
    voice_pool = VoicePool({voice.backend: speaker})
    tools = SpeechTools(voice_pool, recogniser, rewrite_by_rules, lambda voice: pace, GATE, 0)
    first = passed = 0
    wers, reasons, rejected = [], Counter[str](), []
    for number, sentence in enumerate(SENTENCES):
        turn = render_turn(to_spoken_form(whole(sentence)), voice, "en", "bench", number, tools)
        first += not turn.takes[0].refused
        passed += turn.samples is not None
        reasons.update(take.refused for take in turn.takes[:1] if take.refused)
        wer = turn.takes[0].metrics.get("wer")
        wers += [float(wer)] if isinstance(wer, int | float) else []
        if turn.takes[0].refused:
            rejected.append({"ref": turn.text, "reason": turn.takes[0].refused, "hyp": turn.takes[0].metrics.get("hyp")})
    return {
        "first take": first / len(SENTENCES),
        "within retries": passed / len(SENTENCES),
        "wer": {name: round(float(np.quantile(wers, q)), 3) for name, q in (("p50", 0.5), ("p90", 0.9), ("max", 1.0))}
        | {"mean": round(float(np.mean(wers)), 4)},
        "reasons at the first take": dict(reasons),
        "rejected at the first take": rejected[:12],
    }


def check_altered_texts(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, float]:
    """Return the share of texts of about 20 words that are rejected after 0 to 3 words were replaced, dropped or added."""
    texts = [text for text in (to_spoken_form(whole(sentence)) for sentence in SENTENCES) if 16 <= len(text.split()) <= 24]
    others = sorted({word for text in texts for word in text.lower().replace(",", "").replace(".", "").split()})
    rejected = Counter[int]()
    for number, text in enumerate(texts):
        samples = speaker.say(text, voice, seed=number).samples
        for errors in range(4):
            rng = rng_for(text, 0, number, "altered", errors)
            reference = _alter(text, round(errors * len(text.split()) / WORDS), others, rng)
            outcome = check_rendering(samples, reference, "en", recogniser, pace, config=GATE)
            rejected[errors] += not isinstance(outcome, Ok)
    return {f"{errors} in {WORDS}": rejected[errors] / len(texts) for errors in range(4)} | {"texts": len(texts)}


def _alter(text: str, errors: int, others: Sequence[str], rng: np.random.Generator) -> str:
    words = text.split()
    for place in sorted((int(place) for place in rng.choice(len(words), errors, replace=False)), reverse=True):
        other = str(rng.choice([word for word in others if word != words[place].lower()]))
        kind = int(rng.integers(3))
        words[place : place + 1] = [[other], [], [words[place], other]][kind]
    return " ".join(words)


def check_spoiled_renderings(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, Any]:
    """Check renderings with a wrong, missing or truncated clause against the complete text; return shares and reasons."""
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
        speech = {kind: speaker.say(to_spoken_form(version), voice, seed=number).samples for kind, version in versions.items()}
        speech["cut off"] = _cut(speaker.say(text, voice, seed=number).samples, parts, float(rng.uniform(*CUT)), rng)
        for kind, samples in speech.items():
            outcome = check_rendering(samples, text, "en", recogniser, pace, config=GATE)
            counts[kind]["accepted" if isinstance(outcome, Ok) else outcome.reason] += 1
            if isinstance(outcome, Ok):
                accepted.append({"kind": kind, "ref": text, **outcome.value})
    return {
        "rejected": {kind: 1.0 - found["accepted"] / len(chosen) for kind, found in counts.items()},
        "reasons": {kind: dict(found) for kind, found in counts.items()},
        "accepted": accepted,
    }


def _cut(samples: NDArray[np.float32], parts: Sequence[str], retained: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Keep only the share `retained` of the last clause; half of the results end with the original trailing silence."""
    active = np.flatnonzero(active_hops(samples)) * c.STFT_HOP
    share = len(" ".join(parts[:-1])) / len(" ".join(parts))
    end = int(active[0] + (active[-1] - active[0]) * (share + retained * (1.0 - share)))
    tail = np.zeros(samples.size - active[-1] if rng.random() < 0.5 else 0, dtype=np.float32)
    return np.concatenate([samples[:end], tail])


def check_damaged_renderings(voice: Voice, speaker: Speaker, recogniser: Recogniser, pace: Pace) -> dict[str, float]:
    """Return the share rejected of complete renderings that were truncated or interpreted at a wrong sample rate."""
    damages: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {}
    for share in (0.05, 0.1, 0.25):
        damages[f"cut by {share:.0%}"] = partial(_shortened, share=share)
    for true, assumed in RATES:
        damages[f"{true} Hz interpreted as {assumed} Hz"] = partial(_mistaken, true=true, assumed=assumed)
    rejected = Counter[str]()
    chosen = SENTENCES[::3]
    for number, sentence in enumerate(chosen):
        text = to_spoken_form(whole(sentence))
        samples = speaker.say(text, voice, seed=number).samples
        for name, damage in damages.items():
            rejected[name] += not isinstance(check_rendering(damage(samples), text, "en", recogniser, pace, config=GATE), Ok)
    return {name: rejected[name] / len(chosen) for name in damages}


def _shortened(samples: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    active = np.flatnonzero(active_hops(samples)) * c.STFT_HOP
    return samples[: int(active[-1] - share * (active[-1] - active[0]))]


def _mistaken(samples: NDArray[np.float32], true: int, assumed: int) -> NDArray[np.float32]:
    return np.asarray(soxr.resample(samples, assumed, true), dtype=np.float32)


def speakers(kokoro: int) -> tuple[list[tuple[Voice, Speaker]], list[str]]:
    """Return the voices to measure, the embedded one first, and the names of missing ones."""
    hibari = open_speaker(HibariConfig())
    found: list[tuple[Voice, Speaker]] = [(voice, hibari) for voice in hibari.voices]
    missing = []
    try:
        speaker = open_speaker(KokoroConfig())
        found += [(voice, speaker) for voice in speaker.voices if voice.name in KOKORO[:kokoro]]
    except InputError as error:
        print(f"kokoro is skipped: {error}")
        missing.append("kokoro")
    if shutil.which("espeak-ng"):
        found.append((Espeak.voices[0], Espeak()))
    else:
        missing.append("espeak-ng")
    return found, missing


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.make_parser("experiments.asr_gate", 2, "Number of Kokoro voices to measure (default 2).").parse_args(argv)
    recogniser = CachingRecogniser(open_recogniser(WhisperConfig()))
    found, missing = speakers(args.runs)
    ratios: list[bench.Ratio] = []
    notes: dict[str, Any] = {"gate": GATE.model_dump(), "recogniser": WhisperConfig().model_for("en")}
    shares = {}
    for voice, speaker in found:
        pace = measure_pace(voice, speaker, recogniser)
        rates = pass_rates(voice, speaker, recogniser, pace)
        notes[voice.name] = rates | {"pace": pace.model_dump()}
        shares[voice.name] = rates["first take"]
        limit = None if voice.backend == "espeak" else 0.95
        ratios.append(bench.Ratio(f"{voice.name}: accepted at the first take", rates["first take"], at_least=limit))
        ratios.append(bench.Ratio(f"{voice.name}: accepted within retries", rates["within retries"], at_least=limit))
        print(f"{voice.name}: {rates}", flush=True)
    voice, speaker = found[0]
    if "espeak:en-us" in shares:
        ratios.append(
            bench.Ratio("first take: embedded voice - espeak-ng", shares[voice.name] - shares["espeak:en-us"], at_least=0.1)
        )
    pace = measure_pace(voice, speaker, recogniser)
    caught = check_altered_texts(voice, speaker, recogniser, pace)
    notes["altered texts rejected"] = caught
    ratios.append(bench.Ratio("texts altered by 3 words in 20: rejected", caught[f"3 in {WORDS}"], at_least=0.95))
    bad = check_spoiled_renderings(voice, speaker, recogniser, pace)
    notes["spoiled renderings"] = bad
    ratios += [
        bench.Ratio(f"renderings with a clause {kind}: rejected", share, at_least=0.95) for kind, share in bad["rejected"].items()
    ]
    harm = check_damaged_renderings(voice, speaker, recogniser, pace)
    notes["damaged renderings rejected"] = harm
    ratios += [bench.Ratio(f"{name}: rejected", harm[name], at_least=0.95) for name in list(harm)[2:5]]
    packages = ["hibari-tts", "faster-whisper", "jiwer", "whisper-normalizer", "numpy"]
    return bench.finish("asr_gate", ratios, {}, versions=packages, missing=missing, json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
