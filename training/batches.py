"""Micro-batches as numpy arrays, which cross process boundaries as bytes and become tensors on the device.

`pad` right-pads windows of similar length without a mask, which a causal model does not need; on a CPU this is the fastest way
(`bench/speed/training`). `pack` joins them into one sequence, for GPUs with variable-length attention.
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
    """B windows of at most L tokens with N chunks in total. Packed batches have B = 1."""

    rows: Rows
    """Inputs (B, L); AUDIO_ROW for audio, 0 for padding."""
    mel: Mel
    """Log-mel chunks (N, 128, frames), in the order of their positions."""
    stream_at: Rows
    """Indices (S,) into the flattened (B * L,) hidden states that predict a control token."""
    stream_rows: Rows
    """Control tokens (S,) at those positions."""
    lm_at: Rows
    """Indices (T,) of the hidden states that predict text or <eos>."""
    lm_rows: Rows
    """Text rows (T,) at those positions."""
    positions: NDArray[np.int64] | None = None
    """Positions (4, 1, L) of a packed batch: text and the three rows of M-RoPE, restarting with each window."""
    windows: int = 1
    tokens: int = 0
    """Tokens without padding."""
    masked: int = 0
    """Text labels without a row in the vocabulary."""


def pad(examples: Sequence[tuple[Example, Mel]]) -> Batch:
    """Combine windows into right-padded rows."""
    length = max(len(example.rows) for example, _ in examples)
    rows = np.zeros((len(examples), length), dtype=np.int64)
    labels = np.full((2, len(examples), length), c.IGNORE_LABEL, dtype=np.int64)
    for number, (example, _) in enumerate(examples):
        rows[number, : len(example.rows)] = example.rows
        labels[0, number, : len(example.rows)] = example.y_stream
        labels[1, number, : len(example.rows)] = example.y_lm
    return _batch(examples, rows, labels)


def pack(examples: Sequence[tuple[Example, Mel]]) -> Batch:
    """Combine windows into one sequence; positions restart where a window begins."""
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
