"""Speed of replayed answers: a second build of a recipe reads them from the cache instead of calling the model."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Final

from soundflow.backends.calls.answers import CachedChat
from soundflow.backends.calls.metering import CostLedger
from soundflow.bench.harness import measure as bench
from soundflow.operators.protocols.asking import ask, request_of
from soundflow.operators.protocols.chat import ChatRequest, Completion
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas import constants as c
from soundflow.schemas.llm import LlmConfig, Usage
from soundflow.schemas.outcome import Ok
from soundflow.schemas.scenario import Scenario
from soundflow.schemas.taxonomy import Task

CALLS: Final = 1_000
BAG: Final = tuple(f"sound number {number} of a library, with a caption of usual length" for number in range(24))
REQUIRED_RATE: Final = 1_000.0
"""Calls per second."""


class Fixed:
    """Stand-in for the model that fills the cache and counts its calls."""

    def __init__(self) -> None:
        self.config, self.calls = LlmConfig(model="none"), 0

    async def complete(self, request: ChatRequest) -> Completion:
        """Return a scenario of maximum length."""
        self.calls += 1
        event = {"role": "foreground", "sound": BAG[0], "responds": True, "why": "Because it is the next thing that happens."}
        events = [{"order": order, **event} for order in range(1, c.EVENTS_RANGE[1] + 1)]
        text = json.dumps({"title": "A day", "setting": "a kitchen", "narrative": "It goes on. " * 40, "events": events})
        return Completion(text, "stop", "none", Usage(calls=1, input_tokens=900, output_tokens=600))


def replay(runs: int) -> bench.Part:
    """Measure replayed calls per second: the cache alone, and complete requests of a role."""
    with tempfile.TemporaryDirectory() as folder:
        model = Fixed()
        chat = CachedChat(model, AnswerCache(Path(folder)), CostLedger())
        values = [_values(seed) for seed in range(CALLS)]
        requests = [request_of(chat, "scenario_planner", filled, Scenario, seed=seed) for seed, filled in enumerate(values)]
        asyncio.run(_complete(chat, requests))
        calls, latencies = model.calls, list[float]()
        candidates = {
            "replay: calls": lambda: latencies.extend(asyncio.run(_complete(chat, requests))),
            "replay: complete requests": lambda: asyncio.run(_ask(chat, values)),
        }
        medians = bench.compare("replay", candidates, runs)["medians"]
        if model.calls != calls:
            raise RuntimeError("a replay called the model")
    rates = {label: CALLS / seconds for label, seconds in medians.items()}
    ratios = tuple(
        bench.Ratio(f"{label} per second / 1,000", rate / REQUIRED_RATE, at_least=1.0) for label, rate in rates.items()
    )
    notes = {f"replay_p{100 * share:g}_ms": round(1000 * bench.quantile(latencies, share), 3) for share in (0.5, 0.99)}
    return bench.Part(ratios, medians, notes)


def _values(seed: int) -> dict[str, object]:
    fewest, most = c.EVENTS_RANGE
    rule = POLICIES[Task.VOICE_CHAT].task_rule
    return {"fewest": fewest, "most": most, "task": "voice_chat", "task_rule": rule, "seed": seed, "bag": BAG}


async def _complete(chat: CachedChat, requests: list[ChatRequest]) -> list[float]:
    """Return the seconds of each call."""
    taken = []
    for request in requests:
        begin = time.perf_counter()
        await chat.complete(request)
        taken.append(time.perf_counter() - begin)
    return taken


async def _ask(chat: CachedChat, values: list[dict[str, object]]) -> None:
    for seed, filled in enumerate(values):
        if not isinstance(await ask(chat, "scenario_planner", filled, Scenario, seed=seed), Ok):
            raise RuntimeError("a replayed answer was rejected")
