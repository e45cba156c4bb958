"""Train, validation and test splits by source recording: each clip is in one split, a stream uses clips of its own split only.

The split of a clip is derived from its content, that of a stream from its identity. Noise and background clips are split too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from soundflow.operators.compose.clips import ClipBrief, ClipPool, SelectedPool
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


def split_pools(recipe: Recipe, pool: ClipPool) -> dict[str, ClipPool]:
    """Return a pool for each split of a recipe; without splits the whole pool under the name ''."""
    if not recipe.splits:
        return {"": pool}
    kept: dict[str, set[str]] = {name: set() for name, share in recipe.splits.items() if share > 0}
    for brief in pool.briefs():
        kept[split_of_clip(brief, recipe.splits, recipe.seed)].add(brief.id)
    return {name: SelectedPool(pool, frozenset(ids)) for name, ids in kept.items()}
