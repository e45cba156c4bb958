"""Both analyses of a checkpoint on a corpus, as one document."""

from __future__ import annotations

from pathlib import Path

from bench.analyses.continuity import continuity
from bench.analyses.document import Analysis
from bench.analyses.heads import head_importance
from bench.analyses.windows import readings
from bench.driving import checkpoint_identity
from model.thinker import StreamingThinker
from pipeline.console import Console
from schemas.base import InputError
from training.corpus import StoredCorpus


def analyse(checkpoint: Path, corpora: list[Path], streams: int, name: str | None = None) -> Analysis:
    """Of the first `streams` streams; InputError when corpus and checkpoint do not fit."""
    model = StreamingThinker.load(checkpoint).eval()
    read = list(readings(model, StoredCorpus(*corpora), streams))
    if not any(len(one.control_at) > 1 for one in read):
        raise InputError("every stream is one chunk long", remedy="Name a corpus of longer streams")
    with Console("heads", "heads") as console:
        heads = head_importance(model, read, console.show)
    return Analysis(
        model=name or str(checkpoint),
        checkpoint=checkpoint_identity(checkpoint),
        streams=len(read),
        tasks=tuple(sorted({one.task for one in read})),
        continuity=tuple(continuity(model, read)),
        heads=heads,
    )
