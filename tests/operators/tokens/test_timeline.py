"""When responses open: after their evidence, one a chunk, pieces of a running text together."""

from __future__ import annotations

import pytest

from soundflow.schemas.clip import ClipRole
from soundflow.schemas.text import join_texts
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst, composed, event

FG, BG = ClipRole.FOREGROUND, ClipRole.BACKGROUND


def test_responses_due_in_one_chunk_move_to_the_next_free_ones_and_silence_is_appended() -> None:
    pool = MemoryPool()
    for number in range(6):
        pool.add(str(number), burst(100, number))
    plan, audio = composed(pool, [event(str(n), FG, (f"r{n}", 100)) for n in range(6)])
    assert plan.timeline() == [(n + 1, f"r{n}") for n in range(6)]
    assert {response.due_chunk for response in plan.responses} == {1}
    assert plan.chunks == 6 and not audio[600:].any()


def test_pieces_of_a_running_text_are_one_response_per_chunk_and_catch_up_after_another() -> None:
    pool = MemoryPool()
    pool.add("words", burst(20_000, 1))
    pool.add("ding", burst(100, 2), BG)
    words = [("one", 2_000), ("two", 6_400), ("three", 7_000), ("four", 13_000), ("five", 19_500)]
    plan, _ = composed(pool, [event("words", FG, *words, joins=True)])
    assert plan.timeline() == [(1, "one two"), (2, "three"), (3, "four"), (4, "five")]
    plan, _ = composed(pool, [event("words", FG, *words, joins=True), event("words", FG, ("Yes.", 1), joins=False, gap=1)])
    assert plan.timeline() == [(1, "one two"), (2, "three"), (3, "four"), (4, "five"), (5, "Yes.")]
    plan, _ = composed(pool, [event("words", FG, ("Yes.", 6_000)), event("words", FG, ("und", 10), ("so", 6_000), joins=True)])
    assert plan.timeline() == [(1, "Yes."), (4, "und"), (5, "so")]


def test_chinese_pieces_are_joined_without_spaces() -> None:
    assert join_texts(["今天", "下雨", "了。"]) == "今天下雨了。" and join_texts(["um", "今天", "OK", "then"]) == "um今天OK then"


@pytest.mark.parametrize(("samples", "chunks"), [(6_400, 1), (6_401, 2), (12_799, 2), (12_800, 2), (1, 1)])
def test_evidence_on_a_boundary_belongs_to_the_chunk_that_ends_there(samples: int, chunks: int) -> None:
    pool = MemoryPool()
    pool.add("last", burst(samples, 3))
    plan, _ = composed(pool, [event("last", FG, ("now", samples))])
    assert plan.chunks == chunks and plan.timeline() == [(chunks, "now")]


def test_a_response_to_a_cropped_background_clip_follows_its_evidence() -> None:
    pool = MemoryPool()
    pool.add("talk", burst(10_000, 1))
    pool.add("alarm", burst(64_000, 2), BG)
    early, _ = composed(pool, [event("talk"), event("alarm", BG, ("Alarm.", 9_000))])
    assert (early.clips[1].start, early.responses[0].pieces[0].evidence) == (0, early.clips[1].offset + 9_000)
    late, _ = composed(pool, [event("talk"), event("alarm", BG, ("Alarm.", 60_000))])
    assert (late.clips[1].start, late.responses[0].pieces[0].evidence) == (50_000, 10_000)
