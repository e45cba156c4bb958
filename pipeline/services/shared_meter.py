"""One budget for all processes of a build: the meter's state in a file that one process at a time changes."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from soundflow.backends.calls.metering import Limits, MeterState
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import Usage


class SharedMeter:
    """A meter in a file, for all processes that spend from one budget. What was spent stays spent when a build is resumed."""

    def __init__(self, path: Path, limits: Limits, clock: Callable[[], float] = time.time):
        self.path, self.limits, self._clock = path, limits, clock

    def admit(self, ticket: str, worst: Usage) -> float:
        """Seconds to wait before trying again; 0 when the call is admitted. Raises BudgetSpent."""
        with self._alone():
            state, wait = self.state().admit(ticket, worst, self.limits, self._clock())
            self._keep(state)
        return wait

    def settle(self, ticket: str, used: Usage | None) -> None:
        """The bill of an admitted call; None when it may have been billed and nobody knows."""
        with self._alone():
            self._keep(self.state().settle(ticket, used, self.limits, self._clock()))

    def pause(self, seconds: float) -> None:
        """Nothing is admitted for so long."""
        with self._alone():
            self._keep(self.state().pause(seconds, self._clock()))

    def state(self) -> MeterState:
        """What was spent so far. InputError when the file is damaged: a budget that lost count is none."""
        try:
            return MeterState.from_json(self.path.read_bytes())
        except FileNotFoundError:
            return MeterState()
        except InputError:
            remedy = "Delete it to count from nothing again"
            raise InputError("is damaged, so what was spent is not known", file=self.path, remedy=remedy) from None

    def _keep(self, state: MeterState) -> None:
        write_atomic(self.path, state.canonical_json())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
