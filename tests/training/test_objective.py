"""The dual loss equals a slow implementation of Algorithm 2, position by position; masks, weights and freezing hold."""

from __future__ import annotations

import math

import pytest
import torch

from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW
from soundflow.training.batches import Batch, pack, pad
from soundflow.training.config import DrainConfig, Group
from soundflow.training.corpus import text_ids
from soundflow.training.freezing import count, freeze, parts
from soundflow.training.loader import BatchBuilder, LoaderConfig
from soundflow.training.objective import DeviceBatch, DualLoss, Weights
from soundflow.training.sequences import Example
from tests.training.made import MadeCorpus
from tests.training.world import pico

SOURCE = MadeCorpus([[(5, [2, 5]), (3, []), (7, [1, 2, 6])]])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> StreamingThinker:
    return pico(text_ids(SOURCE))


def examples(model: StreamingThinker, drain: DrainConfig | None = None) -> list[tuple[Example, object]]:
    config = LoaderConfig(seed=0, micro_batch=3, window_chunks=60, streaming=model.streaming, drain=drain)
    builder = BatchBuilder(SOURCE, config)
    return [builder.example((0, index, 0), epoch=0) for index in range(3)]


def slow(model: StreamingThinker, made: list[tuple[Example, object]]) -> tuple[float, float, int, int]:
    """Sums of -log P over text and control tokens and their numbers, one sequence and one position after the other."""
    sums, counts = [0.0, 0.0], [0, 0]
    for example, mel in made:
        with torch.no_grad():
            audio = model.encode_chunks(torch.from_numpy(mel)).flatten(0, 1)
            used, embeddings = 0, []
            for row in example.rows.tolist():
                if row == AUDIO_ROW:
                    embeddings.append(audio[used])
                    used += 1
                elif row in model.control_rows.tolist():
                    embeddings.append(model.ctrl_embed[model.control_rows.tolist().index(row)])
                else:
                    embeddings.append(model.model.language_model.embed_tokens.weight[row])
            hidden = model.hidden(torch.stack(embeddings)[None])[0]
            for at in range(len(example.rows)):
                for which, labels in enumerate((example.y_lm, example.y_stream)):
                    if labels[at] != -100:
                        probabilities = torch.softmax(model.logits(hidden[at - 1]), -1)
                        sums[which] -= math.log(float(probabilities[labels[at]]))
                        counts[which] += 1
    return sums[0], sums[1], counts[0], counts[1]


def forward(model: StreamingThinker, batch: Batch, weights: Weights = Weights(1.0, 1.0)) -> dict[str, torch.Tensor]:  # noqa: B008
    return DualLoss(model)(DeviceBatch.of(batch, CPU), weights)


@pytest.mark.parametrize("drain", [None, DrainConfig(probability=1.0)])
@pytest.mark.parametrize("join", [pad, pack])
def test_the_loss_equals_a_slow_implementation_of_algorithm_2(
    model: StreamingThinker, drain: DrainConfig | None, join: object
) -> None:
    made = examples(model, drain)
    batch = join(made)  # type: ignore[operator]
    lm, stream, texts, controls = slow(model, made)
    out = forward(model, batch, Weights(1 / texts, 0.5 / controls))
    assert (texts, controls) == (len(batch.lm_rows), len(batch.stream_rows)) and controls == 15
    assert float(out["lm"]) == pytest.approx(lm, rel=1e-4) and float(out["stream"]) == pytest.approx(stream, rel=1e-4)
    assert float(out["loss"].detach()) == pytest.approx(lm / texts + 0.5 * stream / controls, rel=1e-4)


def test_masked_labels_do_not_contribute(model: StreamingThinker) -> None:
    made = examples(model)
    full = forward(model, pad(made))
    instruction_changed = [(example, mel) for example, mel in made]
    example, mel = instruction_changed[0]
    labels = example.y_lm.copy()
    labels[example.y_lm != -100] = -100
    silenced = Example(example.rows, example.y_stream, labels)
    without = forward(model, pad([(silenced, mel), *made[1:]]))
    _, _, texts, _ = slow(model, made[:1])
    assert texts and float(without["lm"]) < float(full["lm"]) and torch.equal(without["stream"], full["stream"])


def gradients(model: StreamingThinker, weights: Weights) -> torch.Tensor:
    model.zero_grad()
    forward(model, pad(examples(model)), weights)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_weight_of_the_streaming_loss_scales_its_gradient_alone(model: StreamingThinker) -> None:
    freeze(model, ("adapter", "lm", "audio_encoder"))
    lm, stream = gradients(model, Weights(1.0, 0.0)), gradients(model, Weights(0.0, 1.0))
    torch.testing.assert_close(gradients(model, Weights(1.0, 2.0)), lm + 2 * stream, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "groups", [("lm_head", "new_tokens"), ("adapter",), ("adapter", "lm"), ("audio_encoder",), ("adapter", "lm", "audio_encoder")]
)
def test_frozen_parameters_stay_bit_for_bit_and_trained_ones_change(groups: tuple[Group, ...]) -> None:
    model = pico(text_ids(SOURCE))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = freeze(model, groups)
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.01)
    batch = DeviceBatch.of(pad(examples(model)), CPU)
    for _ in range(2):
        DualLoss(model)(batch, Weights(0.1, 0.1))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    expected = {names[id(parameter)] for group in groups for parameter in parts(model, group)}
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == expected


def test_stage_1_trains_new_rows_without_changing_the_old_embedding() -> None:
    model = pico(text_ids(SOURCE))
    trained = freeze(model, ("lm_head", "new_tokens"))
    assert {id(parameter) for parameter in trained} == {id(model.lm_head.weight), id(model.ctrl_embed)}
    assert count(trained) == model.lm_head.weight.numel() + 5 * 32


def test_recomputed_activations_give_the_same_gradients() -> None:
    from soundflow.training.trainer import _checkpoint_activations

    model = pico(text_ids(SOURCE)).train()
    freeze(model, ("adapter", "lm", "audio_encoder"))
    plain = gradients(model, Weights(0.1, 0.1))
    _checkpoint_activations(model, True)
    torch.testing.assert_close(gradients(model, Weights(0.1, 0.1)), plain, rtol=0, atol=1e-6)
