"""The 28 sub-tasks: each makes streams from clips that serve it, what is answered obeys its policy, forgeries are found."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.operators.compose.clips import Palette
from soundflow.operators.compose.mixing import StreamIdentity, compose
from soundflow.operators.curate.planning import available_tasks, check_tasks, plan_scene, weights_of
from soundflow.operators.tasks import POLICIES
from soundflow.operators.tasks.supervision import find_disagreements
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import SUB_TASKS, WHOLE, Capability, Task
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import LAYOUT, QUIET
from tests.support import every_task
from tests.support.policies import obeyed

ALL = [task for tasks in SUB_TASKS.values() for task in tasks]


class World:
    """Clips that serve all sub-tasks."""

    def __init__(self) -> None:
        self.pool = every_task.pool()
        self.palette = Palette.of(self.pool)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def recipe(**change: object) -> Recipe:
    return Recipe.model_validate({"clips": "x", "streams": 1, "shards": 1, "scene": {"events": [3, 8]}} | change)


def stream_of(task: Task, world: World, index: int, **scene: object) -> StreamPlan | None:
    """The plan of a stream; None when this draw made none."""
    chosen = recipe(tasks={task.value: 1.0}, scene={"events": [3, 8]} | scene)
    planned = plan_scene(chosen, world.palette, world.pool, rng_for("ab" * 32, 0, index, "scene"))
    if not isinstance(planned, Ok):
        assert planned.reason == "no_stream_of_the_task"
        return None
    identity = StreamIdentity("sf-000000000000-000000-00000", "0" * 64, 0, 0)
    mixed = compose(planned.value, identity, world.pool, QUIET, LAYOUT, np.random.default_rng(index))
    assert isinstance(mixed, Ok), mixed
    return mixed.value[0]


def test_there_are_seven_capabilities_and_28_sub_tasks_each_with_one_policy() -> None:
    assert len(Capability) == 7 and len(ALL) == len(set(ALL)) == 28
    assert set(POLICIES) == set(Task) == {*ALL, *WHOLE}
    assert all(POLICIES[task].task is task and task in (*SUB_TASKS[task.capability], *WHOLE) for task in Task)


@settings(max_examples=300)
@given(task=st.sampled_from(ALL), index=st.integers(0, 10_000))
def test_every_sub_task_makes_streams_that_obey_its_policy(world: World, task: Task, index: int) -> None:
    plan = stream_of(task, world, index)
    if plan is None:
        return
    assert find_disagreements(plan) == []
    assert obeyed(plan) == []
    front = [clip for clip in plan.clips if clip.role is ClipRole.FOREGROUND]
    assert 3 <= len(front) <= 15
    chunks = [response.chunk for response in plan.responses]
    assert all(later > earlier for earlier, later in pairwise(chunks))


@pytest.mark.parametrize("task", ALL)
def test_most_draws_make_a_stream_with_responses(world: World, task: Task) -> None:
    plans = [stream_of(task, world, index, benign_share=0.3) for index in range(12)]
    made = [plan for plan in plans if plan is not None]
    assert len(made) >= 9 and sum(bool(plan.responses) for plan in made) >= 8
    assert len({plan.instruction for plan in made}) > 1


def forgeries(plan: StreamPlan) -> dict[str, StreamPlan]:
    """The plan with one thing changed that brief and clips deny."""
    first = plan.responses[0]
    text = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), first.text)
    text = text if text != first.text else chr(ord(first.text[0]) + 1) + first.text[1:]
    pieces = (first.pieces[0].model_copy(update={"text": text}), *first.pieces[1:])
    changed = first.model_copy(update={"text": text, "pieces": pieces})
    forged = {
        "text": {"responses": (changed, *plan.responses[1:])},
        "silence": {"responses": plan.responses[1:]},
        "instruction": {"instruction": plan.instruction + " Please."},
    }
    for name, value in plan.brief.items():
        other: object = f"no {value}"
        if isinstance(value, int):
            other = value + 1
        if isinstance(value, tuple):
            other = (*value[1:], value[0])
        forged[f"brief {name}"] = {"brief": plan.brief | {name: other}}
    return {name: plan.model_copy(update=update) for name, update in forged.items()}


@pytest.mark.parametrize("task", ALL)
def test_an_altered_count_letter_word_or_instruction_is_found(world: World, task: Task) -> None:
    plans = (stream_of(task, world, index, benign_share=0.0) for index in range(40))
    plan = next(plan for plan in plans if plan is not None and plan.responses)
    assert find_disagreements(plan) == []
    for name, forged in forgeries(plan).items():
        if name == "silence" and task.capability in (Capability.ASR, Capability.TRANSLATION):
            continue  # the first chunk of a running text
        assert find_disagreements(forged), name


def test_what_is_watched_for_never_plays_in_the_background(world: World) -> None:
    plans = [stream_of(Task.MUSIC_OPEN_QA, world, index, background=[2, 2], planner="random") for index in range(20)]
    background = {clip.clip_id for plan in plans if plan for clip in plan.clips if clip.role is ClipRole.BACKGROUND}
    assert background == {"behind-typing"}


def test_a_dialogue_with_a_question_of_its_own_is_played_up_to_it(world: World) -> None:
    for index in range(10):
        plan = stream_of(Task.CHAT_HISTORY, world, index, events=[3, 3], silent_share=0, proactive_share=0)
        assert plan is not None
        turns = [clip.clip_id for clip in plan.clips if clip.kind == "speech"]
        assert turns == [f"chat-trip-{number}" for number in range(4)] and plan.responses[-1].text == "In Oslo."


def test_mix_ins_come_as_often_as_the_recipe_says(world: World) -> None:
    for share in (0.0, 0.4, 1.0):
        mixed = {"silent_share": share, "proactive_share": share, "history_review_share": share, "distractor_share": 0.0}
        plans = [stream_of(Task.CHAT_DISCUSSION, world, index, **mixed) for index in range(60)]
        sounds = [
            [clip for clip in plan.clips if clip.role is ClipRole.FOREGROUND and clip.kind == "sound"] for plan in plans if plan
        ]
        warned = np.mean([plan.brief["warns"] for plan in plans if plan])
        questioned = np.mean([any(clip.clip_id == "ask-back" for clip in plan.clips) for plan in plans if plan])
        assert abs(warned - share) < 0.15 and abs(np.mean([len(some) for some in sounds]) - 2 * share) < 0.25
        assert abs(questioned - share) < 0.15


def test_a_capability_stands_for_the_sub_tasks_the_clips_can_serve(world: World) -> None:
    chosen = recipe(tasks={"understanding": 3.0, "asr_english": 1.0})
    weights = weights_of(chosen, world.palette)
    assert weights == {Task.ASR_ENGLISH: 1.0} | dict.fromkeys(SUB_TASKS[Capability.UNDERSTANDING], 0.5)
    check_tasks(chosen, world.palette)
    small = MemoryPool()
    for number in range(3):
        small.add(f"owl-{number}", np.full(3200, 0.1 + number / 10, dtype=np.float32), label="owl")
    few = Palette.of(small)
    assert set(weights_of(recipe(tasks={"understanding": 1}), few)) == available_tasks(few) & set(
        SUB_TASKS[Capability.UNDERSTANDING]
    )
    why = r"tasks\.music: the index has no clips for its sub-tasks, which require pieces of music"
    with pytest.raises(InputError, match=why):
        check_tasks(recipe(tasks={"music": 1}), few)
    with pytest.raises(InputError, match=r"tasks\.asr_mandarin: too few clips: the index has 0 speech clips"):
        check_tasks(recipe(tasks={"asr_mandarin": 1, "event_description": 1}), few)
