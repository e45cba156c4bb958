"""Estimates of a training stage, computed on the meta device: parameters by group and memory per GPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import torch

from soundflow.model.presets import PRESETS, check_preset, preset
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas import constants as c
from soundflow.schemas.tokens import SOUNDFLOW
from soundflow.training.config import Group, StageConfig
from soundflow.training.freezing import count, freeze, parts

TEXT_SHARE: Final = 0.15
"""Supervised text tokens per audio or control token, a generous guess."""


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Parameters and memory of one stage on `processes` GPUs. All byte counts are per GPU."""

    stage: str
    processes: int
    parameters: int
    """Parameters of the model."""
    moving: int
    """Parameters that are trained."""
    groups: dict[str, int]
    """Parameters per group. Groups overlap: `lm` includes `lm_head` and `new_tokens`."""
    tokens_per_step: int
    weights: int
    """Sharded fp32 master weights and the gathered bf16 copy."""
    gradients: int
    optimizer: int
    activations: int
    """The input of every layer, one recomputed layer, and the logits of supervised positions."""

    @property
    def total(self) -> int:
        """Bytes per GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the total."""
        return asdict(self) | {"total": self.total}

    def lines(self) -> list[str]:
        """Return lines of text."""
        groups = ", ".join(f"{name} {size / 1e6:,.2f} M" for name, size in self.groups.items())
        figures = ("weights", "gradients", "optimizer", "activations", "total")
        memory = ", ".join(f"{name} {getattr(self, name) / 2**30:.1f} GiB" for name in figures)
        return [
            f"{self.stage}: {self.moving / 1e6:,.2f} M of {self.parameters / 1e6:,.2f} M parameters are trained ({groups})",
            f"  per GPU of {self.processes}: {memory}",
        ]


def meta_model(name: str) -> StreamingThinker:
    """Create a preset on the meta device, without memory. Raises InputError for an unknown name."""
    check_preset(name)
    with torch.device("meta"):
        compact = None if "vocab_size" in PRESETS[name]["text"] else ()
        return StreamingThinker(preset(name, StreamingConfig(layout=SOUNDFLOW.id, text_ids=compact)))


def estimate(model: StreamingThinker, stage: StageConfig, processes: int) -> TrainingEstimate:
    """Freeze `model` as the stage does and add up. Raises InputError if the effective batch cannot be divided."""
    stage.accumulation(processes)
    parameters, trained = count(model.parameters()), count(freeze(model, stage.trainable))
    text = model.config.text_config
    tokens = round(stage.window_chunks * (c.AUDIO_SLOTS_PER_CHUNK + 1) * (1 + TEXT_SHARE)) * stage.micro_batch
    labels = round(stage.window_chunks * stage.micro_batch * (1 + TEXT_SHARE * (c.AUDIO_SLOTS_PER_CHUNK + 1)))
    kept = tokens * text.hidden_size * (text.num_hidden_layers + 1) * 2
    one_layer = tokens * (6 * text.hidden_size + 3 * text.intermediate_size) * 2
    audio = stage.micro_batch * stage.window_chunks * model.streaming.chunk_frames * model.config.audio_config.d_model
    return TrainingEstimate(
        stage=stage.name,
        processes=processes,
        parameters=parameters,
        moving=trained,
        groups={group: count(parts(model, group)) for group in get_args(Group)},
        tokens_per_step=tokens * stage.accumulation(processes) * processes,
        weights=4 * parameters // processes + 2 * parameters,
        gradients=4 * trained // processes,
        optimizer=8 * trained // processes,
        activations=kept + one_layer + 2 * labels * text.vocab_size * 4 + audio * (model.config.audio_config.encoder_layers + 6),
    )
