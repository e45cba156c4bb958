"""A small streaming model with random weights, and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def thinker() -> StreamingThinker:
    """Shared: tests only read it."""
    ids = {*QwenTokenizer.load().encode("I hear a sound. Answer the question."), *range(256)}
    return StreamingThinker.from_scratch(
        "nano", StreamingConfig(layout="soundflow/1", text_ids=tuple(sorted(ids))), seed=3
    ).eval()


@pytest.fixture(scope="session")
def checkpoint(thinker: StreamingThinker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    thinker.save(directory)
    return directory
