"""A queue of records in shared memory, one writer process and one reader process, no lock and no pickling.

Each side only ever moves its own counter, and moves it after the record is whole; neither can block the other, and a side that is
killed leaves nothing locked. Records are rows of a numpy structured array with a field `epoch`, which never falls: a reader that
was not told yet of a session that began leaves its records where they are.
"""

from __future__ import annotations

from multiprocessing import shared_memory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_COUNTERS = 2 * 8


class Ring:
    """`capacity` records of `dtype`. The process that `create`s it also `unlink`s it; others `attach` by name."""

    def __init__(self, memory: shared_memory.SharedMemory, capacity: int, dtype: np.dtype[Any]):
        self._memory, self.capacity, self.dtype = memory, capacity, dtype
        self._counters: NDArray[np.int64] = np.ndarray(2, np.int64, memory.buf)
        self._rows: NDArray[Any] = np.ndarray(capacity, dtype, memory.buf, offset=_COUNTERS)

    @classmethod
    def create(cls, capacity: int, dtype: np.dtype[Any]) -> Self:
        """A new, empty one."""
        ring = cls(shared_memory.SharedMemory(create=True, size=_COUNTERS + capacity * dtype.itemsize), capacity, dtype)
        ring._counters[:] = 0
        return ring

    @classmethod
    def attach(cls, name: str, capacity: int, dtype: np.dtype[Any]) -> Self:
        """One that the parent process created: both share its resource tracker, so a killed worker unlinks nothing."""
        return cls(shared_memory.SharedMemory(name=name), capacity, dtype)

    @property
    def name(self) -> str:
        """To attach by."""
        return self._memory.name

    def __len__(self) -> int:
        """Records waiting."""
        return int(self._counters[0] - self._counters[1])

    def push(self, **fields: Any) -> bool:
        """Append a record; False (and nothing happens) when it is full."""
        written = int(self._counters[0])
        if written - int(self._counters[1]) >= self.capacity:
            return False
        row = self._rows[written % self.capacity]
        for name, value in fields.items():
            row[name] = value
        self._counters[0] = written + 1
        return True

    def pop(self, most: int, epoch: int) -> NDArray[Any]:
        """Take up to `most` records of an epoch, oldest first, as a copy. Those of earlier epochs go, of later ones stay."""
        read = int(self._counters[1])
        places = (read + np.arange(int(self._counters[0]) - read)) % self.capacity
        epochs = self._rows["epoch"][places]
        past, present = int((epochs < epoch).sum()), int((epochs == epoch).sum())
        count = min(most, present)
        taken = self._rows[places[past : past + count]]
        self._counters[1] = read + past + count
        return np.asarray(taken)

    def clear(self) -> None:
        """Forget what waits. Only while neither side is at work."""
        self._counters[1] = self._counters[0]

    def close(self, unlink: bool = False) -> None:
        """Let go of the memory; `unlink` gives it back to the system."""
        del self._counters, self._rows
        self._memory.close()
        if unlink:
            self._memory.unlink()
