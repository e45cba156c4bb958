"""The voices section of a report: word error rates of the speech clips in use, by voice (paper, B.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.pipeline.clips.table import ClipIndex
from soundflow.schemas.base import InputError

EDGES: Final = (0.0, 0.001, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Bin edges of the histogram of word error rates; the first bin holds the clips without an error."""
NAMED: Final = 200
"""Clips with a rejected transcript that a report lists."""


def rejected_transcripts(clips: Path, content_hash: str, used: Container[str]) -> dict[str, Any] | None:
    """Count and name the speech clips whose transcripts alignment rejected, and those of them that streams use; None without any.

    None, too, if there is no clip index with this content hash.
    """
    index = _index(clips, content_hash)
    if index is None:
        return None
    found = [brief for brief in index.briefs() if brief.transcript_rejected]
    named = [{"clip": clip.id, "reason": clip.transcript_rejected, "used": clip.id in used} for clip in found[:NAMED]]
    return {"clips": len(found), "used": sum(clip.id in used for clip in found), "named": named} if found else None


def speech_data(clips: Path, content_hash: str, used: Iterable[str]) -> list[dict[str, Any]] | None:
    """Return the word error rates of the clips in `used` by voice; None without any rate.

    None, too, if there is no clip index with this content hash.
    """
    index = _index(clips, content_hash)
    if index is None:
        return None
    wers: dict[str, list[float]] = defaultdict(list)
    for clip_id in sorted(used):
        try:
            clip = index.get(clip_id)
        except KeyError:  # made during the build
            continue
        if clip.wer is not None:
            wers[clip.voice or "unknown"].append(clip.wer)
    return [_row(voice, np.array(found)) for voice, found in sorted(wers.items())] or None


def _index(clips: Path, content_hash: str) -> ClipIndex | None:
    """Return the clip index if it has this content hash."""
    try:
        index = ClipIndex.open(clips)
        index.require(content_hash)
    except InputError:
        return None
    return index


def _row(voice: str, wers: Any) -> dict[str, Any]:
    counts, _ = np.histogram(np.minimum(wers, EDGES[-1]), EDGES)
    summary = {"mean": wers.mean(), "p50": np.quantile(wers, 0.5), "p95": np.quantile(wers, 0.95), "max": wers.max()}
    return {
        "voice": voice,
        "clips": int(wers.size),
        "perfect": float(np.mean(wers == 0.0)),
        **{name: float(value) for name, value in summary.items()},
        "edges": [round(100 * edge, 1) for edge in EDGES],
        "counts": counts.tolist(),
    }
