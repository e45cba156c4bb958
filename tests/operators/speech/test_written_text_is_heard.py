"""Money, units, times and names are rewritten, spoken by the embedded voice, heard by Whisper and found equal."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.operators.speech.normalise import to_spoken_form
from soundflow.operators.speech.scoring import score
from soundflow.schemas.constants import WER_LIMIT
from soundflow.schemas.speech import WhisperConfig
from tests.support.spoken import NO_WHISPER, WHISPER_IS_HERE

SENTENCES = (
    "The ticket costs US$10 and the coffee A$5.",
    "It was 25℃ in the morning and 77℉ at noon.",
    "He paid ₹500 and got 20¢ back.",
    "The film takes 2h 15m and starts at 7:05 p.m.",
    "Please call 555-123-4567 before Friday.",
    "We bought a 4K TV and a 5G phone for $1,299.99.",
    "I write C# and C++ code at work.",
    "Add 1/2 cup of milk and 2½ cups of flour.",
    "The car drove at 100 km/h for 1h30m.",
    "King Henry VIII had 6 wives, and World War II ended in 1945.",
    "The company made $1.5bn in 2023, up 5-10%.",
    "It fell to -5°C, the ratio is 3:1.",
)


@pytest.mark.slow
@pytest.mark.skipif(not WHISPER_IS_HERE, reason=NO_WHISPER)
def test_what_is_written_is_heard_as_the_same_words() -> None:
    from hibari import SAMPLE_RATE, Hibari

    voice, recogniser = Hibari(), open_recogniser(WhisperConfig())
    wrong = {}
    for written in SENTENCES:
        spoken = to_spoken_form(written, "en")
        samples = soxr.resample(np.asarray(voice(spoken, seed=1), dtype=np.float32), SAMPLE_RATE, 16_000)
        heard = recogniser.transcribe(samples, "en").text
        found = score(spoken, heard, "en")
        if found.wer > WER_LIMIT:
            wrong[written] = (found.reference, found.hypothesis)
    assert not wrong
