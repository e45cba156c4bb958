"""The protocol of sound generators: a caption, a range of lengths and a seed in; samples with their provenance out.

Backends: procedural formulas (offline), ElevenLabs, an HTTP server of your own, such as AudioX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from soundflow.schemas.generation import Maker
from soundflow.schemas.outcome import Outcome


@dataclass(frozen=True, slots=True)
class GeneratedSound:
    """A generated sound, before TFJP."""

    samples: NDArray[np.float32]
    """Shape (n,), 16 kHz, |x| <= 1, on the 16-bit grid."""
    caption: str
    """Caption by the generator; the caption of the request if the generator gives none."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """Drawn parameters that shaped the sound besides the request."""


class Generator(Protocol):
    """Generates sounds. Safe for concurrent calls from one event loop."""

    @property
    def maker(self) -> Maker:
        """Identity of the generator: everything that shapes a sound besides the arguments of `generate`."""

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        """Generate a sound of `seconds` (minimum, maximum) length.

        Rejected: `cannot_make` (unknown kind of sound), `cannot_last` (not in this length), `refused` (by the policy of a
        service), and the reasons of ingress. Failed (stage `generation`): no result. Raises InputError if all other requests
        would fail, too: no key, no quota, unknown model.
        """
        ...
