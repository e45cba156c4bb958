"""Errors of word times by aligners on speech whose word times are known by construction.

`python -m soundflow.bench.experiments.alignment [--json OUT] [--runs N]`. Single words are trimmed to their active part and
joined with known pauses. They are spoken by the embedded voice and, if the asset `asterisk-prompts` is installed, by a person
over the telephone (8 kHz). With Kokoro and misaki[zh], Mandarin phrases are joined in the same way, and the ends of phrases are
compared. The active part extends from the first to the last 5 ms within 35 dB of the maximum, without sounds after a silence
longer than that of a stop consonant (the embedded voice clicks after some words). Wrong texts are aligned too, to count how many
are accepted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from soundflow.backends.align.aligners import open_aligner
from soundflow.bench.harness import measure as bench
from soundflow.operators.protocols.alignment import Aligner
from soundflow.schemas import constants as c
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok
from soundflow.schemas.stream import due_chunk

PAUSES: Final = ((0.0, 0.02), (0.0, 0.15), (0.1, 0.3))
"""Seconds between words [low, high]: connected, careful and halting speech. TFJP leaves no longer pause."""
SENTENCES: Final = (
    "The storm came in from the sea, and by the evening every street in the town was under water.",
    "Please turn the heating down before you leave the house.",
    "What is the weather going to be like tomorrow morning?",
    "My sister bought seven green apples at the market yesterday.",
    "Nobody expected the train to arrive before midnight.",
    "We should probably ask the doctor about these new pills.",
    "A large brown dog was sleeping under the kitchen table.",
    "Could you remind me to call my brother after lunch?",
    "The museum opens at nine and closes at half past five.",
    "He quickly wrote the number down on a piece of paper.",
    "Although the weather was terrible, the children insisted on playing outside until dinner.",
    "The committee will meet again on Thursday to discuss the results of the survey.",
    "Fresh bread and butter is all I want for breakfast.",
    "The old bridge was closed because of heavy rain and strong wind.",
    "Our neighbours are moving to another city at the end of the month.",
    "She has never been afraid of asking difficult questions.",
)
PROMPTS: Final = (
    {str(number): word for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
        " nineteen twenty".split()) if number}
    | {f"day-{day}": name for day, name in enumerate("Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split())}
    | {f"mon-{month}": name for month, name in enumerate(
        "January February March April May June July August September October November December".split())}
)  # fmt: skip
"""File of `asterisk-prompts` → its word."""

MANDARIN: Final = (
    "今天下午 我们 去公园 散步 然后 回家 吃饭 明天早上 天气 怎么样 请你 关上 窗户 外面 下雨了 商店 里面 没有 面包 牛奶 火车 八点"
    " 到达 北京 老师 学生 认真 读书"
).split()
"""Phrases of two to four characters."""
LIMITED: Final = (("pocketsphinx", "rendered"), ("pocketsphinx", "recorded"), ("whisper", "rendered"), ("whisper", "mandarin"))
"""Aligners and speech with limits. Whisper misses them on single words over the telephone, so English uses pocketsphinx."""

Audio = NDArray[np.float32]
Voice = Callable[[str], Audio]


class TimedSpeech(NamedTuple):
    """Speech with the positions of its words in samples."""

    text: str
    audio: Audio
    spans: tuple[tuple[int, int], ...]
    """Start and end of each unit that was spoken separately."""
    language: str = "en"
    words: tuple[int, ...] = ()
    """Number of words per unit; empty if each unit is one word."""


def trim_word(samples: Audio, closure_ms: int) -> Audio:
    """Return the active part of a spoken word; silence of up to `closure_ms` is a stop consonant inside it."""
    hop, silence = 80, closure_ms // 5
    power = np.square(samples[: samples.size // hop * hop].reshape(-1, hop)).mean(axis=1)
    power = np.convolve(power, np.ones(3) / 3, mode="same")
    active = np.flatnonzero(power > power.max() * 10**-3.5)
    runs = np.split(active, np.flatnonzero(np.diff(active) > silence) + 1)
    run = next(run for run in runs if int(power.argmax()) in run)
    return samples[run[0] * hop : (run[-1] + 1) * hop]


def join_words(words: Sequence[tuple[str, Audio]], pauses: tuple[float, float], rng: np.random.Generator) -> TimedSpeech:
    """Join words with pauses, 200 ms of silence at both ends, and faint noise."""
    parts, spans, place = [np.zeros(3_200, np.float32)], [], 3_200
    fade = np.linspace(0.0, 1.0, 80, dtype=np.float32)
    for _, word in words:
        pause = int(rng.uniform(*pauses) * c.SAMPLE_RATE)
        piece = word.copy()
        piece[:80] *= fade
        piece[-80:] *= fade[::-1]
        parts += [np.zeros(pause, np.float32), piece]
        spans.append((place + pause, place + pause + piece.size))
        place += pause + piece.size
    audio = np.concatenate([*parts, np.zeros(3_200, np.float32)])
    audio += rng.standard_normal(audio.size).astype(np.float32) * 1e-4
    return TimedSpeech(" ".join(text for text, _ in words), audio, tuple(spans))


def rendered(sentences: Sequence[str] = SENTENCES, pauses: Sequence[tuple[float, float]] = PAUSES) -> Iterator[TimedSpeech]:
    """Yield sentences of the embedded voice, spoken word by word."""
    from hibari import SAMPLE_RATE, Hibari

    voice, audio = Hibari(), dict[str, Audio]()
    for number, (pause, sentence) in enumerate(product(pauses, sentences)):
        for word in sentence.split():
            if word not in audio:
                spoken = np.asarray(voice(re.sub(r"[^\w']", "", word), seed=1), dtype=np.float32)
                audio[word] = trim_word(soxr.resample(spoken, SAMPLE_RATE, c.SAMPLE_RATE), 60)
        yield join_words([(word, audio[word]) for word in sentence.split()], pause, rng_for("bench", 0, number, "alignment"))


def recorded(count: int = 20, length: int = 10) -> Iterator[TimedSpeech]:
    """Yield numbers, days and months in random order, spoken by a person; nothing if the asset is missing."""
    folder = asset_dir() / "asterisk-prompts" / "en_US_f_Allison" / "digits"
    if not folder.is_dir():
        return
    words = []
    for name, word in PROMPTS.items():
        samples, rate = soundfile.read(folder / f"{name}.wav", dtype="float32")
        words.append((word, trim_word(soxr.resample(samples, rate, c.SAMPLE_RATE), 150)))
    for number, pause in product(range(count), PAUSES):
        rng = rng_for("bench", 1, number, f"alignment {pause}")
        yield join_words([words[place] for place in rng.permutation(len(words))[:length]], pause, rng)


def mandarin(count: int = 18, length: int = 6) -> Iterator[TimedSpeech]:
    """Yield phrases in random order, spoken by Kokoro; nothing if it or misaki[zh] is missing."""
    from soundflow.backends.tts.speakers import open_speaker
    from soundflow.schemas.speech import KokoroConfig

    try:
        speaker = open_speaker(KokoroConfig())
    except InputError:
        return
    for voice in [voice for voice in speaker.voices if voice.language.startswith("zh")][:1]:
        phrases = [(phrase, trim_word(speaker.say(phrase + "。", voice).samples, 60)) for phrase in MANDARIN]
        for number in range(count):
            pauses = PAUSES[number % len(PAUSES)]
            rng = rng_for("bench", 3, number, voice.name)
            chosen = [phrases[place] for place in rng.permutation(len(phrases))[:length]]
            known = join_words(chosen, pauses, rng)
            yield known._replace(
                text="".join(text for text, _ in chosen), language="zh", words=tuple(len(text) for text, _ in chosen)
            )


def measure(aligner: Aligner, speech: Sequence[TimedSpeech]) -> dict[str, Any]:
    """Return the errors of an aligner, in ms unless the key says otherwise."""
    starts, ends, correct, early, unaligned = [], [], [], 0, 0
    rng = rng_for("bench", 2, 0, "chunks")
    began = time.process_time()
    for known in speech:
        found = aligner.align(known.audio, known.text, known.language)
        if not isinstance(found, Ok):
            unaligned += 1
            continue
        last = np.cumsum(known.words or [1] * len(known.spans))
        for first, final, (start, end) in zip([0, *last], last, known.spans, strict=False):
            starts.append((found.value[first].start - start) / 16)
            predicted = found.value[final - 1].end
            ends.append((predicted - end) / 16)
            offset = int(rng.integers(c.CHUNK_SAMPLES))
            late = due_chunk(predicted + offset) - due_chunk(end + offset)
            correct.append(late == 0)
            early += late < -1
    took = time.process_time() - began
    seconds = sum(known.audio.size for known in speech) / c.SAMPLE_RATE
    return {
        "words": len(ends),
        "clips not aligned": unaligned,
        "bias of starts": round(float(np.median(starts)), 1),
        "bias of ends": round(float(np.median(ends)), 1),
        "median": float(np.median(np.abs(ends))),
        "95 %": float(np.percentile(np.abs(ends), 95)),
        "median of starts": float(np.median(np.abs(starts))),
        "95 % of starts": float(np.percentile(np.abs(starts), 95)),
        "correct chunk": float(np.mean(correct)),
        "early by more than a chunk": early,
        "times real time": round(seconds / took, 1),
    }


def accepted(aligner: Aligner, speech: Sequence[TimedSpeech]) -> float:
    """Return the share of wrong texts (each clip with the text of the next) that are accepted."""
    texts = [known.text for known in speech]
    pairs = [(known, other) for known, other in zip(speech, texts[1:] + texts[:1], strict=True) if other != known.text]
    return float(np.mean([isinstance(aligner.align(known.audio, other, known.language), Ok) for known, other in pairs]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("experiments.alignment", argv, runs=1)
    speech = {"rendered": list(rendered()), "recorded": list(recorded()), "mandarin": list(mandarin())}
    ratios, notes, missing = [], {}, []
    for name in ("pocketsphinx", "whisper"):
        try:
            aligner = open_aligner(name)
        except InputError as error:
            print(f"{name} is skipped: {error}")
            missing.append(name)
            continue
        for kind, known in speech.items():
            if not known or not aligner.speaks(known[0].language):
                continue
            found = measure(aligner, known)
            label = f"{name}, {kind}"
            notes[label] = found | {"wrong texts accepted": accepted(aligner, known[:16])}
            if (name, kind) not in LIMITED:
                continue
            ratios += [
                bench.Ratio(f"{label}: median error of word ends (ms)", found["median"], at_most=60),
                bench.Ratio(f"{label}: 95 % of word ends within (ms)", found["95 %"], at_most=200),
                bench.Ratio(f"{label}: words in the correct chunk", found["correct chunk"], at_least=0.90),
                bench.Ratio(f"{label}: words early by more than a chunk", found["early by more than a chunk"], at_most=0),
            ]
    packages = ["pocketsphinx", "faster-whisper", "hibari-tts", "numpy"]
    return bench.finish("alignment", ratios, {}, versions=packages, missing=missing, json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
