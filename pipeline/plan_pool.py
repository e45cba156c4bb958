"""A part of a clip index, to reckon with: rows from all over the table, without reading the rest. It has no audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from operators.clips import ClipBrief
from pipeline.clip_table import BATCH, TABLE, Footer, read_footer
from schemas.clip import Clip, ClipRole


class PlanPool:
    """At most some `rows` of an index, as a ClipPool; chosen by place, so that equal indices give equal parts."""

    def __init__(self, directory: Path, rows: int):
        """Raises InputError when `directory` holds no index."""
        self.footer: Footer = read_footer(directory)
        file = parquet.ParquetFile(directory / TABLE)
        groups = file.metadata.num_row_groups
        wanted = max(1, min(groups, -(-rows // BATCH)))
        places: list[int] = sorted({round(place) for place in np.linspace(0, groups - 1, wanted).tolist()}) if groups else []
        found = [row for place in places for row in file.read_row_group(place).to_pylist()]
        step = max(1, len(found) // max(rows, 1))
        self._clips = {row["id"]: Clip.model_validate(row) for row in found[::step]}

    def __len__(self) -> int:
        return len(self._clips)

    def briefs(self) -> Sequence[ClipBrief]:
        """See `operators.clips.ClipPool`."""
        return [ClipBrief.of(clip) for _, clip in sorted(self._clips.items())]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """See `operators.clips.ClipPool`."""
        return sorted(clip.id for clip in self._clips.values() if clip.role is role)

    def get(self, clip_id: str) -> Clip:
        """See `operators.clips.ClipPool`."""
        return self._clips[clip_id]

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """There is none: a plan makes no sound."""
        raise OSError(f"clip {clip.id}: planning makes no audio")
