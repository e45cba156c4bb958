"""Keys and values of many streams in one place, so that one forward pass can extend several of them.

Each stream has a seat: a row of every layer's tensors, used up to its own length. A pass over some seats reads right-padded rows:
what padding writes lies past a seat's length, where the next pass writes again and no mask looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

GROWTH: Final = 512
"""Positions; capacity is a multiple of it."""


class SeatedCache:
    """A cache with so many seats; memory grows to the longest stream there was, and stays."""

    def __init__(self, seats: int = 1):
        self.lengths = [0] * seats
        """Positions written, by seat."""
        self._free = list(range(seats))[::-1]
        self._layers: list[tuple[Tensor, Tensor]] = []

    def take(self) -> int:
        """A free seat, empty; raises IndexError when there is none."""
        return self._free.pop()

    def leave(self, seat: int) -> None:
        """Give it back."""
        self.clear(seat)
        self._free.append(seat)

    @torch.inference_mode()
    def clear(self, seat: int) -> None:
        """Forget a stream. Its memory is wiped: a NaN would go through any mask, since 0 x NaN is NaN."""
        for keys, values in self._layers:
            keys[seat].zero_()
            values[seat].zero_()
        self.lengths[seat] = 0

    def extend(self, seats: Sequence[int], counts: Sequence[int], device: torch.device) -> SeatedPass:
        """One forward pass that writes `counts[i]` positions to `seats[i]`, as rows padded to the longest."""
        return SeatedPass(self, seats, counts, device)

    def write(self, layer: int, at: SeatedPass, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (seats, heads, positions, dim) of a layer; return all that those seats have."""
        if layer == len(self._layers):
            empty = keys.new_zeros(len(self.lengths), keys.shape[1], 0, keys.shape[3])
            self._layers.append((empty, values.new_zeros(*empty.shape[:3], values.shape[3])))
        if self._layers[layer][0].shape[2] < at.longest:
            room = -(-at.longest // GROWTH) * GROWTH
            first, second = (_grown(tensor, room) for tensor in self._layers[layer])
            self._layers[layer] = first, second
        held = self._layers[layer]
        for stored, new in zip(held, (keys, values), strict=True):
            if at.alone is not None:
                stored[at.alone, :, at.begin : at.longest] = new[0]
            else:
                stored[at.rows[:, None], :, at.places] = new.transpose(1, 2)
        if at.alone is not None:
            return held[0][at.alone : at.alone + 1, :, : at.longest], held[1][at.alone : at.alone + 1, :, : at.longest]
        return held[0][at.rows, :, : at.longest], held[1][at.rows, :, : at.longest]


class SeatedPass:
    """What the language model gets as its cache in one pass, with the positions and the mask that belong to it."""

    def __init__(self, cache: SeatedCache, seats: Sequence[int], counts: Sequence[int], device: torch.device):
        begins = [cache.lengths[seat] for seat in seats]
        self._cache, width = cache, max(counts)
        self.alone = seats[0] if len(seats) == 1 else None
        """The seat when there is one: its memory is used as it lies."""
        self.begin, self.longest = begins[0], max(begins) + width
        self.rows = torch.tensor(seats, device=device)
        self.places = torch.tensor(begins, device=device)[:, None] + torch.arange(width, device=device)
        """(seats, width)"""
        self.positions = self.places.expand(3, -1, -1)
        """The three rows of M-RoPE are equal: there is no picture."""
        unmasked = self.alone is not None and (width == 1 or self.begin == 0)
        seen = None if unmasked else (torch.arange(self.longest, device=device) <= self.places[..., None])[:, None]
        self.mask = {"full_attention": seen}
        """(seats, 1, width, longest), True where a position may look; None for plain causal attention."""
        for seat, count in zip(seats, counts, strict=True):
            cache.lengths[seat] += count

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Called by each layer's attention."""
        return self._cache.write(layer, self, keys, values)


def _grown(tensor: Tensor, room: int) -> Tensor:
    grown = tensor.new_zeros(*tensor.shape[:2], room, tensor.shape[3])
    grown[:, :, : tensor.shape[2]] = tensor
    return grown
