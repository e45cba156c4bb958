"""Which recogniser a config means."""

from __future__ import annotations

from operators.backends.asr import Recogniser
from schemas.speech import OpenAiTranscriptionConfig, PocketsphinxConfig, RecogniserConfig, WhisperConfig


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
