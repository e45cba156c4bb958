"""The shapes of the 3B model, on the meta device, pass through the setup of every stage."""

from __future__ import annotations

import pytest

from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import InputError
from soundflow.training.config import load_stage
from soundflow.training.estimate import estimate, meta_model


@pytest.fixture(scope="module")
def model() -> StreamingThinker:
    return meta_model("3b")


@pytest.mark.parametrize(
    ("name", "moving"), [("1", {"lm_head", "new_tokens"}), ("2", {"adapter"}), ("3", {"adapter", "lm"}), ("4", {"adapter", "lm"})]
)
def test_a_stage_of_the_paper_trains_its_parameters_of_the_3b(model: StreamingThinker, name: str, moving: set[str]) -> None:
    found = estimate(model, load_stage(name), processes=32)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert found.moving == sum(found.groups[group] for group in moving)
    assert 635e6 < found.groups["audio_encoder"] < 640e6 and found.groups["adapter"] == 2_623_488  # 1280 x 2048 + 2048
    assert 3.3e9 < found.groups["lm"] < 3.5e9 and found.groups["new_tokens"] == 5 * 2048
    assert found.parameters == found.groups["audio_encoder"] + found.groups["adapter"] + found.groups["lm"] + 2 * 2048
    assert found.total < 80 * 2**30, "fits the paper's H100s"


def test_more_gpus_hold_less_each(model: StreamingThinker) -> None:
    stage = load_stage("3")
    few, many = (estimate(model, stage, processes) for processes in (4, 32))
    assert many.optimizer < few.optimizer and many.total < few.total and many.tokens_per_step == few.tokens_per_step


def test_a_number_of_gpus_that_does_not_divide_the_batch_is_reported(model: StreamingThinker) -> None:
    with pytest.raises(InputError, match="effective_batch"):
        estimate(model, load_stage("1"), processes=7)
