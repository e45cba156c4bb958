"""The continuity ratio by layer (paper, Fig. continuity): similarity across chunk boundaries relative to similarity within
chunks.

It is the mean cosine similarity of (last slot of chunk k, first slot of k + 1) divided by that of adjacent slots within chunks; 1
is seamless. A mean common to all positions raises every similarity, so the ratio of centred representations is given too. Layers
are the output of the encoder, that of the projector, and the states after each decoder layer at audio positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from soundflow.bench.experiments.analyses.windows import Reading, embedded
from soundflow.bench.report.analyses import LayerContinuity
from soundflow.model.thinker import StreamingThinker


@torch.inference_mode()
def continuity(model: StreamingThinker, readings: Sequence[Reading]) -> list[LayerContinuity]:
    """Return the ratios from the encoder to the last decoder layer, over all windows."""
    kept: dict[str, list[Tensor]] = {}
    for reading in readings:
        for name, states in _layers(model, reading).items():
            kept.setdefault(name, []).append(states.float())
    found = []
    for name, windows in kept.items():
        across, inside = similarities(windows)
        mean = torch.cat([states.flatten(0, 1) for states in windows]).mean(0)
        centred_across, centred_inside = similarities([states - mean for states in windows])
        found.append(
            LayerContinuity(
                layer=name,
                ratio=round(across / inside, 6),
                centred=round(centred_across / centred_inside, 6),
                boundary=round(across, 6),
                within=round(inside, 6),
            )
        )
    return found


def similarities(windows: Sequence[Tensor]) -> tuple[float, float]:
    """Return mean cosine similarities (across boundaries, within chunks) of windows (chunks, slots, width)."""
    boundary = torch.cat([_cosine(states[:-1, -1], states[1:, 0]) for states in windows])
    within = torch.cat([_cosine(states[:, :-1], states[:, 1:]).flatten() for states in windows])
    return float(boundary.mean()), float(within.mean())


def _layers(model: StreamingThinker, reading: Reading) -> dict[str, Tensor]:
    """Return layer → states (chunks, slots, width)."""
    states: dict[str, Tensor] = {}
    tower, decoder = model.model.audio_tower, model.model.language_model
    hooks = [
        tower.ln_post.register_forward_hook(lambda module, given, out: states.__setitem__("encoder", out)),
        tower.proj.register_forward_hook(lambda module, given, out: states.__setitem__("projector", out)),
    ]
    for number, layer in enumerate(decoder.layers):
        hooks.append(layer.register_forward_hook(_keep(states, f"layer {number}")))
    try:
        model.hidden(embedded(model, reading))
    finally:
        for hook in hooks:
            hook.remove()
    at = reading.audio_at.to(model.device)
    return {name: value if name in ("encoder", "projector") else value[0][at] for name, value in states.items()}


def _keep(states: dict[str, Tensor], name: str) -> Any:
    def hook(module: Any, given: Any, out: Any) -> None:
        states[name] = out[0] if isinstance(out, tuple) else out

    return hook


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(first, second, dim=-1)
