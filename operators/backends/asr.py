"""A recogniser, as the operators see it: samples in, text out.

Backends: faster-whisper, pocketsphinx, an OpenAI-compatible server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.base import InputError
from schemas.speech import OpenAiTranscriptionConfig, PocketsphinxConfig, RecogniserConfig, WhisperConfig


@dataclass(frozen=True, slots=True)
class Heard:
    """What was understood."""

    text: str
    model: str
    """Which model understood it; for a server, in its words."""


class Recogniser(Protocol):
    """Writes down what is said. Raises BackendError."""

    def hear(self, samples: NDArray[np.float32], language: str) -> Heard:
        """Text of `samples`, shape (n,), mono at 16 kHz; `language` is a code such as `en` or `zh-CN`."""
        ...


def open_recogniser(config: RecogniserConfig) -> Recogniser:
    """The recogniser of a config. Models are loaded when they are first needed. InputError when a library is missing."""
    if isinstance(config, WhisperConfig):
        from operators.backends.asr_whisper import WhisperRecogniser

        return WhisperRecogniser(config)
    if isinstance(config, PocketsphinxConfig):
        from operators.backends.asr_pocketsphinx import PocketsphinxRecogniser

        return PocketsphinxRecogniser()
    assert isinstance(config, OpenAiTranscriptionConfig)
    from operators.backends.asr_openai import OpenAiRecogniser

    return OpenAiRecogniser(config)


def missing_library(package: str, extra: str) -> InputError:
    """What to tell somebody whose environment lacks an optional library."""
    return InputError(
        f"needs the package {package}", remedy=f"python -m pip install 'soundflow-audio[{extra}]', or {package} alone"
    )
