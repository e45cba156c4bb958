"""The bag: every answer that fits a narrowed schema is valid."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.bag import SHORT, contradiction, draw_bag, narrow_refinement, narrow_scenario, with_recordings
from soundflow.operators.protocols.asking import answer_schema
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.scenario import Refinement, Scenario
from soundflow.schemas.taxonomy import Task
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.grounding_tools import tone

TASKS = (Task.EVENT_DESCRIPTION, Task.PROACTIVE_RESPOND, Task.VOICE_CHAT, Task.STREAMING_ASR, Task.EVENT_COUNTING)


@pytest.fixture(scope="module")
def pool() -> MemoryPool:
    pool = MemoryPool()
    for number, label in enumerate(["dog bark", "owl", "typing", "siren", "glass breaking", "guitar"] * 2):
        pool.add(f"clip-{number:02d}", tone(0.4 + number / 5), label=label, caption=f"{label} close by" if number % 2 else "")
    for number in range(6):
        pool.add(f"speech-{number}", tone(1.0), label="speech", transcript=f'"what" is {number}?', source=f"voice-{number % 2}")
    pool.add("rain", tone(2.0), ClipRole.AMBIENT, "rain")
    pool.add("traffic", tone(2.0), ClipRole.BACKGROUND, "traffic")
    return pool


def written(schema: dict[str, Any], node: dict[str, Any], rng: np.random.Generator) -> Any:
    """A document a grammar of the schema lets through, as long as it may be."""
    if "$ref" in node:
        return written(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], rng)
    if "anyOf" in node:
        return written(schema, node["anyOf"][rng.integers(len(node["anyOf"]))], rng)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return node["enum"][rng.integers(len(node["enum"]))]
    match node["type"]:
        case "object":
            return {name: written(schema, child, rng) for name, child in node["properties"].items()}
        case "array":
            return [written(schema, child, rng) for child in node["prefixItems"]]
        case "boolean":
            return bool(rng.integers(2))
        case "string":
            return "a" * node["maxLength"]
        case "null":
            return None
    return 1


@pytest.mark.parametrize("task", TASKS)
def test_a_narrowed_schema_allows_only_plans_of_the_bag_without_contradiction(pool: MemoryPool, task: Task) -> None:
    policy, scene, counts = POLICIES[task], SceneConfig(), set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        bag, _ = draw_bag(scene, policy, Palette.of(pool), pool, rng)
        schema = copy.deepcopy(answer_schema(Scenario, lengths=True))
        narrow_scenario(schema, bag, 3 + seed % 3, policy.responds_to_speech)
        scenario = Scenario.model_validate(written(schema, schema, rng))
        assert not policy.find_contradiction(scenario) and not contradiction(scenario, bag)
        assert {event.sound for event in scenario.events} <= {one["sound"] for one in bag}
        assert scenario.events[0].role == "foreground" and len(scenario.narrative) == SHORT["narrative"]
        counts.add(len(scenario.events))

        schema, worded = copy.deepcopy(answer_schema(Refinement, lengths=True)), bool(policy.response_rule)
        narrow_refinement(schema, scenario, bag, worded)
        refinement = Refinement.model_validate(written(schema, schema, rng))
        assert not refinement.mismatch(scenario, worded)
        entries = {one["sound"]: one for one in bag}
        for planned, refined in zip(scenario.events, refinement.events, strict=True):
            entry = entries[planned.sound]
            assert refined.query in (planned.sound, entry.get("caption"))
            assert refined.min_seconds <= entry["seconds"] <= refined.max_seconds
            assert bool(refined.response) == (planned.responds and worded)
    assert counts == {3, 4, 5}


def test_a_plan_that_contradicts_a_recording_is_corrected_and_other_sounds_are_allowed() -> None:
    bag = [
        {"role": "foreground", "sound": "siren", "seconds": 1.0, "answered": True},
        {"role": "ambient", "sound": "rain", "seconds": 9.0},
    ]

    def scenario(*events: tuple[str, str, bool]) -> Scenario:
        rows = [
            {"order": order, "role": role, "sound": sound, "responds": responds, "why": "so"}
            for order, (role, sound, responds) in enumerate((*events, *[("foreground", "a kettle", True)] * 2), 1)
        ]
        return Scenario.model_validate({"title": "t", "setting": "s", "narrative": "n", "events": rows})

    assert contradiction(scenario(("foreground", "siren", True), ("ambient", "rain", False)), bag) == ""
    assert "responds must be true for siren" in contradiction(scenario(("foreground", "siren", False)), bag)
    assert "no recording of rain for the background" in contradiction(scenario(("background", "rain", False)), bag)
    document = with_recordings(scenario(("foreground", "siren", True)), bag)
    assert [event.get("recording") for event in document["events"]] == [{"seconds": 1.0}, None, None]
