"""A micro-batch as numpy arrays: it crosses process boundaries as bytes and becomes tensors where it is used.

Windows of similar length, padded on the right without a mask: causal models compute the same, and on a CPU nothing is faster
(`bench/speed/training`). On GPUs with varlen attention `pack` joins them in one sequence instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundflow.model.frontend import Mel
from soundflow.model.vocabulary import Rows
from soundflow.schemas import constants as c
from soundflow.training.sequences import Example


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows of at most L tokens with N chunks in all (packed: B = 1)."""

    rows: Rows
    """(B, L); AUDIO_ROW where audio stands, row 0 in the padding."""
    mel: Mel
    """(N, 128, frames), in the order in which their places come."""
    stream_at: Rows
    """(S,) indices into the flattened (B * L,) of the hidden states that predict a control token."""
    stream_rows: Rows
    """(S,) the control tokens."""
    lm_at: Rows
    lm_rows: Rows
    positions: NDArray[np.int64] | None = None
    """(4, 1, L) when packed: text positions and M-RoPE's three, starting again with each window."""
    windows: int = 1
    tokens: int = 0
    """Without padding."""
    masked: int = 0
    """Text labels the model has no row for."""


def pad(examples: Sequence[tuple[Example, Mel]]) -> Batch:
    """Windows as rows of one array, padded on the right."""
    length = max(len(example.rows) for example, _ in examples)
    rows = np.zeros((len(examples), length), dtype=np.int64)
    labels = np.full((2, len(examples), length), c.IGNORE_LABEL, dtype=np.int64)
    for number, (example, _) in enumerate(examples):
        rows[number, : len(example.rows)] = example.rows
        labels[0, number, : len(example.rows)] = example.y_stream
        labels[1, number, : len(example.rows)] = example.y_lm
    return _batch(examples, rows, labels)


def pack(examples: Sequence[tuple[Example, Mel]]) -> Batch:
    """Windows one after the other in one sequence; positions tell where each begins."""
    rows = np.concatenate([example.rows for example, _ in examples])[None]
    labels = np.stack([np.concatenate([getattr(example, name) for example, _ in examples]) for name in ("y_stream", "y_lm")])
    positions = np.concatenate([np.arange(len(example.rows)) for example, _ in examples])
    return _batch(examples, rows, labels[:, None], np.broadcast_to(positions, (4, 1, len(positions))).copy())


def _batch(
    examples: Sequence[tuple[Example, Mel]], rows: Rows, labels: Rows, positions: NDArray[np.int64] | None = None
) -> Batch:
    stream, text = labels.reshape(2, -1)
    stream_at, lm_at = np.flatnonzero(stream != c.IGNORE_LABEL), np.flatnonzero(text != c.IGNORE_LABEL)
    return Batch(
        rows=rows,
        mel=np.concatenate([mel for _, mel in examples]),
        stream_at=stream_at - 1,  # the hidden state before a token predicts it
        stream_rows=stream[stream_at],
        lm_at=lm_at - 1,
        lm_rows=text[lm_at],
        positions=positions,
        windows=len(examples),
        tokens=sum(len(example.rows) for example, _ in examples),
        masked=sum(example.masked for example, _ in examples),
    )
