"""A recogniser, as the operators see it: samples in, text out.

Backends: faster-whisper, pocketsphinx, an OpenAI-compatible server; `backends.asr.recognisers` opens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was understood."""

    text: str
    model: str
    """Which model understood it; for a server, in its words."""


class Recogniser(Protocol):
    """Writes down what is said. Raises BackendError."""

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """Text of `samples`, shape (n,), mono at 16 kHz; `language` is a code such as `en` or `zh-CN`."""
        ...
