"""The voices of a speech configuration, and the pool that dialogues draw their voice from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from soundflow.operators.protocols.tts import Speaker
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import Voice


class VoicePool:
    """All speakers of a configuration, and the pool V of voices to draw from."""

    def __init__(self, speakers: Mapping[str, Speaker], chosen: Sequence[str] = ()):
        """Collect the voices of `speakers` (by backend). `chosen` names the pool; empty for all voices.

        Raises InputError for a chosen voice that no speaker has.
        """
        self._speakers = dict(speakers)
        self.voices = {voice.name: voice for speaker in self._speakers.values() for voice in speaker.voices}
        unknown = [name for name in chosen if name not in self.voices]
        if unknown:
            known = ", ".join(self.voices) or "none"
            raise InputError("no speaker has this voice", field="voices", value=unknown[0], remedy=f"Available voices: {known}")
        self._chosen = frozenset(chosen or self.voices)

    def names(self) -> tuple[str, ...]:
        """Return the names of the pool V, of all languages."""
        return tuple(name for name in sorted(self._chosen) if self.voices[name].variant_of is None)

    def voices_for(self, language: str) -> list[Voice]:
        """Return the voices of the pool for a language, by name, without variants of other voices.

        If the language names a region that has voices, only those; else voices of any region.
        """
        base = language.partition("-")[0]
        voices = [self.voices[name] for name in self.names()]
        regional = [voice for voice in voices if voice.language == language and language != base]
        return regional or [voice for voice in voices if voice.language.partition("-")[0] == base]

    def variants(self, voice: Voice) -> list[Voice]:
        """Return `voice` and its variants, by name."""
        others = (other for name, other in sorted(self.voices.items()) if other.variant_of == voice.name)
        return [voice, *others]

    def speaker(self, voice: Voice) -> Speaker:
        """Return the speaker that renders `voice`."""
        return self._speakers[voice.backend]
