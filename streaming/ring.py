"""A queue of records in shared memory: one writer process, one reader process, no lock, no pickling.

Each side moves only its own counter, after the record is complete. Neither can block the other, and a side that is killed leaves
nothing locked. Records are rows of a numpy structured array with a field `epoch` that never decreases: a reader that has not
received the command to open a new session yet leaves the records of that session in the queue.
"""

from __future__ import annotations

from multiprocessing import shared_memory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_COUNTERS = 2 * 8
"""Bytes of the two counters: records written, records read."""


class Ring:
    """A ring of `capacity` records of `dtype`. The process that `create`s it also unlinks it; others `attach` by name."""

    def __init__(self, memory: shared_memory.SharedMemory, capacity: int, dtype: np.dtype[Any]):
        self._memory, self.capacity, self.dtype = memory, capacity, dtype
        self._counters: NDArray[np.int64] = np.ndarray(2, np.int64, memory.buf)
        self._rows: NDArray[Any] = np.ndarray(capacity, dtype, memory.buf, offset=_COUNTERS)

    @classmethod
    def create(cls, capacity: int, dtype: np.dtype[Any]) -> Self:
        """Allocate an empty ring."""
        ring = cls(shared_memory.SharedMemory(create=True, size=_COUNTERS + capacity * dtype.itemsize), capacity, dtype)
        ring._counters[:] = 0
        return ring

    @classmethod
    def attach(cls, name: str, capacity: int, dtype: np.dtype[Any]) -> Self:
        """Attach to a ring of the parent process. Both share a resource tracker, so a killed worker unlinks nothing."""
        return cls(shared_memory.SharedMemory(name=name), capacity, dtype)

    @property
    def name(self) -> str:
        """Name to attach by."""
        return self._memory.name

    def __len__(self) -> int:
        """Return the number of records in the queue."""
        return int(self._counters[0] - self._counters[1])

    def push(self, **fields: Any) -> bool:
        """Append a record; return False, and change nothing, when the ring is full."""
        written = int(self._counters[0])
        if written - int(self._counters[1]) >= self.capacity:
            return False
        row = self._rows[written % self.capacity]
        for name, value in fields.items():
            row[name] = value
        self._counters[0] = written + 1
        return True

    def pop(self, most: int, epoch: int) -> NDArray[Any]:
        """Remove and return up to `most` records of an epoch, oldest first, as a copy (n,).

        Records of earlier epochs are discarded; those of later epochs stay.
        """
        read = int(self._counters[1])
        places = (read + np.arange(int(self._counters[0]) - read)) % self.capacity
        epochs = self._rows["epoch"][places]
        past, present = int((epochs < epoch).sum()), int((epochs == epoch).sum())
        count = min(most, present)
        taken = self._rows[places[past : past + count]]
        self._counters[1] = read + past + count
        return np.asarray(taken)

    def clear(self) -> None:
        """Discard all records. Only while neither side is running."""
        self._counters[1] = self._counters[0]

    def close(self, unlink: bool = False) -> None:
        """Detach from the memory; `unlink` also frees it."""
        del self._counters, self._rows
        self._memory.close()
        if unlink:
            self._memory.unlink()
