"""The meter as a pure state: no order of events exceeds the budget or the rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.backends.calls.metering import GRACE_SECONDS, POLL_SECONDS, Bucket, Limits, MeterState, ProcessMeter
from soundflow.schemas.llm import BudgetSpent, LlmBudget, LlmConfig, Usage

WORST = Usage(calls=1, input_tokens=80, output_tokens=20, money=0.5)
USED = Usage(calls=1, input_tokens=10, output_tokens=5, money=0.1)


@dataclass
class Clock:
    """Time that the test advances."""

    now: float = 0.0
    begun: list[tuple[float, int]] = field(default_factory=list)
    """When calls began, and their tokens."""

    def __call__(self) -> float:
        return self.now


usages = st.builds(
    Usage,
    calls=st.just(1),
    input_tokens=st.integers(0, 500),
    output_tokens=st.integers(0, 500),
    money=st.floats(0, 3, allow_nan=False),
)
steps = st.lists(st.tuples(st.sampled_from(["ask", "bill", "lose", "kill", "wait"]), usages, st.integers(0, 9)), max_size=60)
budgets = st.builds(
    LlmBudget,
    money=st.none() | st.floats(0, 20),
    calls=st.none() | st.integers(0, 20),
    tokens=st.none() | st.integers(0, 5000),
)


@given(budgets, steps)
def test_no_order_of_events_exceeds_the_budget(budget: LlmBudget, story: list[tuple[str, Usage, int]]) -> None:
    clock, limits = Clock(), Limits(budget=budget, call_seconds=10)
    meter = ProcessMeter(limits, clock)
    open_calls: list[tuple[str, Usage]] = []
    real = Usage()
    for number, (what, usage, pick) in enumerate(story):
        clock.now += pick * 20 if what == "wait" else 0.1
        if what == "ask":
            try:
                if meter.admit(str(number), usage) == 0:
                    open_calls.append((str(number), usage))
            except BudgetSpent:
                assert budget.passed_by(real + usage) or meter.state().unbilled.calls
        elif open_calls and what != "wait":
            ticket, worst = open_calls.pop(pick % len(open_calls))
            used = Usage(calls=1, input_tokens=worst.input_tokens // 2, output_tokens=worst.output_tokens, money=worst.money / 2)
            real += worst if what == "kill" else used
            if what != "kill":  # a killed process bills nobody; its call is given up later
                meter.settle(ticket, used if what == "bill" else None)
        assert budget.passed_by(real) == ""
        counted = meter.state().spent + meter.state().unbilled
        assert budget.passed_by(counted) == "" and counted.calls >= 0


@given(st.integers(1, 120), st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=150))
def test_no_minute_sees_more_requests_than_its_rate_and_a_short_burst(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    meter = ProcessMeter(Limits(requests_per_minute=rate), clock)
    for number, pause in enumerate(pauses):
        clock.now += pause
        while wait := meter.admit(str(number), WORST):
            clock.now += wait + 1e-6
        clock.begun.append((clock.now, 1))
    for start, _ in clock.begun:
        assert sum(start <= at < start + 60 for at, _ in clock.begun) <= rate * 1.1 + 2


@given(st.integers(200, 20_000), st.lists(st.integers(1, 3_000), min_size=1, max_size=60))
def test_tokens_are_paced_by_what_calls_really_used(rate: int, sizes: list[int]) -> None:
    clock = Clock()
    meter = ProcessMeter(Limits(tokens_per_minute=rate), clock)
    for number, size in enumerate(sizes):
        while wait := meter.admit(str(number), Usage(calls=1, input_tokens=4 * size)):
            clock.now += wait + 1e-6
        meter.settle(str(number), Usage(calls=1, input_tokens=size))
        clock.begun.append((clock.now, size))
    total, last = sum(sizes), clock.begun[-1][0]
    assert total <= rate * (last / 60 + 0.1) + 4 * max(sizes)  # kept
    assert last <= total * 60 / rate + 1  # and used


def test_calls_wait_for_a_budget_that_open_calls_hold_but_not_for_a_spent_one() -> None:
    meter = ProcessMeter(Limits(budget=LlmBudget(money=0.9)), Clock())
    assert meter.admit("a", WORST) == 0 and meter.admit("b", WORST) == POLL_SECONDS
    meter.settle("a", USED)
    assert meter.admit("b", WORST) == 0
    meter.settle("b", None)
    with pytest.raises(BudgetSpent, match=r"budget of money 0\.9; spent so far: 2 calls"):
        meter.admit("c", WORST)
    assert meter.state().spent == USED and meter.state().unbilled == WORST


def test_the_call_of_a_killed_process_expires_after_the_deadline() -> None:
    limits = Limits(budget=LlmBudget(calls=1), call_seconds=10)
    state, wait = MeterState().admit("lost", WORST, limits, now=0)
    assert wait == 0 and state.admit("next", WORST, limits, now=10 + GRACE_SECONDS)[1] == POLL_SECONDS
    with pytest.raises(BudgetSpent):
        state.admit("next", WORST, limits, now=11 + GRACE_SECONDS)
    late = state.settle("lost", None, limits, 0).settle("lost", USED, limits, 0)  # its bill comes after all: counted in full
    assert late.unbilled == WORST and late.spent == Usage()


def test_a_pause_holds_back_every_call() -> None:
    clock = Clock()
    meter = ProcessMeter(Limits(), clock)
    meter.pause(30)
    meter.pause(10)
    assert meter.admit("a", WORST) == 30
    clock.now = 31
    assert meter.admit("a", WORST) == 0


def test_a_bucket_without_a_rate_has_no_limit_and_a_clock_that_goes_back_refills_nothing() -> None:
    assert Bucket().take(10**9, None, 0).wait(None, 0) == 0
    used = Bucket().take(100, 60, now=100)
    assert used.wait(60, now=50) == used.wait(60, now=100) == pytest.approx(94)


def test_the_limits_are_those_of_the_configuration() -> None:
    config = LlmConfig.model_validate(
        {"model": "m", "budget": {"calls": 3}, "server": {"requests_per_minute": 5, "timeout_seconds": 7}}
    )
    limits = Limits.of(config.budget, config.server)
    assert (limits.budget.calls, limits.requests_per_minute, limits.tokens_per_minute, limits.call_seconds) == (3, 5, None, 7)
