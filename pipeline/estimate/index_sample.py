"""A sample of a clip index without audio: rows from the whole table, read without loading the rest of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from soundflow.operators.compose.clips import ClipBrief
from soundflow.pipeline.clips.table import TABLE, Footer, clip_of, read_footer
from soundflow.schemas.clip import Clip, ClipRole

RUN: Final = 400
"""Consecutive rows taken together. Rows are grouped by dialogue first, so a run holds whole dialogues."""


class IndexSample:
    """About `rows` clips of an index, as a ClipPool. Rows are chosen by position: equal indices give equal samples."""

    def __init__(self, directory: Path, rows: int):
        """Raises InputError if `directory` holds no index."""
        self.footer: Footer = read_footer(directory)
        file = parquet.ParquetFile(directory / TABLE)
        self._clips = {row["id"]: clip_of(row) for row in _sampled_rows(file, rows)}

    def __len__(self) -> int:
        return len(self._clips)

    def briefs(self) -> Sequence[ClipBrief]:
        """See `operators.compose.clips.ClipPool`."""
        return [ClipBrief.of(clip) for _, clip in sorted(self._clips.items())]

    def ids(self, role: ClipRole) -> Sequence[str]:
        """See `operators.compose.clips.ClipPool`."""
        return sorted(clip.id for clip in self._clips.values() if clip.role is role)

    def get(self, clip_id: str) -> Clip:
        """See `operators.compose.clips.ClipPool`."""
        return self._clips[clip_id]

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Raise OSError: an estimate renders no audio."""
        raise OSError(f"clip {clip.id}: an estimate renders no audio")


def _sampled_rows(file: Any, rows: int) -> Iterator[dict[str, Any]]:
    """Yield rows of every (source, role) in proportion to its size, but at least one run of each."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    total, first = sum(sizes), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    taken = np.ones(total, dtype=bool)
    if total > rows:
        kinds = file.read(columns=["source", "role", "dialogue"]).combine_chunks().unify_dictionaries()
        codes = [np.asarray(kinds.column(name).chunk(0).indices) for name in ("source", "role")]
        dialogues = np.asarray(kinds.column("dialogue").chunk(0).dictionary_encode().indices.fill_null(-1))
        _, stratum = np.unique(np.stack(codes), axis=1, return_inverse=True)
        taken[:] = False
        for number in range(int(stratum.max()) + 1):
            (places,) = np.nonzero(stratum == number)
            places = places[np.argsort(dialogues[places], kind="stable")]
            runs = max(1, round(rows / RUN * places.size / total))
            for start in np.linspace(0, max(places.size - RUN, 0), runs).astype(np.int64):
                taken[places[start : start + RUN]] = True
    for group, size in enumerate(sizes):
        (chosen,) = np.nonzero(taken[first[group] : first[group] + size])
        if chosen.size:
            yield from file.read_row_group(group).take(chosen).to_pylist()
