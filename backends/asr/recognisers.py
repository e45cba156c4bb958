"""Which recogniser a config means."""

from __future__ import annotations

from soundflow.operators.protocols.asr import Recogniser
from soundflow.schemas.speech import OpenAiTranscriptionConfig, PocketsphinxConfig, RecogniserConfig, WhisperConfig


def open_recogniser(config: RecogniserConfig) -> Recogniser:
    """The recogniser of a config. Models are loaded when they are first needed. InputError when a library is missing."""
    if isinstance(config, WhisperConfig):
        from soundflow.backends.asr.whisper import WhisperRecogniser

        return WhisperRecogniser(config)
    if isinstance(config, PocketsphinxConfig):
        from soundflow.backends.asr.pocketsphinx import PocketsphinxRecogniser

        return PocketsphinxRecogniser()
    assert isinstance(config, OpenAiTranscriptionConfig)
    from soundflow.backends.asr.openai import OpenAiRecogniser

    return OpenAiRecogniser(config)
