"""The pretended GPU fails where CUDA would fail, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.pretended_gpu import pretended_gpu


def test_tensors_are_where_the_program_put_them() -> None:
    with pretended_gpu() as gpu:
        here = torch.arange(3.0)
        there = here.to(gpu)
        assert (here.device.type, there.device, (there + 1).device, there.cpu().device.type) == ("cpu", gpu, gpu, "cpu")
        assert torch.zeros(2, device="cuda").is_cuda and torch.as_tensor(here, device=gpu).is_cuda
        assert there.to(torch.float64).is_cuda and there[1:].is_cuda and here.to(there).is_cuda
        assert nn.Linear(3, 2).to(gpu)(there).is_cuda
        assert there.sum().item() == 3.0 and there.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "fault",
    [
        lambda here, there: here + there,
        lambda here, there: torch.cat([here, there]),
        lambda here, there: nn.Linear(3, 2)(there),
        lambda here, there: there.masked_fill(here > 0, 0.0),
        lambda here, there: here[there.long()],
        lambda here, there: functional.embedding(here.long(), there[:, None]),
        lambda here, there: there.index_select(0, here.long()),
        lambda here, there: torch.searchsorted(there, here),
    ],
)
def test_operands_on_two_devices_are_refused(fault: object) -> None:
    with pretended_gpu() as gpu, pytest.raises(RuntimeError, match="device"):
        here = torch.arange(3.0)
        fault(here, here.to(gpu))  # type: ignore[operator]


def test_numpy_needs_a_copy_on_the_host() -> None:
    with pretended_gpu() as gpu:
        there = torch.ones(3, device=gpu)
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            there.numpy()
        assert there.cpu().numpy().sum() == 3.0


def test_what_cuda_accepts_is_accepted() -> None:
    with pretended_gpu() as gpu:
        there = torch.arange(3.0, device=gpu)
        assert (there * torch.tensor(2.0)).is_cuda, "a CPU scalar"
        assert there[torch.tensor([0, 1])].is_cuda, "a CPU index into a GPU tensor"
        there[torch.tensor([0])] = 5.0
        assert there.tolist() == [5.0, 1.0, 2.0]


def test_gradients_are_on_the_device_of_their_parameters() -> None:
    with pretended_gpu() as gpu:
        layer = nn.Linear(3, 2).to(gpu)
        layer(torch.ones(4, 3, device=gpu)).square().sum().backward()
        assert layer.weight.grad is not None and layer.weight.grad.is_cuda
        torch.optim.AdamW(layer.parameters()).step()
        assert layer.weight.is_cuda


def test_nothing_is_pretended_after_the_block() -> None:
    with pretended_gpu() as gpu:
        torch.ones(3, device=gpu)
    assert not torch.cuda.is_available() and torch.ones(3).device.type == "cpu"
