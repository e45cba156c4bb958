"""The gate (paper, B.4): a rendering passes when it can be understood, is as long as it should be, ends where its text ends, and
is as high as its voice.

Reasons, stable: silent, too_short, too_long, cut_ending, other_pitch, wer. The cheap ones come first: what is cut off is not
transcribed.
Word errors alone miss endings: a recogniser completes half a word, and one word in ten may be lost below τ. It also
understands speech that is played half as fast again: its pitch tells that a server's rate is not what it was said to be.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_power
from soundflow.operators.protocols.asr import Recogniser
from soundflow.operators.speech.pace import extent, letters
from soundflow.operators.speech.pitch import median_pitch
from soundflow.operators.speech.scoring import score
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import GateConfig, Pace

GATE_VERSION: Final = "2"
END_SAMPLES: Final = 320
"""20 ms: the end whose level tells whether speech goes on there."""
UNMEASURED: Final = 2.0
"""A guessed pace may be off by so much more."""
CERTAIN_TAIL: Final = 0.1
"""Seconds; a voice that always leaves more silence than this at its end is expected to leave half of it."""


def examine(
    samples: NDArray[np.float32],
    text: str,
    language: str,
    recogniser: Recogniser,
    pace: Pace,
    *,
    speed: float = 1.0,
    config: GateConfig = GateConfig(),  # noqa: B008 (frozen)
) -> Ok[dict[str, Any]] | Rejected:
    """Whether `samples` (mono, 16 kHz) say `text`.

    Metrics either way: wer, ref, hyp, heard_by, seconds, expected_seconds, tail_seconds, end_db, pitch_hz, expected_pitch_hz.
    A rendering that was not transcribed has no wer. Raises BackendError when the recogniser breaks.
    """
    rejected, metrics = measured(samples, text, language, pace, speed=speed, config=config)
    if rejected:
        return Rejected(rejected, metrics)
    heard = recogniser.hear(samples, language)
    scored = score(text, heard.text, language)
    metrics |= {"wer": round(scored.wer, 4), "ref": scored.reference, "hyp": scored.hypothesis, "heard_by": heard.model}
    if scored.wer > config.wer_limit:
        return Rejected("wer", metrics)
    if scored.unheard_end:
        return Rejected("cut_ending", metrics | {"unheard_end": scored.unheard_end})
    return Ok(metrics)


def measured(
    samples: NDArray[np.float32], text: str, language: str, pace: Pace, *, speed: float, config: GateConfig
) -> tuple[str, dict[str, Any]]:
    """What the samples alone tell: (reason, "" when nothing is wrong; metrics)."""
    found, expected = extent(samples), pace.seconds(letters(text, language), speed)
    power = active_power(samples)
    if not power:
        return "silent", {"seconds": round(samples.size / c.SAMPLE_RATE, 3)}
    ending = 10.0 * math.log10(max(float(np.mean(np.square(samples[-END_SAMPLES:], dtype=np.float64))), 1e-12) / power)
    metrics = {
        "seconds": round(found.active, 3),
        "expected_seconds": round(expected, 3),
        "tail_seconds": round(found.tail, 3),
        "end_db": round(max(ending, -99.0), 1),
    }
    leeway = 1.0 if pace.measured else UNMEASURED
    if found.active < config.shortest * expected / leeway - config.slack_seconds:
        return "too_short", metrics
    if found.active > config.longest * expected * leeway + config.slack_seconds:
        return "too_long", metrics
    expects_tail = pace.tail_seconds > CERTAIN_TAIL
    if ending > config.ending_db or (expects_tail and found.tail < pace.tail_seconds / (2.0 * max(speed, 1.0))):
        return "cut_ending", metrics
    pitch, wanted = median_pitch(samples), pace.pitch(letters(text, language))
    if pitch is not None and wanted is not None:
        metrics |= {"pitch_hz": round(pitch, 1), "expected_pitch_hz": round(wanted, 1)}
        if abs(math.log(pitch / wanted)) > math.log(config.pitch_factor):
            return "other_pitch", metrics
    return "", metrics
