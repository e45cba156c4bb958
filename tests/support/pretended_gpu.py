"""A pretended GPU on a machine without one: CPU tensors of which some storages count as lying on cuda:0.

Two modes of torch do it. `_Calls` handles what a program asks and says about devices (`.device`, `.to`, `device=`, `.numpy()`)
before torch, which has no CUDA, reads it. `_Kernels` sees every kernel, those of the backward pass included. It raises where
operands on different devices would fail on a GPU, and puts results where CUDA would put them.

Limits: modes are per thread, so everything under test runs in the thread of the test. `torch.autocast("cuda")` has no effect.
Real CUDA accepts CPU index tensors and CPU scalars, and so does this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU: Final = torch.device("cuda", 0)
CPU: Final = torch.device("cpu")
META: Final = torch.device("meta")
CROSSING: Final = ("aten::copy_", "aten::_to_copy", "aten::set_")
"""Kernels whose operands may lie on different devices."""


class _Storages:
    """The storages on the GPU. They are kept alive, so that no address comes twice."""

    def __init__(self) -> None:
        self.held: dict[int, torch.UntypedStorage] = {}

    def device_of(self, tensor: Tensor) -> torch.device:
        if tensor.is_meta:
            return META
        return GPU if tensor.untyped_storage()._cdata in self.held else CPU

    def put(self, tensor: Tensor, device: torch.device) -> Tensor:
        storage = tensor.untyped_storage()
        if device.type == "cuda":
            self.held[storage._cdata] = storage
        else:
            self.held.pop(storage._cdata, None)
        return tensor


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and not leaf.is_meta]


class _Kernels(TorchDispatchMode):
    """Checks the devices of every kernel's operands and gives its results one."""

    def __init__(self, storages: _Storages):
        super().__init__()
        self.storages = storages

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, where = func._schema.name, self.storages.device_of
        given = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, Tensor) and not one.is_meta]
        is_indexing = "index" in name and "index_select" not in name
        operands = [
            one for one in ([args[0], *args[2:3]] if is_indexing else given) if isinstance(one, Tensor) and not one.is_meta
        ]
        devices = {where(one) for one in operands if one.dim() or where(one) == GPU}
        if len(devices) > 1 and name not in CROSSING:
            shapes = [(str(where(one)), tuple(one.shape)) for one in given]
            raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two: {name} {shapes}")
        if name == "aten::index" and GPU not in devices and any(where(one) == GPU for one in given):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        result = func(*args, **(kwargs or {}))
        is_on_gpu = where(args[0]) == GPU if name in CROSSING else GPU in devices
        made_by_autograd = not given and torch._C._current_graph_task_id() != -1
        if is_on_gpu or made_by_autograd:
            for one in _tensors(result):
                self.storages.put(one, GPU)
        return result


class _Calls(TorchFunctionMode):
    """Answers and carries out what the program says about devices."""

    def __init__(self, storages: _Storages):
        super().__init__()
        self.storages = storages

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, where = dict(kwargs or {}), self.storages.device_of
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return where(args[0])
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return where(args[0]) == GPU
        if func in (Tensor.numpy, Tensor.__array__) and where(args[0]) == GPU:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if func in (Tensor.cpu, Tensor.cuda):
            return self._moved(args[0], CPU if func == Tensor.cpu else GPU, [], {})
        device, rest = kwargs.pop("device", None), list(args)
        if func == Tensor.to and len(rest) > 1:
            if isinstance(rest[1], str | torch.device):
                device = rest.pop(1)
            elif isinstance(rest[1], Tensor):
                device, rest[1] = where(rest[1]), rest[1].dtype
        if device is None or torch.device(device).type not in ("cuda", "cpu"):
            return func(*rest, **kwargs, **({} if device is None else {"device": device}))
        device = torch.device(device)
        if device.type == "cuda" and kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if func == Tensor.to or (func is torch.as_tensor and isinstance(rest[0], Tensor)):
            kwargs.pop("non_blocking", None)
            return self._moved(rest[0], device, [one for one in rest[1:] if isinstance(one, torch.dtype)], kwargs)
        return self.storages.put(func(*rest, **kwargs, device=CPU), device)

    def _moved(self, tensor: Tensor, device: torch.device, args: list[Any], kwargs: dict[str, Any]) -> Tensor:
        result = Tensor.to(tensor, *args, **kwargs) if args or kwargs else tensor
        if self.storages.device_of(result).type == device.type or result.is_meta:
            return result
        is_shared = result.untyped_storage()._cdata == tensor.untyped_storage()._cdata
        return self.storages.put(result.clone() if is_shared else result, device)


@contextlib.contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Pretend one GPU, cuda:0, in this thread for the length of the block; yield it."""
    storages = _Storages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        patch.setattr(torch.cuda, "get_device_name", lambda device=None: "pretended")
        patch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        with _Kernels(storages), _Calls(storages):
            yield GPU
