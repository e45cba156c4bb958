"""The figures of a training step: losses, trigger precision and recall, throughput."""

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
"""Peak FLOP/s in dense bf16 by GPU, from the vendors' data sheets."""


class StepLog(Schema):
    """One line of RUN/log.jsonl: means over the steps since the previous line."""

    step: int
    l_lm: float | None
    """Mean cross-entropy of text tokens; None without any."""
    l_stream: float | None
    """Mean cross-entropy of control tokens."""
    trigger_precision: float | None
    """Share of chunks with <response> above <silent> (teacher-forced) that should respond; None without any."""
    trigger_recall: float | None
    """Share of chunks that should respond with <response> above <silent>; None without any."""
    silence_share: float
    """Share of chunks with <silent> above <response>."""
    learning_rate: float
    grad_norm: float
    """Norm of the last step's gradient before clipping."""
    tokens: int
    """Tokens since the first step, without padding."""
    windows: int
    """Windows since the first step."""
    masked: int
    """Text labels without a row in the vocabulary since the previous line."""
    tokens_per_second: float
    mfu: float
    """Model FLOPs utilisation, an estimate."""
    seconds: float
    """Seconds since this process began to train."""

    def describe(self) -> str:
        """Return the figures as one line of text."""
        figures = [("L_LM", self.l_lm), ("L_stream", self.l_stream), ("P", self.trigger_precision), ("R", self.trigger_recall)]
        shown = [f"{name} {value:.3f}" for name, value in figures if value is not None]
        return ", ".join([*shown, f"{self.tokens_per_second:.0f} tokens/s"])


@dataclass(slots=True)
class Sums:
    """Totals over micro-batches and processes."""

    lm: float = 0.0
    """Cross-entropy of text tokens."""
    stream: float = 0.0
    """Cross-entropy of control tokens."""
    lm_labels: float = 0.0
    stream_labels: float = 0.0
    hits: float = 0.0
    """Chunks that should respond with <response> above <silent>."""
    triggers: float = 0.0
    """Chunks with <response> above <silent>."""
    due: float = 0.0
    """Chunks that should respond."""
    tokens: float = 0.0
    windows: float = 0.0
    masked: float = 0.0
    flops: float = 0.0

    def values(self) -> list[float]:
        """Return the totals in the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Create totals from `values()`; an empty sequence gives zeros."""
        return cls(*values)

    def add(self, other: Sums) -> None:
        """Add other totals."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def count(self, batch: Batch, out: dict[str, Tensor], response_row: int) -> None:
        """Add one micro-batch and the outputs of `DualLoss` for it."""
        triggers = (out["control"][:, 1] > out["control"][:, 0]).cpu()
        due = torch.from_numpy(batch.stream_rows == response_row)
        losses = (out["lm"], out["stream"], len(batch.lm_rows), len(batch.stream_rows))
        figures = (*losses, (triggers & due).sum(), triggers.sum(), due.sum())
        self.add(Sums.of([*(float(figure) for figure in figures), batch.tokens, batch.windows, batch.masked]))


class Speed:
    """Floating-point operations of a model, and the peak of its devices."""

    def __init__(self, model: StreamingThinker, device: torch.device, processes: int):
        """Count 2 FLOPs per weight and token forward, 2 backward, and 2 more for trained weights; attention is left out."""
        language, tower = model.model.language_model, model.model.audio_tower
        body, head, audio = list(language.layers.parameters()), list(model.lm_head.parameters()), list(tower.parameters())
        self.per_token, self.per_label, self.per_frame = (_flops(part) for part in (body, head, audio))
        self.peak = _peak(device) * processes

    def flops(self, batch: Batch) -> float:
        """Return the FLOPs of one micro-batch. The encoder's layers run at half the frame rate of the mel."""
        frames = batch.mel.shape[0] * batch.mel.shape[2] / 2
        labels = len(batch.lm_at) + len(batch.stream_at)
        return float(batch.tokens * self.per_token + labels * self.per_label + frames * self.per_frame)


def _flops(parameters: list[torch.nn.Parameter]) -> float:
    return 4.0 * count(parameters) + 2.0 * count(parameter for parameter in parameters if parameter.requires_grad)


def _peak(device: torch.device) -> float:
    """Return FLOP/s from the data sheet, or measure a matrix product."""
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
