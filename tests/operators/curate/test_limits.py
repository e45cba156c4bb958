"""Limits of a recipe that every stream keeps: its length, the uses of a clip, and how often a label is drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.operators.compose.clips import Palette
from soundflow.operators.compose.mixing import compose, scene_chunks
from soundflow.operators.compose.quota import ClipQuota
from soundflow.operators.curate.bag import draw_bag
from soundflow.operators.curate.planning import check_tasks, plan_scene
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import rng_for
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.scene import Scene
from soundflow.schemas.taxonomy import Task
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import IDENTITY, LAYOUT, QUIET, burst
from tests.support import every_task


def recipe(task: Task | str = "event_description", scene: dict[str, object] | None = None, **change: object) -> Recipe:
    document = {"clips": "x", "streams": 1, "shards": 1, "tasks": {str(task): 1.0}, "scene": scene or {}}
    return Recipe.model_validate(document | change)


def planned(chosen: Recipe, pool: MemoryPool, index: int, palette: Palette | None = None) -> Outcome[Scene]:
    return plan_scene(chosen, palette or Palette.of_recipe(pool, chosen), pool, rng_for("ab" * 32, 0, index, "scene"))


@pytest.fixture(scope="module")
def pool() -> MemoryPool:
    """Clips for every sub-task, of 0.4 s to 2 s, and some that are much longer."""
    pool = every_task.pool()
    for number, label in enumerate(("dog bark", "siren", "rain", "guitar", "scream")):
        pool.add(f"long-{label}", burst(16_000 * (9 + number), 50 + number), label=label)
    for turn in range(4):
        spoken = {"transcript": f"This is turn {turn}.", "reply": "I see.", "language": "en", "source": "chats"}
        long = {"dialogue": "long", "turn": turn, "voice": "long"}
        pool.add(f"long-turn-{turn}", burst(16_000 * (3 + 8 * (turn == 2)), 70 + turn), label="speech", **spoken, **long)
    return pool


@settings(max_examples=400)
@given(
    task=st.sampled_from(list(Task)),
    index=st.integers(0, 10_000),
    limit=st.sampled_from([2.0, 2.3, 4.0, 7.9, 8.0, 15.0, 120.0]),
    planner=st.sampled_from(["template", "random"]),
    gap=st.sampled_from([(0.0, 0.0), (0.0, 0.8), (1.0, 1.5)]),
    balance=st.sampled_from(["clip", "label"]),
)
def test_no_stream_of_any_sub_task_is_longer_than_the_recipe_allows(
    pool: MemoryPool, task: Task, index: int, limit: float, planner: str, gap: tuple[float, float], balance: str
) -> None:
    scene = {"planner": planner, "max_seconds": limit, "gap_seconds": gap, "events": [3, 12], "history_review_share": 1.0}
    chosen = recipe(task, scene | {"silent_share": 1.0, "proactive_share": 1.0}, balance=balance)
    for palette in (Palette.of(pool), Palette.of_recipe(pool, chosen)):
        outcome = planned(chosen, pool, index, palette)
        if isinstance(outcome, Ok):
            mixed = compose(outcome.value, IDENTITY, pool, QUIET, LAYOUT, np.random.default_rng(index))
            assert isinstance(mixed, Ok)
            plan = mixed.value[0]
            assert plan.seconds <= limit
            clips = [pool.get(event.clip_id) for event in outcome.value.events]
            assert scene_chunks(outcome.value.events, clips) == plan.chunks
        else:
            assert isinstance(outcome, Rejected) and outcome.reason in ("too_long", "too_few_clips", "no_stream_of_the_task")


def test_a_dialogue_that_must_be_whole_is_rejected_with_a_reason() -> None:
    """The question at the end of this dialogue needs all five turns: 5 s each do not fit 20 s."""
    pool = MemoryPool()
    for turn in range(5):
        label = "review question" if turn == 4 else "speech"
        spoken = {"transcript": f"This is turn {turn}.", "reply": "I see.", "language": "en", "dialogue": "one", "turn": turn}
        pool.add(f"turn-{turn}", burst(80_000, turn), label=label, **spoken)
    short = recipe("chat_history", {"events": [3, 3], "max_seconds": 20, "silent_share": 0, "proactive_share": 0})
    outcome = planned(short, pool, 0)
    assert isinstance(outcome, Rejected) and outcome.reason == "too_long" and outcome.metrics["seconds"] >= 25
    assert isinstance(planned(recipe("chat_history", {"events": [3, 3], "silent_share": 0, "proactive_share": 0}), pool, 0), Ok)


def test_a_response_that_is_due_after_the_limit_counts() -> None:
    """The clip ends in the last chunk; a second response in the same chunk would be due one chunk later."""
    pool = MemoryPool()
    pool.add("sound", burst(32_000), label="dog bark")
    scene = planned(recipe(scene={"events": [1, 1], "max_seconds": 2, "gap_seconds": [0, 0]}), pool, 0)
    assert isinstance(scene, Ok) and scene_chunks(scene.value.events, [pool.get("sound")]) == 5
    event = scene.value.events[0]
    twice = event.model_copy(update={"responses": (event.responses[0], event.responses[0])})
    assert scene_chunks([twice], [pool.get("sound")]) == 6


def test_clips_that_are_longer_than_a_stream_are_named_when_there_are_no_others() -> None:
    pool = MemoryPool()
    for number in range(4):
        pool.add(f"rain-{number}", burst(16_000 * 12, number), label="rain")
    chosen = recipe(scene={"max_seconds": 10, "events": [3, 4]})
    with pytest.raises(InputError, match=r"4 foreground clips that are longer than scene\.max_seconds allows"):
        check_tasks(chosen, Palette.of_recipe(pool, chosen))


def uneven() -> MemoryPool:
    """Sixty dogs, six owls and three bells."""
    pool = MemoryPool()
    for label, count in (("dog bark", 60), ("owl", 6), ("bell", 3)):
        for number in range(count):
            pool.add(f"{label}-{number}", burst(3_200, number), label=label)
    return pool


def drawn_labels(balance: str) -> Counter[str]:
    pool = uneven()
    chosen = recipe(scene={"planner": "random", "events": [1, 1], "background": [0, 0]}, balance=balance)
    palette, counts = Palette.of_recipe(pool, chosen), Counter[str]()
    for index in range(900):
        outcome = planned(chosen, pool, index, palette)
        assert isinstance(outcome, Ok)
        counts[pool.get(outcome.value.events[0].clip_id).label] += 1
    return counts


def test_labels_are_drawn_uniformly_on_request() -> None:
    balanced, plain = drawn_labels("label"), drawn_labels("clip")
    assert all(250 <= balanced[label] <= 350 for label in ("dog bark", "owl", "bell"))  # 300 each; 4 sigma are 57
    assert plain["dog bark"] > 700 and plain["bell"] < 80


def test_a_balanced_bag_has_every_label_before_any_twice() -> None:
    pool = uneven()
    for number in range(60):
        pool.add(f"caption-{number}", burst(3_200, 100 + number), label="dog bark", caption=f"dog number {number} barks")
    palette = Palette.of(pool)
    policy, scene = POLICIES[Task.EVENT_DESCRIPTION], recipe(scene={"bag": [3, 0, 0]}).scene
    for seed in range(20):
        bag, _ = draw_bag(scene, policy, palette, pool, np.random.default_rng(seed), by_label=True)
        assert sorted(entry["sound"] for entry in bag) == ["bell", "dog bark", "owl"]


@given(streams=st.integers(1, 40), limit=st.integers(1, 50), seed=st.integers(0, 99))
def test_no_clip_may_be_in_more_streams_than_allowed(streams: int, limit: int, seed: int) -> None:
    pool = MemoryPool()
    for number in range(6):
        pool.add(f"owl-{number}", burst(3_200, number), label="owl")
        turn = {"transcript": "Hello.", "dialogue": "talk", "turn": number}
        pool.add(f"turn-{number}", burst(3_200, 50 + number), label="speech", **turn)
    quota = ClipQuota(pool.briefs(), recipe(streams=streams, max_clip_uses=limit, seed=seed))
    allowed = [[brief.id for brief in quota.briefs(number)] for number in range(streams)]
    uses = Counter(clip for ids in allowed for clip in ids)
    assert set(uses.values()) == {min(limit, streams)} and len(uses) == 12  # all that is allowed, and no more
    assert all(ids == sorted(ids) for ids in allowed)
    assert all(len({clip for clip in ids if clip.startswith("turn")}) in (0, 6) for ids in allowed)  # dialogues are whole


def test_streams_are_numbered_in_order_of_shards() -> None:
    chosen = recipe(streams=11, shards=4)
    places = [(shard, index) for shard, size in enumerate(chosen.shard_sizes()) for index in range(size)]
    assert [chosen.stream_number(*place) for place in places] == list(range(11))


def test_options_that_exclude_each_other_are_reported() -> None:
    with pytest.raises(ValueError, match="max_clip_uses cannot be combined with `splits`"):
        recipe(max_clip_uses=3, splits={"train": 1, "test": 1})


def test_defaults_shape_nothing() -> None:
    shaping = recipe().shaping()
    assert not {"balance", "max_clip_uses", "taxonomy"} & shaping.keys()
    assert {"balance", "max_clip_uses"} <= recipe(balance="label", max_clip_uses=2).shaping().keys()
