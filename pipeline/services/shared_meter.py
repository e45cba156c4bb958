"""A call meter in a locked file, so that all processes of a build share one budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from soundflow.backends.calls.metering import Limits, MeterState
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError
from soundflow.schemas.file_lock import locked
from soundflow.schemas.llm import Usage


class SharedMeter:
    """A `Meter` whose state is a file. A resumed build continues with what earlier runs have spent."""

    def __init__(self, path: Path, limits: Limits, clock: Callable[[], float] = time.time):
        self.path, self.limits, self._clock = path, limits, clock

    def admit(self, ticket: str, worst: Usage) -> float:
        """Admit a call that costs at most `worst` and return 0, or return the seconds to wait. Raises BudgetSpent."""
        with self._locked():
            state, wait = self.state().admit(ticket, worst, self.limits, self._clock())
            self._write(state)
        return wait

    def settle(self, ticket: str, used: Usage | None) -> None:
        """Record the usage of an admitted call; None if it is unknown whether the call was charged."""
        with self._locked():
            self._write(self.state().settle(ticket, used, self.limits, self._clock()))

    def pause(self, seconds: float) -> None:
        """Admit no call for this long."""
        with self._locked():
            self._write(self.state().pause(seconds, self._clock()))

    def state(self) -> MeterState:
        """Return the state of the meter. Raises InputError if the file is damaged, since the budget could then be exceeded."""
        try:
            return MeterState.from_json(self.path.read_bytes())
        except FileNotFoundError:
            return MeterState()
        except InputError:
            remedy = "Delete the file to start counting from zero"
            raise InputError("is damaged, so the amount spent is unknown", file=self.path, remedy=remedy) from None

    def _write(self, state: MeterState) -> None:
        write_atomic(self.path, state.canonical_json())

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path.with_suffix(".lock"))
