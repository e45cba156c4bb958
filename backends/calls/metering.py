"""Budgets and rate limits of calls, as one immutable state.

A call is admitted with the most it can cost and settled with what it did cost. Open calls count in full, so no number of
concurrent calls can exceed the budget. A call without a bill (the connection was lost after the request was sent) counts in full
too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, Self

from pydantic import Field

from soundflow.schemas.base import Schema
from soundflow.schemas.llm import BudgetSpent, LlmBudget, LlmServer, RoleCost, Usage

BURST_SECONDS: Final = 6.0
"""A pause saves up this much of the rate: no minute sees more than 1.1 minutes' worth of calls."""
POLL_SECONDS: Final = 0.05
"""Wait while open calls hold the rest of the budget, until one of them is settled."""
GRACE_SECONDS: Final = 60.0
"""A call that is open for this much longer than `call_seconds` belongs to a process that was killed and will send no bill."""


class Limits(Schema):
    """Limits of all calls that share a meter."""

    budget: LlmBudget = LlmBudget()
    section: str = "llm"
    """Section of the recipe that holds the budget."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    call_seconds: float = Field(120.0, gt=0)
    """Deadline of a call."""

    @classmethod
    def of(cls, budget: LlmBudget, server: LlmServer) -> Self:
        """Return the limits of a configuration."""
        return cls(
            budget=budget,
            requests_per_minute=server.requests_per_minute,
            tokens_per_minute=server.tokens_per_minute,
            call_seconds=server.timeout_seconds,
        )


class Bucket(Schema):
    """A token bucket that may go into debt: a large call passes, and the calls after it wait."""

    used: float = 0.0
    """Units used and not yet refilled at time `at`; never negative."""
    at: float = 0.0
    """Seconds."""

    def wait(self, per_minute: float | None, now: float) -> float:
        """Return the seconds until another call may begin."""
        if per_minute is None:
            return 0.0
        excess = self._left(per_minute, now) - per_minute * BURST_SECONDS / 60
        return max(0.0, excess * 60 / per_minute)

    def take(self, units: float, per_minute: float | None, now: float) -> Bucket:
        """Return the bucket after `units` more; a negative number gives units back."""
        if per_minute is None:
            return self
        return Bucket(used=max(0.0, self._left(per_minute, now) + units), at=max(now, self.at))

    def _left(self, per_minute: float, now: float) -> float:
        return max(0.0, self.used - max(0.0, now - self.at) * per_minute / 60)


class OpenCall(Schema):
    """An admitted call that is not settled yet."""

    worst: Usage
    """The most it can cost."""
    since: float


class MeterState(Schema):
    """The state of a meter."""

    spent: Usage = Usage()
    """Billed."""
    unbilled: Usage = Usage()
    """The most that calls without a bill may have cost."""
    open: dict[str, OpenCall] = Field(default_factory=dict)
    """By ticket."""
    requests: Bucket = Bucket()
    tokens: Bucket = Bucket()
    not_before: float = 0.0
    """End of a pause that the server requested."""

    def admit(self, ticket: str, worst: Usage, limits: Limits, now: float) -> tuple[MeterState, float]:
        """Return (next state, seconds to wait); 0 seconds mean admitted. Raises BudgetSpent if waiting cannot help."""
        state = self
        for lost, call in self.open.items():
            if now - call.since > limits.call_seconds + GRACE_SECONDS:
                state = state.settle(lost, None, limits, now)
        certain = state.spent + state.unbilled
        if exceeded := limits.budget.passed_by(certain + worst):
            why = f"{limits.section}.budget: the next call could exceed the budget of {exceeded}"
            raise BudgetSpent(f"{why}; spent so far: {certain.describe()}")
        if limits.budget.passed_by(sum((call.worst for call in state.open.values()), certain + worst)):
            return state, POLL_SECONDS
        wait = max(
            state.not_before - now,
            state.requests.wait(limits.requests_per_minute, now),
            state.tokens.wait(limits.tokens_per_minute, now),
        )
        if wait > 0:
            return state, wait
        update = {
            "open": state.open | {ticket: OpenCall(worst=worst, since=now)},
            "requests": state.requests.take(1, limits.requests_per_minute, now),
            "tokens": state.tokens.take(worst.tokens, limits.tokens_per_minute, now),
        }
        return state.model_copy(update=update), 0.0

    def settle(self, ticket: str, used: Usage | None, limits: Limits, now: float) -> MeterState:
        """Return the state after the bill of an admitted call; `used` is None if it is unknown whether it was billed."""
        call = self.open.get(ticket)
        if call is None:  # it was taken for lost and counted in full
            return self
        paid = call.worst if used is None else used
        field = "unbilled" if used is None else "spent"
        update = {
            "open": {other: held for other, held in self.open.items() if other != ticket},
            field: getattr(self, field) + paid,
            "tokens": self.tokens.take(paid.tokens - call.worst.tokens, limits.tokens_per_minute, now),
        }
        return self.model_copy(update=update)

    def pause(self, seconds: float, now: float) -> MeterState:
        """Return the state in which no call is admitted for `seconds`."""
        return self.model_copy(update={"not_before": max(self.not_before, now + seconds)})


class Meter(Protocol):
    """Admits calls. All who spend from one budget share one meter. Safe for threads."""

    def admit(self, ticket: str, worst: Usage) -> float:
        """Return the seconds to wait before the next attempt; 0 if the call is admitted. Raises BudgetSpent."""

    def settle(self, ticket: str, used: Usage | None) -> None:
        """Book the bill of an admitted call; None if it is unknown whether the call was billed."""

    def pause(self, seconds: float) -> None:
        """Admit no call for `seconds`."""

    def state(self) -> MeterState:
        """Return what was spent so far."""


class ProcessMeter:
    """A `Meter` for one process."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self.limits, self._clock, self._state = limits, clock, MeterState()
        self._lock = threading.Lock()

    def admit(self, ticket: str, worst: Usage) -> float:
        """See `Meter.admit`."""
        with self._lock:
            self._state, wait = self._state.admit(ticket, worst, self.limits, self._clock())
        return wait

    def settle(self, ticket: str, used: Usage | None) -> None:
        """See `Meter.settle`."""
        with self._lock:
            self._state = self._state.settle(ticket, used, self.limits, self._clock())

    def pause(self, seconds: float) -> None:
        """See `Meter.pause`."""
        with self._lock:
            self._state = self._state.pause(seconds, self._clock())

    def state(self) -> MeterState:
        """See `Meter.state`."""
        return self._state


class CostLedger:
    """What the calls of each role cost, in one process."""

    def __init__(self) -> None:
        self.roles: dict[str, RoleCost] = {}

    def asked(self, role: str, usage: Usage) -> None:
        """Add an answer of the service."""
        self._add(role, RoleCost(asked=usage))

    def replayed(self, role: str, usage: Usage) -> None:
        """Add an answer of the cache."""
        self._add(role, RoleCost(replayed=usage))

    def fault(self, role: str, unbilled: Usage) -> None:
        """Add a call without an answer; `unbilled` is the most it may have cost."""
        self._add(role, RoleCost(faults=1, unbilled=unbilled))

    def had_thoughts(self, role: str) -> None:
        """Count an answer, of the service or the cache, with thoughts of the model."""
        self._add(role, RoleCost(thoughts=1))

    def _add(self, role: str, cost: RoleCost) -> None:
        self.roles[role] = self.roles.get(role, RoleCost()) + cost
