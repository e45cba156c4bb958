"""Results of the analyses of a checkpoint, as stored in a file."""

from __future__ import annotations

from soundflow.schemas.base import Schema


class LayerContinuity(Schema):
    """Cosine similarities at one layer (see `bench.experiments.analyses.continuity`)."""

    layer: str
    ratio: float
    centred: float
    boundary: float
    within: float


class HeadDrops(Schema):
    """Balanced token match with all heads, and its drop when one head is zeroed: a row per layer, a column per head."""

    base: float
    drop: tuple[tuple[float, ...], ...]


class TopHead(Schema):
    """The head with the largest drop."""

    layer: int
    head: int
    drop: float


class Heads(HeadDrops):
    """Drops over all streams and by task."""

    by_task: dict[str, HeadDrops]
    top: TopHead


class Analysis(Schema):
    """Both analyses of one checkpoint."""

    model: str
    checkpoint: str
    streams: int
    tasks: tuple[str, ...]
    continuity: tuple[LayerContinuity, ...]
    heads: Heads

    def lines(self) -> list[str]:
        """Return the lines to print in a terminal."""
        layers = [f"{one.layer:<12} continuity {one.ratio:.3f} (centred {one.centred:.3f})" for one in self.continuity]
        top = self.heads.top
        match = f"balanced token match {self.heads.base:.3f}; largest drop {top.drop:.3f} (layer {top.layer}, head {top.head})"
        return [*layers, match]
