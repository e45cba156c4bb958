"""Single-head ablation for control tokens (paper, Fig. head_importance): the effect of zeroing one attention head of the decoder.

The model reads a window with the reference responses and predicts the control token at the end of each chunk. The score is the
balanced token match, the mean of the accuracies on <silent> and <response>: plain accuracy would hide the few responses. A head
is zeroed at the input of the output projection of its layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from soundflow.bench.experiments.analyses.windows import Reading, embedded
from soundflow.bench.report.analyses import HeadDrops, Heads, TopHead
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import InputError


@torch.inference_mode()
def head_importance(
    model: StreamingThinker, readings: Sequence[Reading], show: Callable[[int, int], None] = lambda done, total: None
) -> Heads:
    """Return the drop for each head; raises InputError if the windows contain no response."""
    inputs = [embedded(model, reading) for reading in readings]
    if not any(bool(reading.responds.any()) for reading in readings):
        raise InputError("no stream of the corpus has a response to predict", remedy="Name a corpus with responses")
    config = model.config.text_config
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    base = _matches(model, readings, inputs)
    tasks = sorted({reading.task for reading in readings})
    drop = [[0.0] * heads for _ in range(layers)]
    drops = {task: [[0.0] * heads for _ in range(layers)] for task in tasks}
    for layer in range(layers):
        for head in range(heads):
            with zeroed(model, layer, head):
                found = _matches(model, readings, inputs)
            drop[layer][head] = round(base["all"] - found["all"], 6)
            for task in tasks:
                drops[task][layer][head] = round(base[task] - found[task], 6)
            show(layer * heads + head + 1, layers * heads)
    worst = max((value, -layer, -head) for layer, row in enumerate(drop) for head, value in enumerate(row))
    return Heads(
        base=base["all"],
        drop=_fixed(drop),
        by_task={task: HeadDrops(base=base[task], drop=_fixed(drops[task])) for task in tasks},
        top=TopHead(layer=-worst[1], head=-worst[2], drop=worst[0]),
    )


def _fixed(drop: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, drop))


@contextlib.contextmanager
def zeroed(model: StreamingThinker, layer: int, head: int) -> Iterator[None]:
    """Zero one head of one decoder layer within the block."""
    attention = model.model.language_model.layers[layer].self_attn
    size = attention.o_proj.in_features // int(model.config.text_config.num_attention_heads)

    def zero(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        mixed = inputs[0].clone()
        mixed[..., head * size : (head + 1) * size] = 0
        return (mixed, *inputs[1:])

    hook = attention.o_proj.register_forward_pre_hook(zero)
    try:
        yield
    finally:
        hook.remove()


def _matches(model: StreamingThinker, readings: Sequence[Reading], inputs: Sequence[Tensor]) -> dict[str, float]:
    """Return the balanced token match by task, and over `all`."""
    decisions: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for reading, embeddings in zip(readings, inputs, strict=True):
        states = model.hidden(embeddings)[0][reading.control_at.to(model.device)]
        logits = model.control_logits(states).float().cpu()
        pair = (logits[:, 1] > logits[:, 0], reading.responds)
        for name in (reading.task, "all"):
            decisions.setdefault(name, []).append(pair)
    found = {}
    for name, pairs in decisions.items():
        predicted, expected = (torch.cat(list(part)) for part in zip(*pairs, strict=True))
        shares = [
            float((predicted == expected)[expected == kind].float().mean())
            for kind in (True, False)
            if bool((expected == kind).any())
        ]
        found[name] = sum(shares) / len(shares)
    return found
