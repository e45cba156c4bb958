"""The protocol of speech recognisers: samples in, text out.

Backends: faster-whisper, pocketsphinx, an OpenAI-compatible server. `backends.asr.recognisers` opens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Transcription:
    """The output of a recogniser."""

    text: str
    model: str
    """Name of the model, as the server reports it if there is one."""


class Recogniser(Protocol):
    """Transcribes speech. Raises BackendError."""

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """Transcribe `samples`, shape (n,), mono at 16 kHz. `language`: a code such as `en` or `zh-CN`."""
        ...
