"""The dual loss (paper, 3.3): L = L_LM + λ L_stream, each the mean over its own positions.

The paper writes a common 1/N. The rarer term then learns more slowly (measured), so each term has its own count. One root module
holds the model and returns the loss, so that FSDP2 gives every parameter the same gradient as a single process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundflow.model.thinker import StreamingThinker
from soundflow.training.batches import Batch


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """A `Batch` as tensors on the device of the model; shapes as there."""

    rows: Tensor
    mel: Tensor
    stream_at: Tensor
    stream_rows: Tensor
    lm_at: Tensor
    lm_rows: Tensor
    positions: Tensor | None

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> DeviceBatch:
        """Copy a batch to a device."""
        arrays = (batch.rows, batch.mel, batch.stream_at, batch.stream_rows, batch.lm_at, batch.lm_rows, batch.positions)
        return cls(*(None if array is None else torch.from_numpy(array).to(device, non_blocking=True) for array in arrays))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one label's cross-entropy in the loss: 1 / text labels and λ / control labels of the step."""

    lm: float
    stream: float


class DualLoss(nn.Module):
    """The model and its loss, as one module."""

    def __init__(self, model: StreamingThinker):
        super().__init__()
        self.model = model

    def forward(self, batch: DeviceBatch, weights: Weights) -> dict[str, Tensor]:
        """Return `loss`, the summed cross-entropies `lm` and `stream`, and `control`, logits (S, 2) of <silent> and <response>.

        Only supervised positions (about one in nine) go through the LM head.
        """
        model = self.model
        audio = model.encode_chunks(batch.mel)
        embeddings = model.embed(batch.rows, audio)
        hidden = model.hidden(embeddings, positions=batch.positions).flatten(0, 1)
        at = torch.cat([batch.lm_at, batch.stream_at])
        logits = model.logits(hidden[at]).float()
        losses = functional.cross_entropy(logits, torch.cat([batch.lm_rows, batch.stream_rows]), reduction="none")
        lm, stream = (part.sum() for part in torch.split(losses, [len(batch.lm_at), len(batch.stream_at)]))
        control = logits.detach()[len(batch.lm_at) :, [model.silent_row, model.response_row]]
        return {
            "loss": weights.lm * lm + weights.stream * stream,
            "lm": lm.detach(),
            "stream": stream.detach(),
            "control": control,
        }
