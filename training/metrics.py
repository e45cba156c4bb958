"""What is told about a step, and the arithmetic of speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.base import Schema
from soundflow.training.batches import Batch
from soundflow.training.freezing import count

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16, from the vendors' data sheets."""


class StepLog(Schema):
    """One line of RUN/log.jsonl: means over the steps since the last line."""

    step: int
    l_lm: float | None
    """Mean cross-entropy of a text token; None when there was none."""
    l_stream: float | None
    trigger_precision: float | None
    """Of chunks where <response> beat <silent> (teacher-forced): how many should respond. None when there was none."""
    trigger_recall: float | None
    silence_share: float
    """Chunks where <silent> won."""
    learning_rate: float
    grad_norm: float
    tokens: int
    """Since the beginning, without padding."""
    windows: int
    masked: int
    """Text labels the model has no row for, since the last line."""
    tokens_per_second: float
    mfu: float
    seconds: float
    """Wall time since this process began."""

    def describe(self) -> str:
        """For people, in a line."""
        figures = [("L_LM", self.l_lm), ("L_stream", self.l_stream), ("P", self.trigger_precision), ("R", self.trigger_recall)]
        told = [f"{name} {value:.3f}" for name, value in figures if value is not None]
        return ", ".join([*told, f"{self.tokens_per_second:.0f} tokens/s"])


@dataclass(slots=True)
class Sums:
    """Totals that add up over micro-batches and processes."""

    lm: float = 0.0
    stream: float = 0.0
    lm_labels: float = 0.0
    stream_labels: float = 0.0
    hits: float = 0.0
    """<response> won and was right."""
    triggers: float = 0.0
    due: float = 0.0
    tokens: float = 0.0
    windows: float = 0.0
    masked: float = 0.0
    flops: float = 0.0

    def values(self) -> list[float]:
        """In the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The inverse of `values`; nothing gives zeros."""
        return cls(*values)

    def add(self, other: Sums) -> None:
        """Add other totals."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def count(self, batch: Batch, out: dict[str, Tensor], response_row: int) -> None:
        """Add one micro-batch and what the model made of it."""
        won = (out["control"][:, 1] > out["control"][:, 0]).cpu()
        due = torch.from_numpy(batch.stream_rows == response_row)
        figures = (out["lm"], out["stream"], len(batch.lm_rows), len(batch.stream_rows), (won & due).sum(), won.sum(), due.sum())
        self.add(Sums.of([*(float(figure) for figure in figures), batch.tokens, batch.windows, batch.masked]))


class Speed:
    """Floating-point operations of a step, and what the device could do."""

    def __init__(self, model: StreamingThinker, device: torch.device, processes: int):
        """Forward 2 per weight and token, backward 2 for activations and 2 for weights that move (attention's own left out)."""
        language, tower = model.model.language_model, model.model.audio_tower
        body, head, audio = list(language.layers.parameters()), list(model.lm_head.parameters()), list(tower.parameters())
        self.per_token, self.per_label, self.per_frame = (_flops(part) for part in (body, head, audio))
        self.peak = _peak(device) * processes

    def flops(self, batch: Batch) -> float:
        """Of one micro-batch; the encoder's layers work at half the frame rate of the mel."""
        frames = batch.mel.shape[0] * batch.mel.shape[2] / 2
        labels = len(batch.lm_at) + len(batch.stream_at)
        return float(batch.tokens * self.per_token + labels * self.per_label + frames * self.per_frame)


def _flops(parameters: list[torch.nn.Parameter]) -> float:
    return 4.0 * count(parameters) + 2.0 * count(parameter for parameter in parameters if parameter.requires_grad)


def _peak(device: torch.device) -> float:
    """FLOP/s from the data sheet, or of a matrix product measured here."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = [peak for gpu, peak in PEAK_FLOPS.items() if gpu in name]
        if known:
            return float(known[0])
    a = torch.ones(512, 512, device=device)
    for _ in range(3):
        a @ a
    begin = time.perf_counter()
    for _ in range(10):
        a @ a
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 20.0 * 512**3 / (time.perf_counter() - begin)
