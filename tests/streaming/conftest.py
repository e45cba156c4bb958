"""A small model with random weights, as a checkpoint and in memory, and a threshold it crosses now and then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.thinker import StreamingThinker
from model.vocabulary import StreamingConfig
from operators.qwen_bpe import QwenTokenizer

torch.set_num_threads(1)
INSTRUCTION = "Name what you hear."


@pytest.fixture(scope="session")
def model() -> StreamingThinker:
    known = QwenTokenizer.load().encode(f"{INSTRUCTION} I heard a dog 汪汪 über")
    ids = tuple(sorted({*known, *range(256)}))
    return StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=ids), seed=3).eval()


@pytest.fixture(scope="session")
def checkpoint(model: StreamingThinker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    model.save(directory)
    return directory
