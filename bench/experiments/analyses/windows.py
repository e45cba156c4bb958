"""Windows of built streams as model inputs for analyses: reference responses are given, nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StreamSource
from soundflow.training.loader import BatchBuilder, LoaderConfig
from soundflow.training.sequences import Window, encode_window


@dataclass(frozen=True, slots=True)
class Reading:
    """A window of a stream as model input."""

    task: str
    rows: Tensor
    """(1, L)"""
    mel: Tensor
    """(N, 128, frames)"""
    audio_at: Tensor
    """(N, slots) positions of audio in the sequence."""
    control_at: Tensor
    """(N,) positions whose hidden state predicts a control token."""
    responds: Tensor
    """(N,) whether <response> is the reference."""


def readings(model: StreamingThinker, source: StreamSource, streams: int) -> Iterator[Reading]:
    """Yield the first window of each of `streams` streams, spread over shards; raises InputError for another token layout."""
    config = LoaderConfig(seed=0, micro_batch=1, window_chunks=1, streaming=model.streaming)
    maker = BatchBuilder(source, config)
    longest = c.WINDOW_CHUNKS * c.CHUNK_SAMPLES // model.streaming.chunk_samples
    for shard, index in islice(_places(source), streams):
        turns = maker.turns(shard, index)
        if turns.layout != model.vocabulary.layout.id:
            remedy = f"Name a corpus with the layout {model.vocabulary.layout.id}"
            raise InputError("the token layout of the corpus is not that of the model", value=turns.layout, remedy=remedy)
        window = Window(0, min(turns.chunks, longest) - 1, 0)
        example = encode_window(turns, window, model.vocabulary, model.streaming.slots)
        labels = np.flatnonzero(example.y_stream != c.IGNORE_LABEL)
        audio = np.flatnonzero(example.rows == AUDIO_ROW).reshape(-1, model.streaming.slots)
        yield Reading(
            task=str(source.plan(shard, index).task),
            rows=torch.from_numpy(example.rows)[None],
            mel=torch.from_numpy(maker.mel(shard, index, window)),
            audio_at=torch.from_numpy(audio),
            control_at=torch.from_numpy(labels - 1),
            responds=torch.from_numpy(example.y_stream[labels] == model.response_row),
        )


def embedded(model: StreamingThinker, reading: Reading) -> Tensor:
    """Return the input embeddings (1, L, hidden)."""
    audio = model.encode_chunks(reading.mel.to(model.device))
    return model.embed(reading.rows.to(model.device), audio)


def _places(source: StreamSource) -> Iterator[tuple[int, int]]:
    for index in range(max(source.shard_sizes)):
        for shard, size in enumerate(source.shard_sizes):
            if index < size:
                yield shard, index
