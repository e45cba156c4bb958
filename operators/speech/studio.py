"""The pool of voices: every speaker of a config, and who may be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from soundflow.operators.protocols.tts import Speaker
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import Voice


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
