"""Where a model runs and in which precision: one notion for training, evaluation, serving and benches."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

import torch

from soundflow.schemas.base import InputError

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of a model and the type of its weights."""

    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    dtype: torch.dtype = torch.float32

    @property
    def precision(self) -> str:
        """The name of the type, as in `--dtype`."""
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)

    @classmethod
    def of(cls, device: str = "auto", dtype: str = "auto") -> Placement:
        """Resolve the values of `--device` (auto, cpu, cuda, cuda:N) and `--dtype` (auto, fp32, bf16).

        `auto` is the first GPU and bf16 where there is one, else the CPU and fp32; under torchrun, each process has the GPU of
        its local rank. Raises InputError for other values, or if there is no such GPU.
        """
        where = _device(device)
        if dtype not in ("auto", *DTYPES):
            raise InputError("unknown precision", field="--dtype", value=dtype, remedy="Use auto, fp32 or bf16")
        if dtype == "auto":
            dtype = "bf16" if where.type == "cuda" else "fp32"
        return cls(where, DTYPES[dtype])


def _device(name: str) -> torch.device:
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise InputError("unknown device", field="--device", value=name, remedy="Use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    index = int(match[1] or os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        has = f"this machine has {count} GPU{'s' * (count > 1)}" if count else "PyTorch finds no GPU on this machine"
        remedy = f"Use cuda:0 to cuda:{count - 1}" if count else "Use --device cpu, or install a PyTorch build that fits the GPU"
        raise InputError(f"there is no such GPU: {has}", field="--device", value=name, remedy=remedy)
    return torch.device("cuda", index)
