"""The mapping between token ids and rows of the embedding and the LM head.

A checkpoint of full size has a row for every Qwen id, and rows equal ids. A model of a million parameters cannot carry 151,936
rows: it keeps those of its training texts plus one for all other text, and its checkpoint lists them. Outside the model, ids are
always Qwen's; rows appear only in batches and caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from soundflow.model.frontend import BLOCK_FRAMES, CHUNK_FRAMES, FRONT_END
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.tokens import TEXT_VOCABULARY, TokenLayout, layout_of

AUDIO_ROW: Final = -1
"""Placeholder for an audio embedding."""
CHECKPOINT_REMEDY: Final = "Pass RUN/model of `soundflow train` or the output of `soundflow model init`"
FRAMES_PER_SLOT: Final = CHUNK_FRAMES // c.AUDIO_SLOTS_PER_CHUNK
"""Mel frames per audio embedding: the encoder's stride 2 and its pooling by 2."""
Rows = NDArray[np.int64]
"""Vocabulary rows, any shape."""


class StreamingConfig(Schema):
    """The streaming settings of a model: `soundflow` in the checkpoint's config.json."""

    format: Literal["soundflow.model/1"] = "soundflow.model/1"
    front_end: str = FRONT_END
    layout: str
    """Token layout, as `name/version`."""
    chunk_frames: int = Field(CHUNK_FRAMES, gt=0, multiple_of=BLOCK_FRAMES)
    """Mel frames per chunk; 40 are the paper's 400 ms."""
    text_ids: tuple[int, ...] | None = None
    """Qwen ids that have a row, increasing; None if rows equal ids."""

    @property
    def chunk_samples(self) -> int:
        """Samples per chunk."""
        return self.chunk_frames * c.CHUNK_SAMPLES // CHUNK_FRAMES

    @property
    def slots(self) -> int:
        """Audio embeddings per chunk."""
        return self.chunk_frames // FRAMES_PER_SLOT


class Vocabulary:
    """Maps token ids to rows and back.

    A compact vocabulary has a row for each of the n `text_ids`, row n for every other text id, then the control ids in increasing
    order. Without `text_ids`, rows equal ids.
    """

    def __init__(self, layout: TokenLayout, text_ids: Sequence[int] | None):
        self.layout = layout
        self.control_ids = np.array(sorted(layout.control_ids()), dtype=np.int64)
        self._text = None if text_ids is None else np.setdiff1d(np.array(text_ids, dtype=np.int64), self.control_ids)
        self.control_rows = self.control_ids if self._text is None else len(self._text) + 1 + np.arange(len(self.control_ids))

    @classmethod
    def of(cls, config: StreamingConfig) -> Self:
        """Create the vocabulary of a checkpoint. Raises InputError for a front end or layout this version does not have."""
        if config.front_end != FRONT_END:
            why = f"the model needs another audio front end than this version's {FRONT_END}"
            remedy = "Use the version of SoundFlow the model was trained with"
            raise InputError(why, field="front_end", value=config.front_end, remedy=remedy)
        return cls(layout_of(config.layout), config.text_ids)

    @property
    def compact_rows(self) -> int | None:
        """Number of rows of a compact vocabulary; None if rows equal ids."""
        return None if self._text is None else len(self._text) + 1 + len(self.control_ids)

    @property
    def unknown_row(self) -> int | None:
        """Row of text ids without a row of their own; None if rows equal ids."""
        return None if self._text is None else len(self._text)

    def rows(self, ids: Iterable[int] | NDArray[np.integer]) -> Rows:
        """Return the int64 rows (L,) of ids (L,); AUDIO_ROW for the audio placeholder, `unknown_row` for text without a row.

        Raises ValueError for an id that is neither text nor part of the layout.
        """
        given = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        audio = given == self.layout.audio
        at = np.searchsorted(self.control_ids, given)
        control = self.control_ids[np.minimum(at, len(self.control_ids) - 1)] == given
        stray = ~audio & ~control & ((given < 0) | (given >= TEXT_VOCABULARY))
        if stray.any():
            raise ValueError(f"id {given[stray][0]} is neither text nor part of layout {self.layout.id}")
        text = given if self._text is None else self._text_rows(self._text, given)
        rows = np.where(control, self.control_rows[np.minimum(at, len(self.control_ids) - 1)], text)
        return np.where(audio, AUDIO_ROW, rows)

    @staticmethod
    def _text_rows(known: Rows, given: Rows) -> Rows:
        if not len(known):
            return np.zeros_like(given)
        at = np.minimum(np.searchsorted(known, given), len(known) - 1)
        return np.where(known[at] == given, at, len(known))

    def row(self, id_: int) -> int:
        """Return the row of one id."""
        return int(self.rows([id_])[0])

    def ids(self, rows: Iterable[int] | NDArray[np.integer]) -> list[int]:
        """Return the text and control ids of rows; the unknown row has no id and is left out."""
        if self._text is None:
            return [int(row) for row in rows]
        known = len(self._text)
        return [
            int(self._text[row]) if row < known else int(self.control_ids[row - known - 1])
            for row in (int(row) for row in rows)
            if row != known
        ]
