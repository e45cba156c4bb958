"""The virtual clock: hand-computed times, invariants of every way of scheduling, and what the paper's figures need."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.streaming.simulate import MODES, Costs, Script, StreamTrace, simulate

THREE_B = Costs(encode=0.012, extend=0.010, extend_chunk=0.001, token=0.028)
"""A 3B model, emulated: 28 ms a token."""

costs = st.builds(
    Costs,
    encode=st.floats(0.001, 0.3),
    extend=st.floats(0.001, 0.1),
    extend_chunk=st.floats(0.0, 0.02),
    token=st.floats(0.001, 0.1),
)
scripts = st.integers(1, 60).flatmap(
    lambda chunks: st.builds(
        Script, chunks=st.just(chunks), replies=st.dictionaries(st.integers(1, chunks), st.integers(1, 80), max_size=5)
    )
)


def periodic(tokens: int) -> Script:
    """Three replies a minute for ten minutes."""
    return Script(1500, dict.fromkeys(range(25, 1500, 50), tokens))


def test_a_hand_computed_stream() -> None:
    run = simulate("fifo", Script(4, {1: 10}), Costs(encode=0.1, extend=0.05, extend_chunk=0.01, token=0.1))
    # chunk 1 whole at 0.4, encoded 0.5, control 0.56, first token 0.66, eos 0.56 + 11 * 0.1 = 1.66
    (reply,) = run.replies
    assert (reply.trigger, round(reply.first_token, 9), round(reply.eos, 9)) == (1, 0.66, 1.66)
    # at 1.66 chunks 2 and 3 (ready 0.9, 1.3) are queued: one drain of two, then chunk 4 (ready 1.7)
    assert [round(time, 9) for time in run.control] == [0.56, 1.73, 1.73, 1.79]
    assert round(reply.resumed, 9) == 1.79 and run.encoder_calls == 4
    locked = simulate("lockstep", Script(3, {1: 10}), Costs(0.1, 0.05, 0.01, 0.1))
    assert [round(time, 9) for time in locked.encode_start] == [0.4, 1.66, 1.82]
    assert round(100 - locked.summary()["stall_pct"], 6) == round(100 / 3, 6)


@given(mode=st.sampled_from(sorted(MODES)), script=scripts, price=costs)
def test_time_runs_forward_and_every_chunk_is_decided_or_dropped(mode: str, script: Script, price: Costs) -> None:
    run = simulate(mode, script, price)
    assert len(run.control) == len(run.encode_start) == script.chunks
    known = [time for time in run.control if not math.isnan(time)]
    assert known == sorted(known) and len(known) == script.chunks - run.dropped
    for number, (start, control) in enumerate(zip(run.encode_start, run.control, strict=True), 1):
        assert math.isnan(start) or number * 0.4 - 1e-9 <= start < control
    for reply in run.replies:
        assert reply.first_token < reply.eos and (math.isnan(reply.resumed) or reply.resumed > reply.eos)
    if mode != "authors":
        assert run.dropped == 0 and run.encoder_calls == script.chunks


@given(script=scripts, price=costs)
def test_no_trigger_is_lost_only_delayed_by_at_most_its_drain(script: Script, price: Costs) -> None:
    run = simulate("fifo", script, price)
    answered = [reply.trigger for reply in run.replies]
    for trigger in script.replies:
        decided = run.control[trigger - 1]
        assert any(run.control[other - 1] == decided for other in answered)


@given(script=scripts, price=costs)
def test_the_encoder_never_waits_for_the_decoder(script: Script, price: Costs) -> None:
    free = 0.0
    for number, start in enumerate(simulate("fifo", script, price).encode_start, 1):
        assert start == max(number * 0.4, free)
        free = start + price.encode


def summary(mode: str, tokens: int) -> dict[str, float]:
    run: StreamTrace = simulate(mode, periodic(tokens), THREE_B)
    return run.summary()


def test_resuming_is_as_much_faster_than_lockstep_as_the_paper_says() -> None:
    assert summary("lockstep", 50)["resume_ms"] >= 4.5 * summary("fifo", 50)["resume_ms"]


def test_nothing_stalls_where_lockstep_does() -> None:
    assert summary("lockstep", 50)["stall_pct"] >= 5.0
    assert summary("fifo", 50)["stall_pct"] == 0.0 == summary("fifo", 50)["dropped_s"]


def test_a_barrier_costs_a_period() -> None:
    assert summary("tick-barrier", 20)["fcl_ms"] >= 1.9 * summary("fifo", 20)["fcl_ms"]


def test_plain_lockstep_is_no_slower_to_its_first_token() -> None:
    assert summary("lockstep", 20)["fcl_ms"] == pytest.approx(summary("fifo", 20)["fcl_ms"])


def test_encoding_the_window_again_for_each_chunk_costs_thirty_times_the_work() -> None:
    run = simulate("authors", Script(60, {}), Costs(0.001, 0.001, 0.0, 0.001))
    assert run.encoder_calls == 1830 and run.summary()["encoder_calls_per_chunk"] == 30.5
