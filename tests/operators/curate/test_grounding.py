"""Grounding: every event gets a verified clip, retrieved or generated, or a reason why it has none."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from soundflow.operators.curate.grounding import Grounding, GroundingTools, ground
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.outcome import Failed, Ok
from soundflow.schemas.scenario import RefinedEvent, SubEvent
from soundflow.schemas.taxonomy import Task
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.grounding_tools import Found, Maker_, Script, tone, tools_of

Plan = tuple[str, str, bool]
"""Role, sound, whether it is answered."""


@pytest.fixture
def pool() -> MemoryPool:
    pool = MemoryPool()
    for number in range(5):
        pool.add(f"dog-{number}", tone(0.5 + number / 10), label="dog bark")
    pool.add("siren", tone(1.0), label="siren")
    pool.add("siren-behind", tone(1.0), ClipRole.BACKGROUND, "siren")
    pool.add("rain", tone(2.0), ClipRole.AMBIENT, "rain")
    for voice in ("anna", "ben"):
        for number in range(2):
            pool.add(f"{voice}-{number}", tone(), label="speech", transcript=f"hello there {number}", source=voice)
    return pool


def grounded(
    plan: list[Plan], tools: GroundingTools, task: Task = Task.EVENT_DESCRIPTION, voice: str = "", **refined: Any
) -> Any:
    events = [
        SubEvent(order=order, role=role, sound=sound, responds=responds, why="so")  # type: ignore[arg-type]
        for order, (role, sound, responds) in enumerate(plan, 1)
    ]
    wishes = [
        RefinedEvent.model_validate(
            {
                "order": event.order,
                "query": event.sound,
                "caption": f"{event.sound} close by",
                "min_seconds": 0.2,
                "max_seconds": 5.0,
            }
            | refined
        )
        for event in events
    ]
    return asyncio.run(ground(events, wishes, POLICIES[task], tools, voice, np.random.default_rng(1)))


def grounding_of(outcome: Any) -> Grounding:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def test_the_best_hit_that_is_accepted_plays_and_no_clip_plays_twice(pool: MemoryPool) -> None:
    found = grounding_of(grounded([("foreground", "dog", True)] * 3, tools_of(pool)))
    assert [(event.clip_id, event.how) for event in found.events] == [(f"dog-{n}", "retrieved@1") for n in range(3)]
    assert not found.refused


def test_a_query_that_is_a_sentence_is_replaced_by_the_planned_sound(pool: MemoryPool) -> None:
    story = "The family takes turns to listen to the dog, and it makes their evening meaningful."
    found = grounding_of(grounded([("foreground", "siren", True)], tools_of(pool), query=story))
    assert found.events[0].clip_id == "siren" and found.events[0].refined.query == story


def test_three_candidates_are_tried_in_order_then_a_generated_clip_is_verified(pool: MemoryPool) -> None:
    verifier, maker = Script({f"dog-{number}": ["reject"] for number in range(3)}), Maker_()
    (event,) = grounding_of(grounded([("foreground", "dog", True)], tools_of(pool, verifier, maker))).events
    assert [one.clip_id for one in event.tried] == ["dog-0", "dog-1", "dog-2", "made-0"]
    assert [one.refused for one in event.tried] == ["clip_identity"] * 3 + [""]
    assert event.how == "generated" and ("made-0", False) in verifier.judged
    ((caption, seconds, _),) = maker.requests
    assert (caption, seconds) == ("dog close by", (0.2, 5.0))


def test_a_rejected_generated_clip_is_not_used(pool: MemoryPool) -> None:
    verifier = Script({"made-0": ["reject"]})
    found = grounding_of(grounded([("foreground", "kettle", True)], tools_of(pool, verifier, Maker_())))
    assert found.refused == "ungrounded" and found.events[0].clip_id is None
    assert found.detail == "event 1 (kettle): clip_identity"


def test_a_foreground_event_without_a_clip_ends_the_scene_and_a_background_one_is_left_out(pool: MemoryPool) -> None:
    found = grounding_of(grounded([("background", "kettle", False), ("foreground", "dog", True)], tools_of(pool)))
    assert [event.how for event in found.events] == ["left_out", "retrieved@1"] and not found.refused
    assert found.events[0].left_out == "nothing_found"
    found = grounding_of(
        grounded(
            [("foreground", "kettle", True), ("foreground", "dog", True)],
            tools_of(pool, generator=Maker_()),
            caption="impossible",
        )
    )
    assert found.refused == "ungrounded" and len(found.events) == 1 and "cannot_make" in found.detail


def test_a_reprocessed_clip_is_judged_again_and_neither_version_is_used_twice(pool: MemoryPool) -> None:
    verifier = Script({"dog-0": ["reprocess"], "dog-1": ["reprocess"], "dog-1-cleaned": ["reject", "reject"]})
    first, second = grounding_of(grounded([("foreground", "dog", True)] * 2, tools_of(pool, verifier))).events
    assert first.clip_id == "dog-0-cleaned" and first.reprocessed and len(first.tried[-1].judged) == 2
    assert verifier.judged[:2] == [("dog-0", False), ("dog-0-cleaned", True)]
    assert [one.refused for one in second.tried] == ["clip_identity", ""] and second.clip_id == "dog-2"


def test_hazards_never_play_in_the_background_and_are_not_generated_for_it(pool: MemoryPool) -> None:
    maker = Maker_()
    (event,) = grounding_of(grounded([("background", "siren", False)], tools_of(pool, generator=maker))).events
    assert event.clip_id is None and event.left_out == "unsuitable" and not maker.requests


def test_a_proactive_stream_uses_only_clips_with_a_decisive_label(pool: MemoryPool) -> None:
    pool.add("hum", tone(), label="strange hum")
    task = Task.PROACTIVE_RESPOND
    found = grounding_of(grounded([("foreground", "siren", True), ("foreground", "strange", False)], tools_of(pool), task))
    assert found.events[0].clip_id == "siren"
    assert found.refused == "ungrounded", "nobody knows whether a strange hum calls for an answer"


def test_speech_keeps_one_voice_if_possible_and_is_never_generated(pool: MemoryPool) -> None:
    maker = Maker_()
    tools = tools_of(pool, generator=maker)
    found = grounding_of(grounded([("foreground", "hello", True)] * 3, tools, Task.STREAMING_ASR, voice="ben"))
    assert [event.clip_id for event in found.events] == ["ben-0", "ben-1", "anna-0"]
    found = grounding_of(grounded([("foreground", "goodbye", True)], tools, Task.STREAMING_ASR, voice="ben"))
    assert found.refused == "ungrounded" and not maker.requests


def test_an_error_of_a_service_is_a_failure_and_not_a_verdict(pool: MemoryPool) -> None:
    assert isinstance(grounded([("foreground", "dog", True)], tools_of(pool, Script({"dog-0": ["broken"]}))), Failed)
    broken = grounded([("foreground", "kettle", True)], tools_of(pool, generator=Maker_()), caption="broken")
    assert isinstance(broken, Failed) and broken.stage == "generation"


def test_an_equal_request_reuses_the_generated_clip(pool: MemoryPool) -> None:
    maker = Maker_()
    tools = tools_of(pool, generator=maker)
    clips = [grounding_of(grounded([("foreground", "kettle", True)], tools)).events[0].clip_id for _ in range(2)]
    assert clips == ["made-0", "made-0"] and len(maker.requests) == 1


def test_only_a_foreground_clip_can_be_too_long(pool: MemoryPool) -> None:
    tools = tools_of(pool)
    grounded([("foreground", "dog", True), ("ambient", "rain", False)], tools)
    assert isinstance(tools.retriever, Found)
    requests = {query.role: query.seconds for query in tools.retriever.requests}
    assert requests[ClipRole.FOREGROUND] == (0.1, 10.0) and requests[ClipRole.AMBIENT] == (0.1, float("inf"))
    assert all(query.k >= tools.top_k for query in tools.retriever.requests)
