"""A text-to-audio server of your own, such as AudioX in a process with its own dependencies. The whole protocol:

    POST <base_url>                                       e.g. http://127.0.0.1:9000/v1/sound
    Content-Type: application/json
    Authorization: Bearer <key>                           only if generation.server.api_key_env is set
    {"model": "audiox", "caption": "a dog barks twice", "seconds": 3.2, "seed": 17, "sample_rate": 16000}

    200  Content-Type: audio/wav (or flac, ogg, mp3)      the sound, at any rate and with any number of channels
    400, 422                                              this caption is not made: the event is rejected as `refused`
    408, 409, 425, 429, 5xx  [Retry-After: seconds]       the request is repeated after a pause
    401, 402, 403, 404, 405, 3xx                          the build stops with an error

The body of an error is text or JSON for people. Equal requests should give equal sounds; answers are stored, and no request is
sent twice.
"""

from __future__ import annotations

from typing import Any, Final

from soundflow.backends.calls.service import Service
from soundflow.schemas import constants as c
from soundflow.schemas.generation import GenerationConfig, Maker

SECONDS: Final = (0.1, 60.0)


class HttpSounds:
    """`SoundService` for the protocol above."""

    seconds = SECONDS
    path = ""

    def __init__(self, config: GenerationConfig):
        assert config.server.base_url is not None
        self.maker = Maker(backend="http", model=config.model, licence=config.licence)
        self.service = Service(
            "the sound service http", config.server.base_url, "generation.server", config.server.api_key_env or ""
        )

    def content(self, caption: str, seconds: float, seed: int) -> dict[str, Any]:
        """See `SoundService`."""
        request = {"model": self.maker.model, "caption": caption, "seconds": seconds, "seed": seed, "sample_rate": c.SAMPLE_RATE}
        return {"json": request}
