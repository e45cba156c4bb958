"""The chat model of a build: the real one behind the answer cache, with one meter for all workers of the build."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from operators.backends.answers import AnswerStore, CachedChat
from operators.backends.metering import Ledger, Limits, Meter, MeterState, ProcessMeter
from operators.backends.openai_chat import OpenAiChat
from operators.clip_cache import write_atomic
from schemas.base import InputError
from schemas.llm import LlmConfig, Usage


@contextlib.asynccontextmanager
async def open_chat(
    config: LlmConfig, answers: AnswerStore, *, spent: Path | None = None, ledger: Ledger | None = None
) -> AsyncIterator[CachedChat]:
    """A chat model that asks nothing twice. `spent`: the file all workers of a build count in; None counts this process alone.

    Needs no key and no server for what was asked before.
    """
    limits, ledger = Limits.of(config.budget, config.server), ledger or Ledger()
    meter: Meter = SharedMeter(spent, limits) if spent else ProcessMeter(limits)
    async with OpenAiChat(config, meter=meter, ledger=ledger) as model:
        yield CachedChat(model, answers, ledger)


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
