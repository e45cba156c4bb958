"""What a stage costs before anybody has a GPU: parameters by group and memory per GPU, on the meta device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import torch

from soundflow.model.presets import PRESETS, preset
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas import constants as c
from soundflow.schemas.tokens import SOUNDFLOW
from soundflow.training.config import Group, StageConfig
from soundflow.training.freezing import count, freeze, parts

TEXT_SHARE: Final = 0.15
"""Text tokens beside the eleven of each chunk, and supervised positions beside them: a generous guess."""


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Of one stage on so many GPUs. Bytes are per GPU."""

    stage: str
    processes: int
    parameters: int
    moving: int
    groups: dict[str, int]
    """Parameters of every group; groups overlap (`lm` holds `lm_head` and `new_tokens`)."""
    tokens_per_step: int
    weights: int
    """fp32 master weights, sharded, and the gathered bf16 copy."""
    gradients: int
    optimizer: int
    activations: int
    """With every layer's input kept and one layer recomputed at a time, plus the logits of supervised positions."""

    @property
    def total(self) -> int:
        """Bytes per GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self) | {"total": self.total}

    def lines(self) -> list[str]:
        """For people."""
        moving = ", ".join(f"{name} {size / 1e6:,.2f} M" for name, size in self.groups.items())
        parts_ = ("weights", "gradients", "optimizer", "activations", "total")
        memory = ", ".join(f"{name} {getattr(self, name) / 2**30:.1f} GiB" for name in parts_)
        return [
            f"{self.stage}: {self.moving / 1e6:,.2f} M of {self.parameters / 1e6:,.2f} M parameters move ({moving})",
            f"  per GPU of {self.processes}: {memory}",
        ]


def meta_model(name: str) -> StreamingThinker:
    """A preset's shapes without memory."""
    with torch.device("meta"):
        compact = None if "vocab_size" in PRESETS[name]["text"] else ()
        return StreamingThinker(preset(name, StreamingConfig(layout=SOUNDFLOW.id, text_ids=compact)))


def estimate(model: StreamingThinker, stage: StageConfig, processes: int) -> TrainingEstimate:
    """Freeze `model` as the stage does and add up. InputError when the stage's batch does not divide."""
    stage.accumulation(processes)
    everything, moving = count(model.parameters()), count(freeze(model, stage.trainable))
    text = model.config.text_config
    tokens = round(stage.window_chunks * (c.AUDIO_SLOTS_PER_CHUNK + 1) * (1 + TEXT_SHARE)) * stage.micro_batch
    labels = round(stage.window_chunks * stage.micro_batch * (1 + TEXT_SHARE * (c.AUDIO_SLOTS_PER_CHUNK + 1)))
    kept = tokens * text.hidden_size * (text.num_hidden_layers + 1) * 2
    one_layer = tokens * (6 * text.hidden_size + 3 * text.intermediate_size) * 2
    audio = stage.micro_batch * stage.window_chunks * model.streaming.chunk_frames * model.config.audio_config.d_model
    return TrainingEstimate(
        stage=stage.name,
        processes=processes,
        parameters=everything,
        moving=moving,
        groups={group: count(parts(model, group)) for group in get_args(Group)},
        tokens_per_step=tokens * stage.accumulation(processes) * processes,
        weights=4 * everything // processes + 2 * everything,
        gradients=4 * moving // processes,
        optimizer=8 * moving // processes,
        activations=kept + one_layer + 2 * labels * text.vocab_size * 4 + audio * (model.config.audio_config.encoder_layers + 6),
    )
