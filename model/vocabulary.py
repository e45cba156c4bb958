"""Which row of the embedding and of the LM head stands for which token id.

A checkpoint of the real size has a row for every Qwen id and uses ids as they are. A model of a million parameters cannot
carry 151,936 rows: it keeps those of the texts it is to learn, with one more for everything else, and its checkpoint says which.
Ids are Qwen's everywhere outside the model; rows appear only in batches and caches.
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
"""Stands where an audio embedding goes."""
FRAMES_PER_SLOT: Final = CHUNK_FRAMES // c.AUDIO_SLOTS_PER_CHUNK
"""Mel frames per audio embedding: the encoder's stride 2 and its pooling by 2."""
Rows = NDArray[np.int64]


class StreamingConfig(Schema):
    """What makes a thinker a streaming model; `soundflow` in the checkpoint's config.json."""

    format: Literal["soundflow.model/1"] = "soundflow.model/1"
    front_end: str = FRONT_END
    layout: str
    """`name/version` of the token layout."""
    chunk_frames: int = Field(CHUNK_FRAMES, gt=0, multiple_of=BLOCK_FRAMES)
    """Mel frames a decision period has; 40 are the paper's 400 ms."""
    text_ids: tuple[int, ...] | None = None
    """Qwen ids that have a row, increasing; None when each id is its own row."""

    @property
    def chunk_samples(self) -> int:
        """Samples a decision period has."""
        return self.chunk_frames * c.CHUNK_SAMPLES // CHUNK_FRAMES

    @property
    def slots(self) -> int:
        """Audio embeddings per chunk."""
        return self.chunk_frames // FRAMES_PER_SLOT


class Vocabulary:
    """Token ids to rows and back.

    Compact: row k < n stands for text id k of `text_ids`, row n for every other text id, rows after that for the control ids
    in increasing order. Otherwise row = id.
    """

    def __init__(self, layout: TokenLayout, text_ids: Sequence[int] | None):
        self.layout = layout
        self.control_ids = np.array(sorted(layout.control_ids()), dtype=np.int64)
        self._text = None if text_ids is None else np.setdiff1d(np.array(text_ids, dtype=np.int64), self.control_ids)
        self.control_rows = self.control_ids if self._text is None else len(self._text) + 1 + np.arange(len(self.control_ids))

    @classmethod
    def of(cls, config: StreamingConfig) -> Self:
        """Of a checkpoint; InputError when its front end or layout is not one this program has."""
        if config.front_end != FRONT_END:
            remedy = f"This program has {FRONT_END}; take the version of SoundFlow the model was trained with"
            raise InputError(
                "the model hears through another front end", field="front_end", value=config.front_end, remedy=remedy
            )
        return cls(layout_of(config.layout), config.text_ids)

    @property
    def compact_rows(self) -> int | None:
        """How many rows the model needs; None when ids are rows."""
        return None if self._text is None else len(self._text) + 1 + len(self.control_ids)

    @property
    def unknown_row(self) -> int | None:
        """The row of text ids that have none; None when each has."""
        return None if self._text is None else len(self._text)

    def rows(self, ids: Iterable[int] | NDArray[np.integer]) -> Rows:
        """Rows of ids (L,): audio placeholders become AUDIO_ROW, text without a row the unknown one.

        Raises ValueError for an id that is neither text nor of this layout.
        """
        wanted = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        audio = wanted == self.layout.audio
        at = np.searchsorted(self.control_ids, wanted)
        control = self.control_ids[np.minimum(at, len(self.control_ids) - 1)] == wanted
        stray = ~audio & ~control & ((wanted < 0) | (wanted >= TEXT_VOCABULARY))
        if stray.any():
            raise ValueError(f"id {wanted[stray][0]} is neither text nor of layout {self.layout.id}")
        text = wanted if self._text is None else self._text_rows(self._text, wanted)
        rows = np.where(control, self.control_rows[np.minimum(at, len(self.control_ids) - 1)], text)
        return np.where(audio, AUDIO_ROW, rows)

    @staticmethod
    def _text_rows(known: Rows, wanted: Rows) -> Rows:
        if not len(known):
            return np.zeros_like(wanted)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at, len(known))

    def row(self, id_: int) -> int:
        """The row of one id."""
        return int(self.rows([id_])[0])

    def ids(self, rows: Iterable[int] | NDArray[np.integer]) -> list[int]:
        """Text and control ids of rows; the unknown row has none and is left out."""
        if self._text is None:
            return [int(row) for row in rows]
        known = len(self._text)
        return [
            int(self._text[row]) if row < known else int(self.control_ids[row - known - 1])
            for row in (int(row) for row in rows)
            if row != known
        ]
