"""hibari: English voices of 8 MB each, 40 to 60 times faster than real time. The package contains the first one."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundflow.operators.protocols.tts import Knob, Rendering, resample_to_16k
from soundflow.schemas.base import InputError, missing_library
from soundflow.schemas.speech import Voice


class HibariSpeaker:
    """The voices on this machine; voices of hibari that would have to be downloaded are not offered."""

    knobs: tuple[Knob, ...] = ("seed", "speed")

    def __init__(self) -> None:
        try:
            from hibari.voices import VOICES, voice_path
        except ImportError:
            raise missing_library("hibari-tts[fast]", "models") from None
        self._models: dict[str, Any] = {}
        self.voices = tuple(
            Voice(
                name=f"hibari:{name}",
                language=about["language"],
                gender=about["gender"],
                licence="Apache-2.0",
                attribution=f"hibari-tts, voice {name}",
            )
            for name, about in VOICES.items()
            if _is_installed(voice_path, name)
        )

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        from hibari import SAMPLE_RATE, Hibari

        if voice not in self.voices:
            raise InputError(
                "this voice is not installed",
                value=voice.name,
                remedy=f"Available voices: {', '.join(v.name for v in self.voices)}",
            )
        model = self._models.get(voice.id)
        if model is None:
            model = self._models[voice.id] = Hibari(voice=voice.id)
        audio = np.asarray(model(text, speed=speed, seed=seed), dtype=np.float32)
        return Rendering(
            resample_to_16k(audio, SAMPLE_RATE), {"backend": "hibari", "rate": SAMPLE_RATE, "seed": seed, "speed": speed}
        )


def _is_installed(voice_path: Any, name: str) -> bool:
    try:
        voice_path(name, download_missing=False)
    except FileNotFoundError:
        return False
    return True
