"""A KV cache of many streams, so that one forward pass can extend several of them.

Each stream has a seat: a row of every layer's key and value tensors, used up to the stream's own length. A pass over several
seats is right-padded. Padding writes past a seat's length, where no mask looks and the next pass overwrites it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

GROWTH: Final = 512
"""Capacity in positions grows in steps of this."""


class SeatedCache:
    """Keys and values (seats, heads, positions, dim) of every layer. Memory grows to the longest stream so far and stays."""

    def __init__(self, seats: int = 1):
        self.lengths = [0] * seats
        """Positions written, per seat."""
        self._free = list(range(seats))[::-1]
        self._layers: list[tuple[Tensor, Tensor]] = []

    def acquire(self) -> int:
        """Return an empty seat; raises IndexError when none is free."""
        return self._free.pop()

    def release(self, seat: int) -> None:
        """Clear a seat and make it free."""
        self.clear(seat)
        self._free.append(seat)

    @torch.inference_mode()
    def clear(self, seat: int) -> None:
        """Remove a stream. Its memory is zeroed, because a NaN passes any mask: 0 x NaN is NaN."""
        for keys, values in self._layers:
            keys[seat].zero_()
            values[seat].zero_()
        self.lengths[seat] = 0

    def extend(self, seats: Sequence[int], counts: Sequence[int], device: torch.device) -> SeatedPass:
        """Begin a forward pass that writes `counts[i]` positions to `seats[i]`, rows padded to the longest."""
        return SeatedPass(self, seats, counts, device)

    def write(self, layer: int, at: SeatedPass, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (seats, heads, positions, dim) of a layer; return all keys and values of those seats."""
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
    """The cache argument of the language model for one pass, with its positions and mask."""

    def __init__(self, cache: SeatedCache, seats: Sequence[int], counts: Sequence[int], device: torch.device):
        begins = [cache.lengths[seat] for seat in seats]
        self._cache, width = cache, max(counts)
        self.alone = seats[0] if len(seats) == 1 else None
        """The seat when there is only one: its memory is used without a copy."""
        self.begin, self.longest = begins[0], max(begins) + width
        self.rows = torch.tensor(seats, device=device)
        self.places = torch.tensor(begins, device=device)[:, None] + torch.arange(width, device=device)
        """Positions written by this pass, (seats, width)."""
        self.positions = self.places.expand(3, -1, -1)
        """(3, seats, width). The three rows of M-RoPE are equal, since there is no image."""
        unmasked = self.alone is not None and (width == 1 or self.begin == 0)
        visible = None if unmasked else (torch.arange(self.longest, device=device) <= self.places[..., None])[:, None]
        self.mask = {"full_attention": visible}
        """Bool (seats, 1, width, longest), True where a position may attend; None for plain causal attention."""
        for seat, count in zip(seats, counts, strict=True):
            cache.lengths[seat] += count

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Store and return keys and values; called by the attention of each layer."""
        return self._cache.write(layer, self, keys, values)


def _grown(tensor: Tensor, room: int) -> Tensor:
    grown = tensor.new_zeros(*tensor.shape[:2], room, tensor.shape[3])
    grown[:, :, : tensor.shape[2]] = tensor
    return grown
