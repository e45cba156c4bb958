"""The chat model of a build: no request is repeated with a third of all calls failing; one budget for all processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from soundflow.backends.calls.metering import CostLedger, Limits, MeterState
from soundflow.operators.protocols.asking import ask
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent, LlmBudget, LlmConfig, Usage
from soundflow.schemas.outcome import Failed, Ok, Rejected
from soundflow.schemas.scenario import Scenario
from tests.operators.curate.chats import KEY, config, key
from tests.support import ROOT
from tests.support.hostile_llm import HostileLlm, faulty

__all__ = ["key"]
WORST = Usage(calls=1, input_tokens=80, output_tokens=20, money=0.5)


def plan(settings: LlmConfig, cache: AnswerCache, count: int, spent: Path | None = None) -> tuple[list[Any], CostLedger]:
    """Ask for `count` scenarios, every one twice at once."""
    ledger = CostLedger()

    async def all_of_them() -> list[Any]:
        async with open_chat(settings, cache, spent=spent, ledger=ledger) as chat:
            scene = {"fewest": 3, "most": 15, "task": "event_description", "task_rule": "all are answered"}
            values = [scene | {"seed": seed, "bag": ["a dog", "rain", "a horn"]} for seed in [*range(count), *range(count)]]
            questions = (ask(chat, "scenario_planner", filled, Scenario, seed=filled["seed"]) for filled in values)
            return await asyncio.gather(*questions, return_exceptions=True)

    return asyncio.run(all_of_them()), ledger


def test_with_a_third_of_all_calls_failing_no_successful_request_is_repeated(tmp_path: Path) -> None:
    with HostileLlm(faulty(0.3)) as server:
        outcomes, ledger = plan(config(server), AnswerCache(tmp_path), 60)
        assert server.faults.total() > 15
        assert Counter(map(type, outcomes)).keys() <= {Ok, Rejected} and sum(isinstance(o, Ok) for o in outcomes) > 100
        assert outcomes[:60] == [as_asked(outcome, first) for outcome, first in zip(outcomes[60:], outcomes[:60], strict=True)]
        assert max(server.answered.values()) == 1
        cost = ledger.roles["scenario_planner"]
        calls = server.calls
        again, replay = plan(config(server), AnswerCache(tmp_path), 60)
        assert server.calls == calls  # a second build makes no call
    replayed = replay.roles["scenario_planner"]
    assert replayed.asked.calls == 0 and replayed.replayed.calls == 2 * cost.asked.calls and replayed.faults == 0
    assert [as_asked(outcome, first) for outcome, first in zip(again, outcomes, strict=True)] == outcomes


def as_asked(outcome: Any, first: Any) -> Any:
    """`outcome` with the mark whether it came from the cache as in `first`: all else must be equal."""
    if not isinstance(outcome, Ok):
        return outcome
    import dataclasses

    return Ok(dataclasses.replace(outcome.value, cached=first.value.cached))


def test_cached_requests_need_neither_key_nor_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileLlm() as server:
        first, _ = plan(config(server), AnswerCache(tmp_path), 2)
    monkeypatch.delenv("OPENAI_API_KEY")
    settings = config(server).model_copy(update={"server": LlmConfig(model="m").server})
    again, _ = plan(settings, AnswerCache(tmp_path), 2)
    assert all(outcome.value.cached for outcome in again)
    assert [outcome.value.value for outcome in again] == [outcome.value.value for outcome in first]
    other, _ = plan(settings, AnswerCache(tmp_path), 3)
    assert any(isinstance(outcome, InputError) for outcome in other)


def test_the_cache_contains_no_key_and_rejects_an_entry_that_is_not_a_completion(tmp_path: Path) -> None:
    with HostileLlm() as server:
        plan(config(server), AnswerCache(tmp_path), 3)
    entries = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(entries) > 3 and not [path for path in entries if KEY.encode() in path.read_bytes()]
    foreign = AnswerCache(tmp_path / "foreign")
    for entry in entries:
        foreign.put(entry.name, b"RIFF: a sound") if entry.name != "asking.lock" else None
    outcomes, _ = plan(config(server), foreign, 3)
    assert all(isinstance(outcome, InputError) and "is not a chat completion" in str(outcome) for outcome in outcomes)


def test_a_spent_budget_ends_the_run_and_a_larger_one_resumes_it(tmp_path: Path) -> None:
    with HostileLlm() as server:
        spent = tmp_path / "build" / "llm-spent.json"
        first, _ = plan(config(server, budget={"calls": 5}), AnswerCache(tmp_path / "a"), 20, spent)
        assert sum(isinstance(outcome, BudgetSpent) for outcome in first) >= 30 and server.calls == 5
        again, _ = plan(config(server, budget={"calls": 5}), AnswerCache(tmp_path / "a"), 20, spent)
        assert server.calls == 5  # what was spent stays spent
        assert sum(isinstance(outcome, Ok) for outcome in again) == 10
        raised, _ = plan(config(server, budget={"calls": 20}), AnswerCache(tmp_path / "a"), 20, spent)
        assert all(isinstance(outcome, Ok) for outcome in raised) and server.calls == 20
        assert max(server.answered.values()) == 1
    assert not [outcome for outcome in [*first, *again] if isinstance(outcome, Failed)]


SPENDER = """
import sys, time, uuid
from pathlib import Path
from soundflow.backends.calls.metering import Limits
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.llm import BudgetSpent, LlmBudget, Usage
meter = SharedMeter(Path(sys.argv[1]), Limits(budget=LlmBudget(money=20.0)))
worst, used, made = Usage(calls=1, input_tokens=80, output_tokens=20, money=0.5), Usage(calls=1, money=0.2), 0
try:
    while True:
        ticket = uuid.uuid4().hex
        while wait := meter.admit(ticket, worst):
            time.sleep(wait / 10)
        made += 1
        meter.settle(ticket, used)
except BudgetSpent:
    print(made)
"""


def test_concurrent_processes_do_not_exceed_the_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(tmp_path / "spent.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    spenders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    made = [int(spender.communicate(timeout=60)[0]) for spender in spenders]
    state = SharedMeter(tmp_path / "spent.json", Limits()).state()
    assert sum(made) == state.spent.calls == 98 and not state.open  # (20 - 0.5) / 0.2, and the one that may begin at 19.4
    assert state.spent.money == pytest.approx(19.6)


def test_a_damaged_meter_file_is_an_error(tmp_path: Path) -> None:
    meter = SharedMeter(tmp_path / "spent.json", Limits(budget=LlmBudget(money=1)), clock=lambda: 5.0)
    assert meter.admit("a", WORST) == 0
    meter.settle("a", None)
    meter.pause(7)
    assert meter.state() == MeterState(unbilled=WORST, not_before=12.0)
    assert json.loads(meter.path.read_bytes())["not_before"] == 12
    meter.path.write_text('{"spent": ')
    with pytest.raises(InputError, match="the amount spent is unknown"):
        meter.admit("b", WORST)
