"""What the analyses of a checkpoint come to, as a file keeps it."""

from __future__ import annotations

from soundflow.schemas.base import Schema


class LayerContinuity(Schema):
    """Cosine similarities at one layer; see `bench.experiments.analyses.continuity`."""

    layer: str
    ratio: float
    centred: float
    boundary: float
    within: float


class HeadDrops(Schema):
    """Balanced token match with all heads, and what each head's loss takes from it, layer by layer."""

    base: float
    drop: tuple[tuple[float, ...], ...]


class TopHead(Schema):
    """The head that costs most."""

    layer: int
    head: int
    drop: float


class Heads(HeadDrops):
    """Over all streams, and by task."""

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
        """For people."""
        layers = [f"{one.layer:<12} continuity {one.ratio:.3f} (centred {one.centred:.3f})" for one in self.continuity]
        top = self.heads.top
        told = f"balanced token match {self.heads.base:.3f}; without L{top.layer}H{top.head} {top.drop:.3f} less"
        return [*layers, told]
