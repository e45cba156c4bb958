"""Both analyses of a checkpoint on a corpus, as one document."""

from __future__ import annotations

from pathlib import Path

from soundflow.bench.experiments.analyses.continuity import continuity
from soundflow.bench.experiments.analyses.heads import head_importance
from soundflow.bench.experiments.analyses.windows import readings
from soundflow.bench.harness.collect import checkpoint_identity
from soundflow.bench.report.analyses import Analysis
from soundflow.model.device import Placement
from soundflow.model.thinker import StreamingThinker
from soundflow.pipeline.mechanics.console import Console
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus


def analyse(
    checkpoint: Path,
    corpora: list[Path],
    streams: int,
    name: str | None = None,
    placement: Placement = Placement(),  # noqa: B008
) -> Analysis:
    """Analyse a checkpoint on the first `streams` streams; raises InputError if corpora and checkpoint do not match."""
    model = StreamingThinker.load(checkpoint, placement).eval()
    windows = list(readings(model, StoredCorpus(*corpora), streams))
    if not any(len(one.control_at) > 1 for one in windows):
        raise InputError("every stream has only one chunk", remedy="Name a corpus of longer streams")
    with Console("heads", "heads") as console:
        heads = head_importance(model, windows, console.show)
    return Analysis(
        model=name or str(checkpoint),
        checkpoint=checkpoint_identity(checkpoint, placement),
        streams=len(windows),
        tasks=tuple(sorted({one.task for one in windows})),
        continuity=tuple(continuity(model, windows)),
        heads=heads,
    )
