"""The protocol of speech synthesizers: text and a voice in, 16 kHz samples with their provenance out.

Backends: hibari (embedded), Kokoro-82M, CosyVoice (server or in this process), an OpenAI-compatible server.
`backends.tts.speakers` opens them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from soundflow.operators.protocols.faults import BackendError
from soundflow.schemas import constants as c
from soundflow.schemas.speech import Voice

Knob = Literal["seed", "speed", "draw"]
"""Parameter that changes a rendering of a text. `draw`: the backend samples at random and cannot be seeded."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Synthesized speech."""

    samples: NDArray[np.float32]
    """Shape (n,), mono at 16 kHz, |x| <= 1."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """Provenance: backend, model, sample rate before resampling."""


class Speaker(Protocol):
    """Synthesizes text in one of its voices. Raises BackendError."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """Voices that are available on this machine."""
        ...

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """Parameters that change a rendering."""
        ...

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """Synthesize `text` in `voice`. `seed` and `speed` are ignored unless they are among `knobs`."""
        ...


def resample_to_16k(samples: NDArray[Any], rate: int) -> NDArray[np.float32]:
    """Resample mono float samples from `rate` Hz to 16 kHz and scale them to a peak of at most 1.

    Raises BackendError for NaN and infinity.
    """
    samples = np.asarray(samples, dtype=np.float32).reshape(-1)
    if not np.all(np.isfinite(samples)):
        raise BackendError("the speech contains NaN or infinity")
    if rate != c.SAMPLE_RATE and samples.size:
        samples = soxr.resample(samples, rate, c.SAMPLE_RATE, quality="HQ")
    return np.asarray(samples / max(1.0, float(np.abs(samples).max(initial=0.0))), dtype=np.float32)
