"""Open the speakers of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from soundflow.operators.protocols.tts import Speaker
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas.speech import CosyVoiceConfig, HibariConfig, KokoroConfig, OpenAiSpeechConfig, SpeakerConfig

MORE_VOICES: Final = (
    "Configure more voices with --config (see examples/speech.yaml): Kokoro (English, Mandarin; run"
    " soundflow assets fetch kokoro-82m kokoro-voices) and speech servers"
)


def open_speaker(config: SpeakerConfig) -> Speaker:
    """Return the speaker of a config; InputError if a package or model is missing. Models are loaded at first use."""
    if isinstance(config, HibariConfig):
        from soundflow.backends.tts.hibari import HibariSpeaker

        return HibariSpeaker()
    if isinstance(config, KokoroConfig):
        from soundflow.backends.tts.kokoro import KokoroSpeaker

        return KokoroSpeaker(config)
    if isinstance(config, OpenAiSpeechConfig):
        from soundflow.backends.tts.openai import OpenAiSpeaker

        return OpenAiSpeaker(config)
    assert isinstance(config, CosyVoiceConfig)
    from soundflow.backends.tts.cosyvoice import CosyVoiceModel, CosyVoiceServer

    return CosyVoiceServer(config) if config.base_url else CosyVoiceModel(config)


def open_voice_pool(configs: Sequence[SpeakerConfig], chosen: Sequence[str] = ()) -> VoicePool:
    """Open every speaker in this process. `chosen` names the pool of voices; empty for all voices."""
    return VoicePool({config.backend: open_speaker(config) for config in configs}, chosen)
