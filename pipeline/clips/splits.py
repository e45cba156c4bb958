"""Train, validation and test splits by source recording: each clip is in one split, a stream uses clips of its own split only.

The split of a clip is derived from its content, that of a stream from its identity. Noise and background clips are split too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.compose.clips import ClipBrief, ClipPool
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.recipe import Recipe, SplitName


def split_of_clip(clip: ClipBrief, shares: Mapping[SplitName, float], seed: int) -> str:
    """Return the split of a clip, derived from its dialogue if it has one, else from the content of its source file."""
    name = f"{seed}/{clip.dialogue or clip.content_sha256 or clip.id}"
    return _picked(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64, shares)


def split_of_stream(fingerprint: str, shard: int, index: int, shares: Mapping[SplitName, float]) -> str:
    """Return the split of a stream."""
    return _picked(float(rng_for(fingerprint, shard, index, "split").random()), shares)


def _picked(at: float, shares: Mapping[SplitName, float]) -> str:
    """Return the split whose part of [0, 1) contains `at`."""
    ordered = sorted(shares.items())
    total, passed = sum(shares.values()), 0.0
    for name, share in ordered:
        passed += share / total
        if at < passed:
            return name
    return ordered[-1][0]


class SplitPool:
    """A ClipPool of one split. `get` and `audio` also accept clips of other splits."""

    def __init__(self, base: ClipPool, kept: frozenset[str]):
        self.base, self.kept = base, kept
        self._roles: dict[ClipRole, list[str]] = {}

    def briefs(self) -> Sequence[ClipBrief]:
        """See `operators.compose.clips.ClipPool`."""
        return [brief for brief in self.base.briefs() if brief.id in self.kept]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """See `operators.compose.clips.ClipPool`."""
        if role not in self._roles:
            self._roles[role] = [clip_id for clip_id in self.base.ids(role) if clip_id in self.kept]
        return self._roles[role]

    def get(self, clip_id: str) -> Clip:
        """See `operators.compose.clips.ClipPool`."""
        return self.base.get(clip_id)

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """See `operators.compose.clips.ClipPool`."""
        return self.base.audio(clip)


def split_pools(recipe: Recipe, pool: ClipPool) -> dict[str, ClipPool]:
    """Return a pool for each split of a recipe; without splits the whole pool under the name ''."""
    if not recipe.splits:
        return {"": pool}
    kept: dict[str, set[str]] = {name: set() for name, share in recipe.splits.items() if share > 0}
    for brief in pool.briefs():
        kept[split_of_clip(brief, recipe.splits, recipe.seed)].add(brief.id)
    return {name: SplitPool(pool, frozenset(ids)) for name, ids in kept.items()}
