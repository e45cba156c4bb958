"""Open an aligner by name or language."""

from __future__ import annotations

import functools

from soundflow.operators.protocols.alignment import Aligner


@functools.cache
def open_aligner(name: str) -> Aligner:
    """Return the aligner of that name (`pocketsphinx`, `whisper`), one per process; InputError if its library is missing."""
    if name == "whisper":
        from soundflow.backends.align.whisper import WhisperAligner

        return WhisperAligner()
    from soundflow.backends.align.pocketsphinx import PocketsphinxAligner

    return PocketsphinxAligner()


def aligner_name(name: str, language: str) -> str:
    """Resolve `name` for a language: `auto` is pocketsphinx for English and Whisper for all others."""
    if name != "auto":
        return name
    return "pocketsphinx" if language.partition("-")[0] == "en" else "whisper"


def language_of(transcript: str, language: str) -> str:
    """Return the language to align in: the known one, else Chinese or English by the script of the transcript."""
    if language:
        return language
    return "zh" if any("\u4e00" <= char <= "\u9fff" for char in transcript) else "en"
