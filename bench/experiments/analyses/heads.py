"""Single-head ablation for control tokens (paper, Fig. head_importance): what zeroing one attention head of the decoder costs.

A window is read with what was truly said, and the control token at every chunk's end is chosen. The score is the balanced token
match: the mean of the shares of <silent> and of <response> chosen right (plain match would hide the few responses). A head is
zeroed where its output enters the layer's output projection.
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
    """What every head is worth; InputError without any response."""
    given = [embedded(model, reading) for reading in readings]
    if not any(bool(reading.responds.any()) for reading in readings):
        raise InputError("no stream of the corpus has a response to predict", remedy="Name a corpus with responses")
    config = model.config.text_config
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    base = _matches(model, readings, given)
    tasks = sorted({reading.task for reading in readings})
    drop = [[0.0] * heads for _ in range(layers)]
    drops = {task: [[0.0] * heads for _ in range(layers)] for task in tasks}
    for layer in range(layers):
        for head in range(heads):
            with zeroed(model, layer, head):
                found = _matches(model, readings, given)
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
    """Within the block one head of one decoder layer says nothing."""
    attention = model.model.language_model.layers[layer].self_attn
    size = attention.o_proj.in_features // int(model.config.text_config.num_attention_heads)

    def silence(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        mixed = given[0].clone()
        mixed[..., head * size : (head + 1) * size] = 0
        return (mixed, *given[1:])

    hook = attention.o_proj.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        hook.remove()


def _matches(model: StreamingThinker, readings: Sequence[Reading], given: Sequence[Tensor]) -> dict[str, float]:
    """Task (and `all`) → balanced token match."""
    right: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for reading, embeddings in zip(readings, given, strict=True):
        states = model.hidden(embeddings)[0][reading.control_at.to(model.device)]
        logits = model.control_logits(states).float().cpu()
        pair = (logits[:, 1] > logits[:, 0], reading.responds)
        for name in (reading.task, "all"):
            right.setdefault(name, []).append(pair)
    found = {}
    for name, pairs in right.items():
        chosen, wanted = (torch.cat(list(part)) for part in zip(*pairs, strict=True))
        shares = [
            float((chosen == wanted)[wanted == kind].float().mean()) for kind in (True, False) if bool((wanted == kind).any())
        ]
        found[name] = sum(shares) / len(shares)
    return found
