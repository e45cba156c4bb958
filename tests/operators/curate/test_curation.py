"""Curation: from a bag to a scenario, a refinement and a grounded scene, and the limits of what the model decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.bag import MAX_WORDS, draw_bag
from soundflow.operators.curate.curation import curate
from soundflow.operators.protocols.chat import ChatRequest, Completion
from soundflow.operators.protocols.faults import ServerFault
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.llm import BudgetSpent, JsonMode, LlmConfig, Usage
from soundflow.schemas.outcome import Failed, Ok
from soundflow.schemas.recipe import Recipe, SceneConfig
from soundflow.schemas.sheet import Curation
from soundflow.schemas.taxonomy import Task
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.grounding_tools import Maker_, Script, tone, tools_of

Says = Callable[[ChatRequest], Any]
SPEECH = {"title": "t", "setting": "s", "narrative": "n"}


@pytest.fixture
def pool() -> MemoryPool:
    pool = MemoryPool()
    for number, label in enumerate(["dog bark", "dog bark", "owl", "typing", "siren", "glass breaking"] * 4):
        pool.add(f"clip-{number:02d}", tone(1.0), label=label, caption="x" * 900 if label == "owl" else "")
    for number in range(6):
        pool.add(
            f"speech-{number}", tone(1.0), label="speech", transcript=f"what is {number} plus one", source=f"voice-{number % 2}"
        )
    pool.add("rain", tone(2.0), ClipRole.AMBIENT, "rain")
    pool.add("traffic", tone(2.0), ClipRole.BACKGROUND, "traffic")
    return pool


class Scripted:
    """A chat model in this process: `says` is given each request and returns a document, a text, or raises."""

    def __init__(self, says: Says, mode: JsonMode = "json_schema"):
        self.config, self.says, self.requests = LlmConfig(model="m", json_mode=mode), says, list[ChatRequest]()

    async def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        answer = self.says(request)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Completion(text, "stop", "m-1", Usage(calls=1, input_tokens=10, output_tokens=5))


def planned(*events: tuple[str, str, bool]) -> dict[str, Any]:
    rows = [
        {"order": order, "role": role, "sound": sound, "responds": responds, "why": "so"}
        for order, (role, sound, responds) in enumerate(events, 1)
    ]
    return SPEECH | {"events": rows}


def refined(scenario: dict[str, Any], response: str = "There was a {sound}.") -> dict[str, Any]:
    rows = [
        {
            "order": event["order"],
            "query": event["sound"],
            "caption": f"{event['sound']} close by",
            "min_seconds": 0.3,
            "max_seconds": 5.0,
            "response": response.format(sound=event["sound"]) if event["responds"] else None,
        }
        for event in scenario["events"]
    ]
    return {"events": rows}


DOGS = planned(("foreground", "dog bark", True), ("foreground", "owl", True), ("ambient", "rain", False))


def saying(scenario: Any, refinement: Any = None) -> Says:
    return lambda request: scenario if request.role == "scenario_planner" else (refinement or refined(scenario))


def attempt(
    pool: MemoryPool,
    says: Says,
    task: Task = Task.EVENT_DESCRIPTION,
    seed: int = 1,
    verifier: Any = None,
    mode: JsonMode = "json_schema",
    **scene: Any,
) -> Any:
    document = {"clips": "", "streams": 1, "shards": 1, "tasks": {task.value: 1.0}, "llm": {"model": "m"}}
    recipe = Recipe.model_validate(document | {"scene": {"planner": "llm", "events": [3, 4], "gap_seconds": [0.1, 0.1]} | scene})
    chat, tools = Scripted(says, mode), tools_of(pool, verifier, Maker_())
    return asyncio.run(curate(recipe, Palette.of(pool), chat, tools, np.random.default_rng(seed)))


def curation(outcome: Any) -> Curation:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def test_a_scene_has_the_planned_events_with_the_accepted_clips(pool: MemoryPool) -> None:
    found = curation(attempt(pool, saying(DOGS)))
    assert (found.planner, found.title, found.setting, found.refused) == ("llm:m-1", "t", "s", "")
    assert found.scene is not None and found.scene.planner == "llm:m-1"
    played = [(event.role.value, pool.get(event.clip_id).label) for event in found.scene.events]
    assert played == [("foreground", "dog bark"), ("foreground", "owl"), ("ambient", "rain")]
    texts = [(response.text, response.source) for event in found.scene.events for response in event.responses]
    assert texts == [("There was a dog bark.", "llm:m-1"), ("There was a owl.", "llm:m-1")]
    assert found.usage["scenario_planner"].calls == found.usage["event_refiner"].calls == 1 and len(found.calls) == 2
    assert [event.gap > 0 for event in found.scene.events] == [True, True, False]


def test_equal_rng_and_answers_give_equal_curations_and_another_rng_other_requests(pool: MemoryPool) -> None:
    first, again, other = (curation(attempt(pool, saying(DOGS), seed=seed)) for seed in (1, 1, 2))
    assert first == again and first.calls != other.calls


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("**Watch** out, a {sound}", "not_speakable"),
        ("Something happened.", "does_not_name_the_sound"),
        ("A {sound}. " + "And more. " * 42, "too_long"),
    ],
)
def test_an_unacceptable_wording_is_replaced_by_that_of_the_task_with_a_reason(pool: MemoryPool, response: str, why: str) -> None:
    found = curation(attempt(pool, saying(DOGS, refined(DOGS, response))))
    assert found.scene is not None
    sources = {response.source for event in found.scene.events for response in event.responses}
    assert sources == {"label"} and {event.wording for event in found.events[:2]} == {why}


def test_speech_gets_the_response_of_the_task_whatever_the_model_writes(pool: MemoryPool) -> None:
    talk = planned(("foreground", "what is 1 plus one", True), ("foreground", "owl", False), ("ambient", "rain", False))
    found = curation(attempt(pool, saying(talk, refined(talk, "It is seven.")), Task.STREAMING_ASR))
    assert found.scene is not None
    words = {response.text for event in found.scene.events for response in event.responses}
    assert words == {pool.get(found.scene.events[0].clip_id).transcript} and "It is seven." not in words


def test_an_invalid_plan_is_retried_once_then_rejected_and_both_calls_count(pool: MemoryPool) -> None:
    found = curation(attempt(pool, saying(planned(("foreground", "dog bark", True)))))
    assert found.scene is None and found.refused == "llm_wrong_schema" and "events" in found.detail
    assert found.usage["scenario_planner"].calls == 2 and len(found.calls) == 2 and "event_refiner" not in found.usage
    silent = planned(("foreground", "dog bark", False), ("foreground", "owl", True), ("ambient", "rain", False))
    assert curation(attempt(pool, saying(silent))).refused == "llm_failed_check"
    indoors = planned(("foreground", "dog bark", True), ("foreground", "rain", True), ("ambient", "rain", False))
    assert "no recording of rain for the foreground" in curation(attempt(pool, saying(indoors))).detail
    short = curation(attempt(pool, saying(DOGS, {"events": refined(DOGS)["events"][:2]})))
    assert short.refused == "llm_failed_check" and short.title == "t" and short.usage["event_refiner"].calls == 2


def test_only_json_narrow_restricts_the_schema_to_the_bag(pool: MemoryPool) -> None:
    schemas: dict[tuple[JsonMode, str], dict[str, Any]] = {}
    modes: tuple[JsonMode, ...] = ("json_schema", "json_narrow")
    for mode in modes:

        def says(request: ChatRequest, mode: JsonMode = mode) -> Any:
            schemas[mode, request.role] = request.answer_schema["properties"]["events"]
            return saying(DOGS)(request)

        assert curation(attempt(pool, says, mode=mode, events=[3, 3])).scene is not None
    roles = "scenario_planner", "event_refiner"
    assert [("items" in schemas["json_schema", role], "items" in schemas["json_narrow", role]) for role in roles] == [
        (True, False)
    ] * 2
    assert [len(schemas["json_narrow", role]["prefixItems"]) for role in roles] == [3, 3]


def test_an_event_without_a_clip_ends_the_attempt_and_is_recorded(pool: MemoryPool) -> None:
    verifier = Script({brief.id: ["reject"] for brief in pool.briefs()} | {f"made-{number}": ["reject"] for number in range(9)})
    found = curation(attempt(pool, saying(DOGS), verifier=verifier))
    assert found.refused == "ungrounded" and found.scene is None and len(found.events) == 1
    assert len(found.events[0].tried) == 4 and "dog bark" in found.detail


def test_a_broken_connection_is_a_failure_with_the_curation_so_far(pool: MemoryPool) -> None:
    def says(request: ChatRequest) -> Any:
        if request.role == "event_refiner":
            raise ServerFault("the line broke")
        return DOGS

    outcome = attempt(pool, says)
    assert isinstance(outcome, Failed) and "the line broke" in outcome.error
    assert outcome.payload["curation"]["title"] == "t" and outcome.payload["role"] == "event_refiner"


def test_a_spent_budget_is_raised_and_not_an_outcome(pool: MemoryPool) -> None:
    def says(request: ChatRequest) -> Any:
        raise BudgetSpent("no more")

    with pytest.raises(BudgetSpent):
        attempt(pool, says)


def test_events_beyond_the_maximum_length_are_left_out_with_a_reason(pool: MemoryPool) -> None:
    found = curation(attempt(pool, saying(DOGS), max_seconds=2))
    assert found.scene is not None and [event.role.value for event in found.scene.events] == ["foreground", "ambient"]
    assert found.events[1].left_out == "stream_long_enough" and found.events[1].clip_id is None


def test_a_scene_that_is_too_long_all_the_same_is_rejected(pool: MemoryPool) -> None:
    """The pause before the first sound already fills the stream."""
    found = curation(attempt(pool, saying(DOGS), max_seconds=2, gap_seconds=[1.9, 1.9]))
    assert found.scene is None and found.refused == "too_long" and len(found.events) == 3


@pytest.mark.parametrize("task", [Task.EVENT_DESCRIPTION, Task.PROACTIVE_RESPOND, Task.VOICE_CHAT, Task.STREAMING_ASR])
def test_a_bag_holds_each_annotation_once_and_speech_of_one_voice(pool: MemoryPool, task: Task) -> None:
    for seed in range(8):
        bag, voice = draw_bag(SceneConfig(), POLICIES[task], Palette.of(pool), pool, np.random.default_rng(seed))
        sounds = [one["sound"] for one in bag]
        assert len(set(sounds)) == len(sounds) <= sum(SceneConfig().bag) and "rain" in sounds
        assert all(len(one.get("caption", "")) <= MAX_WORDS for one in bag)
        spoken = {one["sound"] for one in bag if one.get("kind") == "speech"}
        assert bool(spoken) == bool(voice) == POLICIES[task].responds_to_speech
        answer = {clip.transcript for clip in map(pool.get, pool.ids(ClipRole.FOREGROUND)) if clip.source == voice}
        assert spoken <= answer
