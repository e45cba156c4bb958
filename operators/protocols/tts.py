"""A speaker, as the operators see it: text and a voice in, 16 kHz samples out, with what made them.

Backends: hibari (embedded), Kokoro-82M, CosyVoice (server or in this process), an OpenAI-compatible server;
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
"""What another rendering of the same text can differ in; `draw`: the backend draws anew by itself, nobody can say how."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Speech."""

    samples: NDArray[np.float32]
    """Shape (n,), mono at 16 kHz, |x| <= 1."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """Backend, model, sample rate before resampling: what provenance wants to know."""


class Speaker(Protocol):
    """Renders text in one of its voices. Raises BackendError."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """Who can be heard here and now."""
        ...

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What changes a rendering."""
        ...

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """`text` spoken by `voice`; seed and speed are used where they are among `knobs`."""
        ...


def resample_to_16k(samples: NDArray[Any], rate: int) -> NDArray[np.float32]:
    """Mono float samples at `rate` Hz, resampled once to 16 kHz and limited to 1. BackendError when they are not finite."""
    samples = np.asarray(samples, dtype=np.float32).reshape(-1)
    if not np.all(np.isfinite(samples)):
        raise BackendError("the speaker sent NaN or infinity")
    if rate != c.SAMPLE_RATE and samples.size:
        samples = soxr.resample(samples, rate, c.SAMPLE_RATE, quality="HQ")
    return np.asarray(samples / max(1.0, float(np.abs(samples).max(initial=0.0))), dtype=np.float32)
