"""The gate (paper, B.4): reject a rendering that is unintelligible, of the wrong length or pitch, or cut off.

Rejection reasons: silent, too_short, too_long, cut_ending, other_pitch, wer. Cheap checks come first; what they reject is not
transcribed. The word error rate alone misses two faults. Recognisers complete half a word, and one word in ten may be missing
below the limit, so the ending is checked. They also understand speech at 1.5 times its rate, so length and pitch are checked.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_power
from soundflow.operators.protocols.asr import Recogniser
from soundflow.operators.speech.pace import count_letters, measure_extent
from soundflow.operators.speech.pitch import median_pitch
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.scoring import score
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import GateConfig, Pace

GATE_VERSION: Final = "3"
END_SAMPLES: Final = 320
"""Samples at the end (20 ms) whose level shows whether speech continues there."""
GUESS_FACTOR: Final = 2.0
"""Factor by which the limits of length are wider for a guessed pace."""
CERTAIN_TAIL: Final = 0.1
"""Seconds of silence. A voice that always leaves more than this at its end must leave at least half of it."""


def check_rendering(
    samples: NDArray[np.float32],
    text: str,
    language: str,
    recogniser: Recogniser,
    pace: Pace,
    *,
    speed: float = 1.0,
    config: GateConfig = GateConfig(),  # noqa: B008 (frozen)
    pronunciations: Pronunciations = Pronunciations(),  # noqa: B008 (never changed)
) -> Ok[dict[str, Any]] | Rejected:
    """Check that `samples` (mono, 16 kHz) are a rendering of `text`, respelled by `pronunciations`.

    The transcript may have a word of the pronunciation list in either spelling. Both outcomes have the metrics wer, ref, hyp,
    transcript, heard_by, seconds, expected_seconds, tail_seconds, end_db, pitch_hz and expected_pitch_hz, as far as they were
    computed. Raises BackendError when the recogniser fails.
    """
    spoken = pronunciations.respell(text, language)
    reason, metrics = check_samples(samples, spoken, language, pace, speed=speed, config=config)
    if reason:
        return Rejected(reason, metrics)
    transcript = recogniser.transcribe(samples, language)
    errors = score(text, transcript.text, language, lambda tokens: pronunciations.unify(tokens, language))
    # `heard_by` is stored in dialogue indexes and printed by --json: the model of the recogniser.
    metrics |= {"wer": round(errors.wer, 4), "ref": errors.reference, "hyp": errors.hypothesis}
    metrics |= {"transcript": transcript.text, "heard_by": transcript.model}
    if errors.wer > config.wer_limit:
        return Rejected("wer", metrics)
    if errors.missing_end:
        return Rejected("cut_ending", metrics | {"unheard_end": errors.missing_end})
    return Ok(metrics)


def check_samples(
    samples: NDArray[np.float32], text: str, language: str, pace: Pace, *, speed: float, config: GateConfig
) -> tuple[str, dict[str, Any]]:
    """Run the checks that need no transcript. Returns (rejection reason, empty when all pass; metrics)."""
    extent, expected = measure_extent(samples), pace.seconds(count_letters(text, language), speed)
    power = active_power(samples)
    if not power:
        return "silent", {"seconds": round(samples.size / c.SAMPLE_RATE, 3)}
    ending = 10.0 * math.log10(max(float(np.mean(np.square(samples[-END_SAMPLES:], dtype=np.float64))), 1e-12) / power)
    metrics = {
        "seconds": round(extent.active, 3),
        "expected_seconds": round(expected, 3),
        "tail_seconds": round(extent.tail, 3),
        "end_db": round(max(ending, -99.0), 1),
    }
    factor = 1.0 if pace.measured else GUESS_FACTOR
    if extent.active < config.shortest * expected / factor - config.slack_seconds:
        return "too_short", metrics
    if extent.active > config.longest * expected * factor + config.slack_seconds:
        return "too_long", metrics
    expects_tail = pace.tail_seconds > CERTAIN_TAIL
    if ending > config.ending_db or (expects_tail and extent.tail < pace.tail_seconds / (2.0 * max(speed, 1.0))):
        return "cut_ending", metrics
    pitch, expected_pitch = median_pitch(samples), pace.pitch(count_letters(text, language))
    if pitch is not None and expected_pitch is not None:
        metrics |= {"pitch_hz": round(pitch, 1), "expected_pitch_hz": round(expected_pitch, 1)}
        if abs(math.log(pitch / expected_pitch)) > math.log(config.pitch_factor):
            return "other_pitch", metrics
    return "", metrics
