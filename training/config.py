"""The configuration of a training stage, a YAML file. `training/presets` holds the paper's stages and small ones for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.suggest import did_you_mean

Beta = Annotated[float, Field(ge=0, lt=1)]
Group = Literal["lm_head", "new_tokens", "adapter", "lm", "audio_encoder"]
PRESETS: Final = Path(__file__).parent / "presets"


class DrainConfig(Schema):
    """Drain-aware samples: after a response, several chunks are waiting for the decoder."""

    probability: float = Field(0.7, ge=0, le=1)
    """Probability that a run of chunks is grouped after a response."""
    longest: int = Field(4, ge=1, le=c.WINDOW_CHUNKS)
    """Maximum number of chunks in a run; the length is drawn from 1 to this."""


class StageConfig(Schema):
    """One training stage: what is trained, how fast, for how long and on how much at a time."""

    name: str
    """Name of the stage, for logs and reports."""
    about: str = ""
    """Description of the stage, for logs and reports."""
    trainable: Annotated[tuple[Group, ...], Field(min_length=1)]
    """Parts of the model that are trained. Everything else stays bit for bit what it was."""
    learning_rate: float = Field(gt=0, le=1)
    """Peak learning rate, after warm-up; a cosine follows."""
    steps: int = Field(gt=0)
    """Number of optimizer steps."""
    effective_batch: int = Field(gt=0)
    """Windows per optimizer step, over all processes and accumulated passes."""
    micro_batch: int = Field(gt=0)
    """Windows per forward pass and process."""
    loss_weight: float = Field(1.0, ge=0)
    """λ of the dual loss L_LM + λ L_stream."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps during which the learning rate rises."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """AdamW's β1 and β2."""
    epsilon: float = Field(1e-8, gt=0)
    """AdamW's ε."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Norm to which gradients are clipped."""
    window_chunks: int = Field(c.WINDOW_CHUNKS, ge=1)
    """Maximum number of chunks of a training window (paper: L_max). Longer streams are cut at turn boundaries."""
    drain: DrainConfig | None = None
    """Drain-aware samples; null is none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Floating-point format of the forward and backward pass."""
    checkpointing: bool = False
    """Whether activations are recomputed in the backward pass instead of being kept."""
    packing: bool = False
    """Whether the windows of a micro-batch are packed into one sequence, which needs variable-length attention, instead of being
    padded."""
    save_every: int = Field(500, gt=0)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """Number of checkpoints that are kept."""
    log_every: int = Field(10, gt=0)
    """Steps between lines of the log."""

    def accumulation(self, processes: int) -> int:
        """Return the forward passes per step and process. Raises InputError if the effective batch cannot be divided."""
        passes, rest = divmod(self.effective_batch, self.micro_batch * processes)
        if rest or not passes:
            why = f"is not a multiple of {self.micro_batch} (micro_batch) x {processes} (processes)"
            raise InputError(why, field="effective_batch", value=self.effective_batch, remedy="Change one of the three values")
        return passes


def load_stage(name: str | Path) -> StageConfig:
    """Return a preset by name (`1`, `cpu/3`) or a stage read from a YAML file.

    Raises:
        InputError: There is neither a preset nor a file of this name.
    """
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else PRESETS / f"{name}.yaml"
    if not path.is_file() and path.is_relative_to(PRESETS):
        known = sorted(str(file.relative_to(PRESETS).with_suffix("")) for file in PRESETS.rglob("*.yaml"))
        remedy = f"{did_you_mean(name, known)} Presets: {', '.join(known)}; or name a YAML file".strip()
        raise InputError("unknown preset", field="--stage", value=str(name), remedy=remedy)
    return StageConfig.from_yaml(path)
