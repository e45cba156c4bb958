"""Text to sound, as the operators see it: a caption, a range of lengths and a seed in; samples that say how they were made out.

Implementations: `procedural_generator` (offline formulas), `elevenlabs`, `http_audio` (a server of your own, such as AudioX).
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
    """A sound that was made, before TFJP."""

    samples: NDArray[np.float32]
    """Shape (n,), 16 kHz, |x| <= 1, on the 16-bit grid."""
    caption: str
    """What it is, in its maker's words; a model that cannot say gives the words it was asked with."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """What shaped it beyond the request: parameters that were drawn."""


class Generator(Protocol):
    """Makes sounds. Safe to call many times at once from one event loop."""

    @property
    def maker(self) -> Maker:
        """Who it is, with all that shapes a sound besides what `generate` is asked."""

    async def generate(self, caption: str, seconds: tuple[float, float], seed: int) -> Outcome[GeneratedSound]:
        """A sound of `seconds` (shortest, longest) length.

        Rejected: `cannot_make` (not what this maker makes), `cannot_last` (not in that length), `refused` (by a service's
        policy), and the reasons of ingress. Failed (stage `generation`) when nothing could be had. Raises InputError when no
        other request will fare better: no key, no quota, unknown model.
        """
        ...
