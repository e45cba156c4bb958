"""What planner and composer may ask of a clip index. `pipeline.clip_index.ClipIndex` is the one on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.clip import Clip, ClipRole


class ClipBrief(NamedTuple):
    """The few columns a planner chooses by; cheap enough to hold for every clip."""

    id: str
    role: ClipRole
    kind: str
    """`speech` or `sound`."""
    label: str
    caption: str
    source: str
    split: str
    samples: int
    has_reply: bool = False


class ClipPool(Protocol):
    """Clips by id, in a fixed order, with their cleaned audio."""

    def briefs(self) -> Sequence[ClipBrief]:
        """All clips, sorted by id."""
        ...

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Ids of one role, sorted."""
        ...

    def get(self, clip_id: str) -> Clip:
        """The whole row; KeyError when there is none."""
        ...

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Cleaned samples in [-1, 1], shape (clip.samples,), 16 kHz, read-only. Raises OSError when it cannot be had intact."""
        ...
