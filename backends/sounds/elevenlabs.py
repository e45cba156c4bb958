"""ElevenLabs' sound effects (`POST /v1/sound-generation`), 0.5 to 30 s.

The service takes no seed, so two requests for one caption differ; every answer is stored under our seed
(`backends.sounds.service`). 16 kHz WAV is the format of our clips, and every plan of ElevenLabs includes it.
"""

from __future__ import annotations

from typing import Any, Final

from soundflow.backends.calls.service import Service
from soundflow.schemas.generation import ELEVENLABS_MODEL, GenerationConfig, Maker

SECONDS: Final = (0.5, 30.0)
FORMAT: Final = "wav_16000"
URL: Final = "https://api.elevenlabs.io"
KEY_VARIABLE: Final = "ELEVENLABS_API_KEY"


class ElevenLabsSounds:
    """`SoundService` for ElevenLabs."""

    seconds = SECONDS
    path = "/v1/sound-generation"

    def __init__(self, config: GenerationConfig):
        parameters = {} if config.prompt_influence is None else {"prompt_influence": config.prompt_influence}
        self.maker = Maker(
            backend="elevenlabs", model=config.model or ELEVENLABS_MODEL, parameters={**parameters}, licence=config.licence
        )
        self.service = Service(
            "the sound service elevenlabs",
            config.server.base_url or URL,
            "generation.server",
            config.server.api_key_env or KEY_VARIABLE,
            key_header="xi-api-key",
            needs_key=True,
        )

    def content(self, caption: str, seconds: float, seed: int) -> dict[str, Any]:
        """See `SoundService`. The seed is not sent."""
        request = {"text": caption, "duration_seconds": seconds, "model_id": self.maker.model, **self.maker.parameters}
        return {"json": request, "params": {"output_format": FORMAT}}
