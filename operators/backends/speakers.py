"""Which speakers a config means, and the pool of their voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self

from operators.backends.tts import Speaker
from schemas.base import InputError
from schemas.speech import CosyVoiceConfig, HibariConfig, KokoroConfig, OpenAiSpeechConfig, SpeakerConfig, Voice

MORE_VOICES: Final = (
    "More voices are named in --config, see examples/speech.yaml: Kokoro's (English, Mandarin;"
    " soundflow assets fetch kokoro-82m kokoro-voices) and those of speech servers"
)


def open_speaker(config: SpeakerConfig) -> Speaker:
    """The speaker of a config. Models are loaded when they are first needed. InputError when something is missing."""
    if isinstance(config, HibariConfig):
        from operators.backends.tts_hibari import HibariSpeaker

        return HibariSpeaker()
    if isinstance(config, KokoroConfig):
        from operators.backends.tts_kokoro import KokoroSpeaker

        return KokoroSpeaker(config)
    if isinstance(config, OpenAiSpeechConfig):
        from operators.backends.tts_openai import OpenAiSpeaker

        return OpenAiSpeaker(config)
    assert isinstance(config, CosyVoiceConfig)
    from operators.backends.tts_cosyvoice import CosyVoiceModel, CosyVoiceServer

    return CosyVoiceServer(config) if config.base_url else CosyVoiceModel(config)


class Studio:
    """Every speaker of a config, and the pool V of voices to draw from."""

    def __init__(self, speakers: Mapping[str, Speaker], chosen: Sequence[str] = ()):
        """`speakers` by backend; `chosen` names the pool, empty is every voice. InputError when one of them is not here."""
        self._speakers = dict(speakers)
        self.voices = {voice.name: voice for speaker in self._speakers.values() for voice in speaker.voices}
        unknown = [name for name in chosen if name not in self.voices]
        if unknown:
            known = ", ".join(self.voices) or "none"
            raise InputError("no such voice here", field="voices", value=unknown[0], remedy=f"There are: {known}")
        self._chosen = frozenset(chosen or self.voices)

    @classmethod
    def open(cls, configs: Sequence[SpeakerConfig], chosen: Sequence[str] = ()) -> Self:
        """With every speaker in this process."""
        return cls({config.backend: open_speaker(config) for config in configs}, chosen)

    def names(self) -> tuple[str, ...]:
        """The pool V, of all languages."""
        return tuple(name for name in sorted(self._chosen) if self.voices[name].variant_of is None)

    def pool(self, language: str) -> list[Voice]:
        """Voices to draw from for `language`, by name: those of its region, where it names one and there are such, else of any
        region; variants of others are not among them."""
        base = language.partition("-")[0]
        voices = [self.voices[name] for name in sorted(self._chosen) if self.voices[name].variant_of is None]
        own = [voice for voice in voices if voice.language == language and language != base]
        return own or [voice for voice in voices if voice.language.partition("-")[0] == base]

    def variants(self, voice: Voice) -> list[Voice]:
        """`voice` and then its variants, by name."""
        others = (other for name, other in sorted(self.voices.items()) if other.variant_of == voice.name)
        return [voice, *others]

    def speaker(self, voice: Voice) -> Speaker:
        """Who renders `voice`."""
        return self._speakers[voice.backend]
