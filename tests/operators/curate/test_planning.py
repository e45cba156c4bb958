"""Scene planning: choice of clips, responses, and rejected recipes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.planning import available_tasks, check_tasks, plan_scene
from soundflow.operators.tasks import POLICIES
from soundflow.operators.tasks.policy import ResponseOption
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Scene
from soundflow.schemas.taxonomy import Task
from tests.operators.compose.pool import MemoryPool

LABELS = ["dog bark", "siren", "bird chirp", "rain", "baby cry", "typing", "owl", "glass break"]


@pytest.fixture(scope="module")
def pool() -> MemoryPool:
    rng = np.random.default_rng(3)
    made = MemoryPool()
    for number in range(24):
        noise = (rng.standard_normal(3200 * int(rng.integers(1, 9))) * 0.1).astype(np.float32)
        made.add(f"sound{number:02d}", noise, label=LABELS[number % len(LABELS)])
        made.add(
            f"speech{number:02d}", noise[::-1], label="speech", transcript=f"sentence {number}", source=f"speaker{number % 3}"
        )
    made.add("backdrop", noise * 0.5, role=ClipRole.BACKGROUND, label="typing")
    made.add("room", noise * 0.25, role=ClipRole.AMBIENT, label="wind")
    made.add("alarm-behind", noise * 0.125, role=ClipRole.BACKGROUND, label="fire alarm")
    return made


def recipe(**change: object) -> Recipe:
    tasks = dict.fromkeys(("event_description", "proactive_respond", "voice_chat", "streaming_asr"), 1.0)
    return Recipe.model_validate({"clips": "x", "streams": 10, "shards": 1, "tasks": tasks} | change)


def answers(task: Task, clip: Clip) -> list[ResponseOption]:
    return POLICIES[task].respond_to_clip(clip)


def scene_of(chosen: Recipe, pool: MemoryPool, index: int) -> Scene:
    outcome = plan_scene(chosen, Palette.of(pool), pool, rng_for("ab" * 32, 0, index, "scene"))
    assert isinstance(outcome, Ok)
    return outcome.value


@given(index=st.integers(0, 10_000), planner=st.sampled_from(["template", "random"]))
def test_every_scene_keeps_the_recipes_bounds_and_uses_no_clip_twice(pool: MemoryPool, index: int, planner: str) -> None:
    chosen = recipe(scene={"planner": planner, "events": [3, 7]})
    scene = scene_of(chosen, pool, index)
    foreground = [event for event in scene.events if event.role is ClipRole.FOREGROUND]
    assert 3 <= len(foreground) <= 7
    assert len({event.clip_id for event in scene.events}) == len(scene.events)
    assert scene.planner == planner
    assert all(0 <= event.gap <= round(0.8 * 16_000) for event in foreground)
    for event in scene.events:
        assert all(0 < said.evidence <= pool.get(event.clip_id).samples for said in event.responses)


@given(index=st.integers(0, 10_000))
def test_responses_follow_from_the_clip_alone(pool: MemoryPool, index: int) -> None:
    scene = scene_of(recipe(), pool, index)
    for event in scene.events:
        allowed = answers(scene.task, pool.get(event.clip_id)) if event.role is ClipRole.FOREGROUND else []
        assert [said.text for said in event.responses] in ([[answer.text] for answer in allowed] or [[]])


@given(index=st.integers(0, 10_000))
def test_hazards_never_play_in_the_background(pool: MemoryPool, index: int) -> None:
    scene = scene_of(recipe(scene={"background": [2, 4]}), pool, index)
    assert all(event.clip_id != "alarm-behind" for event in scene.events)


def test_equal_identity_gives_equal_scenes_and_another_index_another(pool: MemoryPool) -> None:
    assert scene_of(recipe(), pool, 5) == scene_of(recipe(), pool, 5)
    assert len({scene_of(recipe(), pool, index).canonical_json() for index in range(20)}) == 20


def test_proactive_streams_mix_hazards_and_benign_sounds_as_the_recipe_asks(pool: MemoryPool) -> None:
    def answered_share(benign_share: float) -> float:
        chosen = recipe(tasks={"proactive_respond": 1}, scene={"benign_share": benign_share, "events": [4, 6]})
        events = [
            event for index in range(60) for event in scene_of(chosen, pool, index).events if event.role is ClipRole.FOREGROUND
        ]
        return float(np.mean([bool(event.responses) for event in events]))

    assert answered_share(1.0) < 0.05 < 0.4 < answered_share(0.5) < 0.6 < 0.95 < answered_share(0.0)


def test_a_hazard_gets_a_response_before_it_ends_and_speech_after(pool: MemoryPool) -> None:
    chosen = recipe(tasks={"proactive_respond": 1}, scene={"proactive_evidence_seconds": 0.25})
    hazards = [event for index in range(20) for event in scene_of(chosen, pool, index).events if event.responses]
    assert hazards and all(event.responses[0].evidence <= 4000 for event in hazards)
    chosen = recipe(tasks={"streaming_asr": 1})
    said = [event for index in range(20) for event in scene_of(chosen, pool, index).events if event.responses]
    assert said and all(event.responses[0].evidence == pool.get(event.clip_id).active_end for event in said)


def test_a_dialogue_keeps_one_voice(pool: MemoryPool) -> None:
    chosen = recipe(tasks={"voice_chat": 1}, scene={"events": [3, 6], "distractor_share": 0.0})
    for index in range(20):
        voices = {pool.get(event.clip_id).source for event in scene_of(chosen, pool, index).events if event.responses}
        assert len(voices) == 1


def test_a_template_reply_is_marked_as_such(pool: MemoryPool) -> None:
    made = answers(Task.VOICE_CHAT, pool.get("speech00"))
    assert {answer.source for answer in made} == {"template"} and all("sentence 0" in answer.text for answer in made)
    paired = pool.get("speech00").model_copy(update={"reply": "It is noon."})
    assert answers(Task.VOICE_CHAT, paired) == [ResponseOption("It is noon.", "manifest")]


@pytest.mark.parametrize(
    ("label", "caption", "said", "never"),
    [
        ("dog bark", "a dog barking", "a dog barking", "dog bark."),
        ("dog_bark", "", ": dog bark.", "of dog bark"),
        ("menu_change", "menu change", ": menu change.", "of menu change"),
    ],
)
def test_a_response_uses_the_caption_or_the_label(label: str, caption: str, said: str, never: str) -> None:
    clip = MemoryPool().add("x", np.ones(3200, dtype=np.float32) * 0.1, label=label, caption=caption)
    for answer in answers(Task.EVENT_DESCRIPTION, clip):
        assert said in answer.text and never not in answer.text


def test_the_error_for_too_few_clips_names_task_and_remedy() -> None:
    small = MemoryPool()
    small.add("one", np.ones(3200, dtype=np.float32) * 0.1, label="owl")
    palette = Palette.of(small)
    sounds = {Task.EVENT_DESCRIPTION, Task.AUDIO_OPEN_QA, Task.AUDIO_CHOICE_QA, Task.SCENE_DESCRIPTION}
    assert available_tasks(palette) == sounds
    with pytest.raises(InputError, match=r"tasks\.event_description: too few clips.*scene\.events"):
        check_tasks(recipe(tasks={"event_description": 1}), palette)
    with pytest.raises(InputError, match=r"tasks\.voice_chat"):
        check_tasks(recipe(tasks={"voice_chat": 1}), palette)
    check_tasks(recipe(tasks={"event_description": 1, "voice_chat": 0}, scene={"events": [1, 3]}), palette)


def test_a_stream_stays_within_its_seconds_but_is_never_empty(pool: MemoryPool) -> None:
    chosen = recipe(scene={"max_seconds": 2.0, "events": [9, 9], "gap_seconds": [0, 0]})
    outcomes = [plan_scene(chosen, Palette.of(pool), pool, rng_for("ab" * 32, 0, index, "scene")) for index in range(40)]
    scenes = [outcome.value for outcome in outcomes if isinstance(outcome, Ok)]
    assert len(scenes) >= 36 and {outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)} <= {"too_long"}
    for scene in scenes:
        foreground = [event for event in scene.events if event.role is ClipRole.FOREGROUND]
        assert 0 < sum(pool.get(event.clip_id).samples for event in foreground) <= 2.0 * 16_000
