"""Every role asked of a real server (llama.cpp, 0.5 B parameters): the protocol holds; the content is not judged.

`make test-llm`. Prints how often answers were valid, and how fast they came; the figures are also in build/test-llm.json.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundflow.backends.calls.metering import CostLedger
from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.faults import RequestRefused
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Failed, Ok, Rejected
from soundflow.schemas.scenario import ANSWERS, Scenario
from soundflow.schemas.taxonomy import Task
from tests.llm_server.conftest import KEY

pytestmark = pytest.mark.llm_server
ASKS = {"json_lengths": 2, "json_object": 1, "none": 1}
QUICK = ("spoken_rewriter", "silence_auditor")
"""Their answers are short: asked in every mode."""
POLICY = POLICIES[Task.VOICE_CHAT]
BAG = [
    "dog barking",
    "kettle whistling",
    "a woman says: can you set a timer for ten minutes?",
    "smoke alarm",
    "rain",
    "door slams",
]
STORY: dict[str, Any] = {
    "title": "Tea time",
    "setting": "a kitchen in the afternoon",
    "narrative": "The kettle boils, a woman asks for a timer, a smoke alarm goes off.",
    "events": [
        {"order": 1, "role": "foreground", "sound": "kettle whistling", "responds": False, "why": "Water boils."},
        {"order": 2, "role": "foreground", "sound": "a woman asks for a timer", "responds": True, "why": "She asks."},
        {"order": 3, "role": "ambient", "sound": "rain on a window", "responds": False, "why": "It rains."},
    ],
}
TURNS = ["My train leaves at seven.", "It is quarter past six now.", "Is it raining?", "Yes, take an umbrella.", "Thank you."]
EVIDENCE = {"label": "dog barking", "seconds": 2.1, "snr_db": 21.0, "clipped_ratio": 0.0, "similarity": 0.91}
VALUES: dict[str, dict[str, Any]] = {
    "scenario_planner": {"fewest": 3, "most": 5, "task": "voice_chat", "task_rule": POLICY.task_rule, "seed": 0, "bag": BAG},
    "event_refiner": {"task": "voice_chat", "response_rule": POLICY.response_rule, "scenario": STORY},
    "clip_verifier": {
        "audible": False,
        "final": False,
        "accept": 0.5,
        "event": {"query": "dog bark", "sounds_like": "A dog barks.", "role": "foreground", "seconds": [0.5, 3.0]},
        "evidence": EVIDENCE,
    },
    "spoken_rewriter": {"text": "**Boil** 2 kg of potatoes at 100 °C & add 3.5 g salt, e.g. sea salt."},
    "history_question": {"distance": 3, "turns": TURNS},
    "silence_auditor": {"sound": {"label": "glass shattering", "caption": "a window breaks, shards fall"}},
}
CHECKS: dict[str, Callable[[Any], str]] = {
    "scenario_planner": lambda answer: answer.mismatch(3, 5),
    "event_refiner": lambda answer: answer.mismatch(Scenario.model_validate(STORY)),
    "history_question": lambda answer: answer.mismatch(len(TURNS), 3),
}
COUNTS = {"scenario_planner": {"events": (3, 5)}, "event_refiner": {"events": (3, 3)}}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def config(url: str, **changes: Any) -> LlmConfig:
    server = {"base_url": url, "concurrency": 1, "timeout_seconds": 300, "retries": 1}
    return LlmConfig.model_validate({"model": "qwen2.5-coder-0.5b", "max_tokens": 500, "server": server} | changes)


def run(role: str, settings: LlmConfig, cache: AnswerCache, asks: int) -> tuple[list[Any], CostLedger]:
    """The role, asked `asks` times with other seeds."""
    ledger = CostLedger()

    async def all_of_them() -> list[Any]:
        async with open_chat(settings, cache, ledger=ledger) as chat:
            more = {"check": CHECKS.get(role), "counts": COUNTS.get(role, {})}
            return [await ask(chat, role, VALUES[role], ANSWERS[role], seed=seed, **more) for seed in range(asks)]

    return asyncio.run(all_of_them()), ledger


@pytest.mark.parametrize(
    ("role", "mode"), [(role, mode) for role in VALUES for mode in ASKS if mode == "json_lengths" or role in QUICK]
)
def test_a_role_is_answered_or_rejected_for_a_reason_and_never_asked_again(
    role: str, mode: str, real_llm: str, figures: list[dict[str, Any]], tmp_path: Path
) -> None:
    asks = ASKS[mode]
    settings, cache = config(real_llm, json_mode=mode, send_seed=True), AnswerCache(tmp_path)
    begin = time.perf_counter()
    outcomes, ledger = run(role, settings, cache, asks)
    seconds = time.perf_counter() - begin
    asked = ledger.roles[role].asked
    good = [outcome.value for outcome in outcomes if isinstance(outcome, Ok)]
    bad = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Rejected))
    assert len(good) + bad.total() == asks, outcomes
    assert all(isinstance(answer.value, ANSWERS[role]) and answer.usage.output_tokens for answer in good)
    figures.append(
        {
            "role": role,
            "mode": mode,
            "asked": asks,
            "valid at first": sum(answer.usage.calls == 1 for answer in good),
            "valid in the end": len(good),
            "rejected": dict(bad),
            "calls": asked.calls,
            "output tokens": asked.output_tokens,
            "output tokens per second": round(asked.output_tokens / seconds, 1),
        }
    )
    again, replayed = run(role, settings, cache, asks)
    assert [getattr(outcome, "reason", None) for outcome in again] == [getattr(outcome, "reason", None) for outcome in outcomes]
    assert replayed.roles[role].asked.calls == 0 and replayed.roles[role].replayed == asked


def test_a_question_longer_than_the_context_is_refused_as_that_questions_fault(real_llm: str, tmp_path: Path) -> None:
    async def one() -> Any:
        async with open_chat(config(real_llm), AnswerCache(tmp_path)) as chat:
            return await ask(chat, "spoken_rewriter", {"text": "word " * 20_000}, ANSWERS["spoken_rewriter"], seed=0)

    outcome = asyncio.run(one())
    assert isinstance(outcome, Failed) and outcome.payload["kind"] == RequestRefused.__name__


def test_a_wrong_key_ends_the_work(real_llm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    with pytest.raises(InputError, match="rejects the API key") as caught:
        run("spoken_rewriter", config(real_llm), AnswerCache(tmp_path), 1)
    assert "sk-wrong" not in str(caught.value)
