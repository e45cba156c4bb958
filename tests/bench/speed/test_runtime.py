"""The runtime's benchmarks: what their JSON holds, that the real stage does what the virtual one says, how drains are matched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundflow.bench.experiments import drains
from soundflow.bench.speed import fifo
from soundflow.streaming.simulate import MODES, Script, simulate


def test_the_json_of_the_scheduling_benchmark_has_a_row_for_every_way_and_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fifo, "play", fifo.predict)  # the virtual clock instead of minutes of the real one
    out = tmp_path / "fifo.json"
    assert fifo.main(["--json", str(out)]) == 0  # the limits hold for costs alone
    document = json.loads(out.read_text())
    assert {(row["mode"], row["reply_tokens"]) for row in document["rows"]} == {(m, n) for m in MODES for n in fifo.REPLY_TOKENS}
    promised = {"mode", "reply_tokens", "fcl_ms", "resume_ms", "stall_pct", "dropped_s", "encoder_calls_per_chunk"}
    assert all(promised <= set(row) for row in document["rows"] + document["virtual"])
    assert document["ok"] is True


@pytest.mark.parametrize("mode", ["fifo", "lockstep", "authors"])
def test_on_a_real_clock_the_same_is_encoded_dropped_decided_and_said(mode: str) -> None:
    script = Script(4, {2: 3})
    stage = fifo.RealStage(script, fifo.THREE_B)
    MODES[mode](stage)
    predicted = simulate(mode, script, fifo.THREE_B)
    assert (stage.trace.encoder_calls, stage.trace.dropped) == (predicted.encoder_calls, predicted.dropped)
    assert [reply.trigger for reply in stage.trace.replies] == [2] and len(stage.trace.control) == len(predicted.control) == 4
    (reply,) = stage.trace.replies
    (expected,) = predicted.replies
    assert reply.first_token >= expected.first_token and reply.eos >= expected.eos  # costs are the least it takes


def test_a_trigger_finds_what_its_drain_or_two_chunks_around_it_hold_and_no_more_than_its_chunks() -> None:
    assert drains.match([5], [7], [1] * 10) == {0: [0]} and drains.match([4], [7], [1] * 10) == {0: []}
    assert drains.match([3, 4], [4], [4, 4]) == {0: [0, 1]}  # one response for a drain with two events
    assert drains.match([3, 4], [4], [1] * 8) == {0: [0]}
    assert drains.match([3], [8], [4, 4]) == {0: [0]}  # two chunks late, and then to the end of its drain
    assert drains.match([2], [8], [4, 4]) == {0: []}
    assert drains.match([4, 5], [4, 8], [4, 4]) == {0: [0], 1: [1]}
