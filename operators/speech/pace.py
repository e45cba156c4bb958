"""How long a text takes a voice and how high it is: measured once per voice on sentences the recogniser confirms.

Over 100 sentences the length of an embedded voice stays within 76 to 128 % of a line through (letters, seconds).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_hops
from soundflow.operators.protocols.asr import Recogniser
from soundflow.operators.protocols.tts import Speaker
from soundflow.operators.speech.normalise import base_language
from soundflow.operators.speech.pitch import median_pitch
from soundflow.operators.speech.scoring import score
from soundflow.schemas import constants as c
from soundflow.schemas.speech import Pace, Voice

PACE_VERSION: Final = "2"
ENOUGH: Final = 4
"""Understood renderings a measurement needs; with fewer the pace is a guess."""
ODD: Final = 1.35
"""Times higher or lower than the median of all: such a rendering has no say in how high a voice is."""
SENTENCES: Final = {
    "en": (
        "Please come in.",
        "Could you tell me where the nearest station is?",
        "The children are playing in the garden behind the house.",
        "I would like a cup of tea with milk, but no sugar.",
        "When the rain had stopped, we walked along the river and back through the old town.",
        "Nobody was at home.",
        "The book on the table belongs to my sister, and the one on the shelf belongs to me.",
        "It is getting late, so let us talk about it again tomorrow morning.",
    ),
    "zh": (
        "请进来坐。",
        "请问最近的地铁站在哪里？",
        "孩子们正在房子后面的花园里玩。",
        "我想要一杯热茶，不要加糖。",
        "雨停了以后，我们沿着河边走，然后穿过老城回家。",
        "今天家里没有人。",
        "桌子上的书是我姐姐的，书架上的那本是我的。",
        "时间不早了，我们明天早上再谈这件事吧。",
    ),
}
_GUESSES: Final = {"en": 0.068, "zh": 0.22}
"""Seconds per letter where nothing could be measured."""


def letters(text: str, language: str) -> int:
    """What a text's length goes by: its letters; in Mandarin its characters, three Latin letters counting as one."""
    latin = len(re.findall(r"[^\W\d_]", text))
    if base_language(language) != "zh":
        return latin
    characters = len(re.findall(r"[㐀-鿿豈-﫿]", text))
    return characters + (latin - characters) // 3


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the sound of a clip lies. Seconds."""

    active: float
    """From the first active moment to the last."""
    tail: float
    """After it."""


def extent(samples: NDArray[np.float32]) -> Extent:
    """Of samples at 16 kHz; nothing active is an active span of 0."""
    active = np.flatnonzero(active_hops(samples))
    if not active.size:
        return Extent(0.0, samples.size / c.SAMPLE_RATE)
    end = min(int(active[-1] + 1) * c.STFT_HOP, samples.size)
    return Extent((end - int(active[0]) * c.STFT_HOP) / c.SAMPLE_RATE, (samples.size - end) / c.SAMPLE_RATE)


def guess(voice: Voice) -> Pace:
    """The pace of somebody nobody measured."""
    rate = _GUESSES.get(base_language(voice.language), _GUESSES["en"])
    return Pace(
        voice=voice.name, language=voice.language, base_seconds=0.0, seconds_per_letter=rate, tail_seconds=0.0, measured=0
    )


def measure(voice: Voice, speaker: Speaker, recogniser: Recogniser, wer_limit: float = c.WER_LIMIT) -> Pace:
    """Let `voice` say the SENTENCES of its language; only what was understood counts. Raises BackendError."""
    sizes, lengths, tails, pitches = [], [], [], []
    for number, sentence in enumerate(SENTENCES.get(base_language(voice.language), ())):
        samples = speaker.say(sentence, voice, seed=number).samples
        if score(sentence, recogniser.hear(samples, voice.language).text, voice.language).wer <= wer_limit:
            found = extent(samples)
            sizes.append(letters(sentence, voice.language))
            lengths.append(found.active)
            tails.append(found.tail)
            pitches.append(median_pitch(samples))
    if len(sizes) < ENOUGH:
        return guess(voice)
    slope, base = np.polyfit(sizes, lengths, 1)
    if slope <= 0:  # every sentence takes as long as any other: nothing a length could be judged by
        return guess(voice)
    return Pace(
        voice=voice.name,
        language=voice.language,
        base_seconds=round(float(base), 4),
        seconds_per_letter=round(float(slope), 5),
        tail_seconds=round(min(tails), 4),
        measured=len(sizes),
        **_pitch_line(sizes, pitches),
    )


def _pitch_line(sizes: Sequence[int], pitches: Sequence[float | None]) -> dict[str, Any]:
    """The line through (log letters, log pitch), by its two ends; without what lies far off the median (a wrong rate, say)."""
    found = [(size, pitch) for size, pitch in zip(sizes, pitches, strict=True) if pitch]
    middle = float(np.median([pitch for _, pitch in found])) if found else 0.0
    found = [(size, pitch) for size, pitch in found if middle / ODD < pitch < middle * ODD]
    low, high = min((size for size, _ in found), default=0), max((size for size, _ in found), default=0)
    if len(found) < ENOUGH or low == high:
        return {}
    slope, base = np.polyfit(np.log([size for size, _ in found]), np.log([pitch for _, pitch in found]), 1)
    ends = tuple(round(float(np.exp(base + slope * np.log(size))), 1) for size in (low, high))
    return {"pitch_hz": ends, "letters": (low, high)}
