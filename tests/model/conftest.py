"""A small streaming model with random weights."""

from __future__ import annotations

import pytest
import torch

from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def thinker() -> StreamingThinker:
    """Shared: tests only read it."""
    config = StreamingConfig(layout="soundflow/1", text_ids=tuple(range(0, 600, 2)))
    return StreamingThinker.from_scratch("nano", config, seed=1).eval()
