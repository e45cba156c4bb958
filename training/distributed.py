"""Training in one process or several: FSDP2 of torch, and sums over processes.

Accelerate's FSDP2 plugin is not used: on CPUs it silently falls back to independent ranks (measured).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from soundflow.training.objective import DualLoss


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that share a run, and the device of this one."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and output."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Return element-wise sums over all processes."""
        if self.count == 1:
            return [float(value) for value in values]
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def barrier(self) -> None:
        """Wait until every process has arrived here."""
        if self.count > 1:
            dist.barrier()


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """Join the processes started by `torchrun`; without it, this process is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def shard(objective: DualLoss, processes: Processes, bf16: bool) -> None:
    """Shard parameters, gradients and optimizer state over the processes, in place.

    Decoder layers are gathered one at a time, everything else with the root. Only the root module is called: parts sharded as
    roots of their own would receive no gradient.
    """
    if processes.count == 1:
        return
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else MixedPrecisionPolicy()
    for layer in objective.model.model.language_model.layers:
        fully_shard(layer, mp_policy=policy, reshard_after_forward=False)
    fully_shard(objective, mp_policy=policy, reshard_after_forward=False)
