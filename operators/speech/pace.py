"""The pace and pitch of a voice, measured once on sentences that the recogniser understands.

Over 100 sentences, the duration of an embedded voice stays within 76 to 128 % of a line through (letters, seconds).
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
"""Minimum number of understood renderings. With fewer, the pace is guessed."""
OUTLIER: Final = 1.35
"""A rendering whose pitch differs from the median by more than this factor is ignored."""
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
"""Seconds per letter of a voice that could not be measured."""


def count_letters(text: str, language: str) -> int:
    """Return the number of letters of a text; in Mandarin of characters, where three Latin letters count as one."""
    latin = len(re.findall(r"[^\W\d_]", text))
    if base_language(language) != "zh":
        return latin
    characters = len(re.findall(r"[㐀-鿿豈-﫿]", text))
    return characters + (latin - characters) // 3


@dataclass(frozen=True, slots=True)
class Extent:
    """The active span of a rendering, in seconds."""

    active: float
    """From the first active moment to the last one."""
    tail: float
    """From the last active moment to the end."""


def measure_extent(samples: NDArray[np.float32]) -> Extent:
    """Return the active span of samples at 16 kHz; an active span of 0 when nothing is active."""
    active = np.flatnonzero(active_hops(samples))
    if not active.size:
        return Extent(0.0, samples.size / c.SAMPLE_RATE)
    end = min(int(active[-1] + 1) * c.STFT_HOP, samples.size)
    return Extent((end - int(active[0]) * c.STFT_HOP) / c.SAMPLE_RATE, (samples.size - end) / c.SAMPLE_RATE)


def guess_pace(voice: Voice) -> Pace:
    """Return the typical pace of a voice's language."""
    rate = _GUESSES.get(base_language(voice.language), _GUESSES["en"])
    return Pace(
        voice=voice.name, language=voice.language, base_seconds=0.0, seconds_per_letter=rate, tail_seconds=0.0, measured=0
    )


def measure_pace(voice: Voice, speaker: Speaker, recogniser: Recogniser, wer_limit: float = c.WER_LIMIT) -> Pace:
    """Measure a voice on the SENTENCES of its language that are understood. Raises BackendError when a backend fails."""
    sizes, durations, tails, pitches = [], [], [], []
    for number, sentence in enumerate(SENTENCES.get(base_language(voice.language), ())):
        samples = speaker.say(sentence, voice, seed=number).samples
        if score(sentence, recogniser.transcribe(samples, voice.language).text, voice.language).wer <= wer_limit:
            extent = measure_extent(samples)
            sizes.append(count_letters(sentence, voice.language))
            durations.append(extent.active)
            tails.append(extent.tail)
            pitches.append(median_pitch(samples))
    if len(sizes) < ENOUGH:
        return guess_pace(voice)
    slope, base = np.polyfit(sizes, durations, 1)
    if slope <= 0:  # the duration does not depend on the text, so it cannot be checked
        return guess_pace(voice)
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
    """Return the two ends of the line through (log letters, log pitch), fitted without outliers such as a wrong sample rate."""
    found = [(size, pitch) for size, pitch in zip(sizes, pitches, strict=True) if pitch]
    median = float(np.median([pitch for _, pitch in found])) if found else 0.0
    found = [(size, pitch) for size, pitch in found if median / OUTLIER < pitch < median * OUTLIER]
    low, high = min((size for size, _ in found), default=0), max((size for size, _ in found), default=0)
    if len(found) < ENOUGH or low == high:
        return {}
    slope, base = np.polyfit(np.log([size for size, _ in found]), np.log([pitch for _, pitch in found]), 1)
    ends = tuple(round(float(np.exp(base + slope * np.log(size))), 1) for size in (low, high))
    return {"pitch_hz": ends, "letters": (low, high)}
