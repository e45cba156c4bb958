"""The limit on the uses of a clip (`max_clip_uses` of a recipe), without any state that workers would have to share."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

from soundflow.operators.compose.clips import ClipBrief
from soundflow.schemas.recipe import Recipe

_GOLDEN: Final = 0.6180339887498949


class ClipQuota:
    """The clips that each stream of a corpus may contain, so that no clip is in more than `max_clip_uses` streams.

    The streams are put into a fixed order that spreads neighbours over the corpus. A hash of its id gives each clip a position in
    this order, and it may occur in the `max_clip_uses` streams from there on. What a stream may contain is a function of recipe
    and clips, so that resumed and distributed builds keep the limit. The turns of a dialogue share a position.
    """

    def __init__(self, briefs: Iterable[ClipBrief], recipe: Recipe) -> None:
        assert recipe.max_clip_uses is not None
        self._streams, self._limit = recipe.streams, min(recipe.max_clip_uses, recipe.streams)
        self._stride = next(n for n in range(max(1, int(_GOLDEN * self._streams)), 2**63) if math.gcd(n, self._streams) == 1)
        placed = sorted((_position(brief, recipe.seed, self._streams), brief.id, brief) for brief in briefs)
        self._positions = [position for position, _, _ in placed]
        self._briefs = [brief for *_, brief in placed]

    def briefs(self, number: int) -> list[ClipBrief]:
        """Return the clips that stream `number` of the corpus may contain, sorted by id."""
        last = number * self._stride % self._streams
        first = last - self._limit + 1
        found = self._between(max(first, 0), last)
        if first < 0:
            found += self._between(first + self._streams, self._streams - 1)
        return sorted(found, key=lambda brief: brief.id)

    def _between(self, first: int, last: int) -> list[ClipBrief]:
        return self._briefs[bisect_left(self._positions, first) : bisect_right(self._positions, last)]


def _position(brief: ClipBrief, seed: int, streams: int) -> int:
    name = f"{seed}/{brief.dialogue or brief.id}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % streams
