"""Windows of built streams as a model reads them, for analyses: everything said is given, nothing is decoded."""

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
    """One window."""

    task: str
    rows: Tensor
    """(1, L)"""
    mel: Tensor
    """(N, 128, frames)"""
    audio_at: Tensor
    """(N, slots) places of audio in the sequence."""
    control_at: Tensor
    """(N,) places whose hidden state predicts a control token."""
    responds: Tensor
    """(N,) whether <response> is right."""


def readings(model: StreamingThinker, source: StreamSource, streams: int) -> Iterator[Reading]:
    """The first window of each of the first `streams` streams, dealt over shards; InputError when layout or corpus do not fit."""
    config = LoaderConfig(seed=0, micro_batch=1, window_chunks=1, streaming=model.streaming)
    maker = BatchBuilder(source, config)
    longest = c.WINDOW_CHUNKS * c.CHUNK_SAMPLES // model.streaming.chunk_samples
    for shard, index in islice(_places(source), streams):
        turns = maker.turns(shard, index)
        if turns.layout != model.vocabulary.layout.id:
            remedy = "Name a corpus of the model's layout"
            raise InputError("has another token layout than the model", value=turns.layout, remedy=remedy)
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
    """Input embeddings (1, L, hidden)."""
    audio = model.encode_chunks(reading.mel.to(model.device))
    return model.embed(reading.rows.to(model.device), audio)


def _places(source: StreamSource) -> Iterator[tuple[int, int]]:
    for index in range(max(source.shard_sizes)):
        for shard, size in enumerate(source.shard_sizes):
            if index < size:
                yield shard, index
