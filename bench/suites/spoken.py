"""Spoken instructions, rendered by an embedded speaker. Equal texts give equal samples."""

from __future__ import annotations

import functools

from soundflow.backends.tts.speakers import open_speaker
from soundflow.bench.harness.sounds import Audio
from soundflow.operators.protocols.tts import Speaker
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import HibariConfig, SpeakerConfig

KEPT = 256
"""Size of the cache of renderings: instructions repeat, questions do not."""


class BenchmarkVoice:
    """The first voice of a speaker, loaded on first use."""

    def __init__(self, config: SpeakerConfig | None = None):
        self._config = config or HibariConfig()
        self._kept = functools.lru_cache(maxsize=KEPT)(self._say)

    def say(self, text: str) -> Audio:
        """Render `text` to samples at 16 kHz."""
        return self._kept(text)

    def _say(self, text: str) -> Audio:
        speaker = self._speaker
        if not speaker.voices:
            raise InputError("no voice is installed", field="speaker", remedy="pip install 'soundflow-audio[models]'")
        return speaker.say(text, speaker.voices[0], seed=0).samples

    @functools.cached_property
    def _speaker(self) -> Speaker:
        return open_speaker(self._config)
