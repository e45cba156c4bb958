"""How much of a clip is speech, by silero-vad as faster-whisper carries it: some 400 times real time on one core.

Measured on the demo's clips: every one of 48 spoken ones has 0.40 or more; of 75 sounds only voices (laughter, a party, a cough)
pass 0.3, a door reaches 0.18, a printer 0.06, all else 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.schemas.base import InputError

SPEECH_GATE_VERSION: Final = "1"
INSTALL: Final = "pip install 'soundflow-audio[speech]'"


class SpeechGate:
    """`operators.curate.clip_evidence.HearSpeech`. Cheap to make; the model is loaded once per process, when it is first
    asked."""

    def __init__(self) -> None:
        """InputError when the package is not installed."""
        try:
            from faster_whisper.vad import VadOptions, get_speech_timestamps
        except ImportError:
            raise InputError("listening for speech needs faster-whisper", field="verifier", remedy=INSTALL) from None
        self._find = get_speech_timestamps
        self._options = VadOptions(min_speech_duration_ms=100, min_silence_duration_ms=100, speech_pad_ms=0)

    def __call__(self, samples: NDArray[np.float32]) -> float:
        """Share of (n,) samples that is speech, 0 to 1."""
        spans = self._find(samples, self._options)
        return float(sum(span["end"] - span["start"] for span in spans) / samples.size)
