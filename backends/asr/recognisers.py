"""Open the recogniser of a config."""

from __future__ import annotations

from soundflow.operators.protocols.asr import Recogniser
from soundflow.schemas.speech import OpenAiTranscriptionConfig, PocketsphinxConfig, RecogniserConfig, WhisperConfig


def open_recogniser(config: RecogniserConfig) -> Recogniser:
    """Return the recogniser of a config; InputError if its library is missing. Models are loaded at first use."""
    if isinstance(config, WhisperConfig):
        from soundflow.backends.asr.whisper import WhisperRecogniser

        return WhisperRecogniser(config)
    if isinstance(config, PocketsphinxConfig):
        from soundflow.backends.asr.pocketsphinx import PocketsphinxRecogniser

        return PocketsphinxRecogniser()
    assert isinstance(config, OpenAiTranscriptionConfig)
    from soundflow.backends.asr.openai import OpenAiRecogniser

    return OpenAiRecogniser(config)
