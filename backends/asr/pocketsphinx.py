"""pocketsphinx on this machine: small, English only, one word in six is wrong. Good enough to align, rarely to gate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.asr import Transcription
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, missing_library
from soundflow.schemas.pcm16 import to_pcm16


class PocketsphinxRecogniser:
    """The model of the package."""

    def __init__(self) -> None:
        self._decoder: Any = None

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        if language.partition("-")[0] != "en":
            raise InputError(
                "pocketsphinx transcribes English only", field="recogniser.backend", value=language, remedy="Use backend whisper"
            )
        if self._decoder is None:
            try:
                from pocketsphinx import Decoder
            except ImportError:
                raise missing_library("pocketsphinx", "speech") from None
            self._decoder = Decoder(samprate=c.SAMPLE_RATE, loglevel="FATAL")
        self._decoder.reinit_feat()  # otherwise cepstral means carry over from clip to clip
        self._decoder.start_utt()
        self._decoder.process_raw(decoder_input(samples), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return Transcription(hypothesis.hypstr if hypothesis else "", "pocketsphinx en-us")


def decoder_input(samples: NDArray[np.float32]) -> bytes:
    """Convert samples (n,) to the PCM16 bytes pocketsphinx reads.

    Truncated at 32,767 instead of rounded at 32,768: one step of difference moves word times by a frame or two in half of the
    clips, and existing indexes were aligned with these samples.
    """
    return to_pcm16(np.trunc(samples * 32_767.0), full_scale=1.0).tobytes()
