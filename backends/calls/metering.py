"""What calls may cost and how often they may be made: budget, requests and tokens per minute, as one pure state.

A call is admitted with the most it can use and settled with what it did use. What is open counts in full, so that no number
of calls at once can pass the budget. A bill that never came (the line broke after the question was out) counts in full too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol, Self

from pydantic import Field

from soundflow.schemas.base import Schema
from soundflow.schemas.llm import BudgetSpent, LlmBudget, LlmServer, RoleCost, Usage

BURST_SECONDS: Final = 6.0
"""Of its rate may be used at once after a pause: a minute never sees more than 1.1 minutes' worth."""
POLL_SECONDS: Final = 0.05
"""While open calls hold the rest of the budget: until one is settled."""
GRACE_SECONDS: Final = 60.0
"""A call that is open so much longer than calls last belongs to a process that was killed: its bill never comes."""


class Limits(Schema):
    """What holds for all calls together."""

    budget: LlmBudget = LlmBudget()
    section: str = "llm"
    """Of the recipe, that the budget stands in."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    call_seconds: float = Field(120.0, gt=0)
    """A call lasts no longer."""

    @classmethod
    def of(cls, budget: LlmBudget, server: LlmServer) -> Self:
        """The limits of a configuration."""
        return cls(
            budget=budget,
            requests_per_minute=server.requests_per_minute,
            tokens_per_minute=server.tokens_per_minute,
            call_seconds=server.timeout_seconds,
        )


class Bucket(Schema):
    """A token bucket that may go into debt: one large call passes, and those after it wait."""

    used: float = 0.0
    """Units used beyond what time has given back; below zero never."""
    at: float = 0.0
    """When that was so, seconds."""

    def wait(self, per_minute: float | None, now: float) -> float:
        """Seconds until another call may begin."""
        if per_minute is None:
            return 0.0
        over = self._left(per_minute, now) - per_minute * BURST_SECONDS / 60
        return max(0.0, over * 60 / per_minute)

    def take(self, units: float, per_minute: float | None, now: float) -> Bucket:
        """After `units` more; a negative number gives back."""
        if per_minute is None:
            return self
        return Bucket(used=max(0.0, self._left(per_minute, now) + units), at=max(now, self.at))

    def _left(self, per_minute: float, now: float) -> float:
        return max(0.0, self.used - max(0.0, now - self.at) * per_minute / 60)


class OpenCall(Schema):
    """A call that was admitted."""

    worst: Usage
    """The most it can use."""
    since: float


class MeterState(Schema):
    """All a meter knows."""

    spent: Usage = Usage()
    """Billed."""
    unbilled: Usage = Usage()
    """The most that calls cost whose bill never came."""
    open: dict[str, OpenCall] = Field(default_factory=dict)
    """By ticket."""
    requests: Bucket = Bucket()
    tokens: Bucket = Bucket()
    not_before: float = 0.0
    """The server asked for silence until then."""

    def admit(self, ticket: str, worst: Usage, limits: Limits, now: float) -> tuple[MeterState, float]:
        """(next state, seconds to wait); admitted when those are 0. Raises BudgetSpent when waiting would not help."""
        state = self
        for lost, call in self.open.items():
            if now - call.since > limits.call_seconds + GRACE_SECONDS:
                state = state.settle(lost, None, limits, now)
        sure = state.spent + state.unbilled
        if why := limits.budget.passed_by(sure + worst):
            raise BudgetSpent(
                f"{limits.section}.budget: the next call could pass the budget of {why}; spent so far: {sure.describe()}"
            )
        if limits.budget.passed_by(sum((call.worst for call in state.open.values()), sure + worst)):
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
        """After the bill of an admitted call; `used` None: it may have been billed, nobody knows."""
        call = self.open.get(ticket)
        if call is None:  # it was given up for lost, and counted in full
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
        """After the server asked for silence."""
        return self.model_copy(update={"not_before": max(self.not_before, now + seconds)})


class Meter(Protocol):
    """Admits calls. Shared by all who spend from one budget."""

    def admit(self, ticket: str, worst: Usage) -> float:
        """Seconds to wait before trying again; 0 when the call is admitted. Raises BudgetSpent."""

    def settle(self, ticket: str, used: Usage | None) -> None:
        """The bill of an admitted call; None when it may have been billed and nobody knows."""

    def pause(self, seconds: float) -> None:
        """Nothing is admitted for so long."""

    def state(self) -> MeterState:
        """What was spent so far."""


class ProcessMeter:
    """A meter for one process."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self.limits, self._clock, self._state = limits, clock, MeterState()

    def admit(self, ticket: str, worst: Usage) -> float:
        """Seconds to wait before trying again; 0 when the call is admitted. Raises BudgetSpent."""
        self._state, wait = self._state.admit(ticket, worst, self.limits, self._clock())
        return wait

    def settle(self, ticket: str, used: Usage | None) -> None:
        """The bill of an admitted call; None when it may have been billed and nobody knows."""
        self._state = self._state.settle(ticket, used, self.limits, self._clock())

    def pause(self, seconds: float) -> None:
        """Nothing is admitted for so long."""
        self._state = self._state.pause(seconds, self._clock())

    def state(self) -> MeterState:
        """What was spent so far."""
        return self._state


class CostLedger:
    """What each role asked, in one process."""

    def __init__(self) -> None:
        self.roles: dict[str, RoleCost] = {}

    def asked(self, role: str, usage: Usage) -> None:
        """The server answered."""
        self._add(role, RoleCost(asked=usage))

    def replayed(self, role: str, usage: Usage) -> None:
        """The cache answered."""
        self._add(role, RoleCost(replayed=usage))

    def fault(self, role: str, unbilled: Usage) -> None:
        """A call brought no answer; `unbilled` is the most it may have cost."""
        self._add(role, RoleCost(faults=1, unbilled=unbilled))

    def _add(self, role: str, cost: RoleCost) -> None:
        self.roles[role] = self.roles.get(role, RoleCost()) + cost
