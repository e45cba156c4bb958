"""Which aligner a name means, or a language."""

from __future__ import annotations

import functools

from soundflow.operators.protocols.alignment import Aligner


@functools.cache
def open_aligner(name: str) -> Aligner:
    """The aligner of that name (`pocketsphinx`, `whisper`), one per process. InputError when a library it needs is missing."""
    if name == "whisper":
        from soundflow.backends.align.whisper import WhisperAligner

        return WhisperAligner()
    from soundflow.backends.align.pocketsphinx import PocketsphinxAligner

    return PocketsphinxAligner()


def aligner_name(name: str, language: str) -> str:
    """Which aligner `name` means for a language: `auto` is pocketsphinx for English and Whisper for every other one."""
    if name != "auto":
        return name
    return "pocketsphinx" if language.partition("-")[0] == "en" else "whisper"


def language_of(transcript: str, language: str) -> str:
    """The language to align in: the one that is known, else Chinese or English by the script."""
    if language:
        return language
    return "zh" if any("\u4e00" <= char <= "\u9fff" for char in transcript) else "en"
