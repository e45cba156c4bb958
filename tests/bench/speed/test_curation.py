"""The parts of bench/speed/curation that need no model run as they stand."""

from __future__ import annotations

import pytest

from soundflow.bench.speed import replay as _replay
from soundflow.bench.speed import scenes as _scenes


def test_replaying_asks_nothing_and_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_replay, "CALLS", 5)
    part = _replay.replay(runs=1)
    assert len(part.ratios) == len(part.medians) == 2 and all(ratio.value for ratio in part.ratios)
    assert set(part.notes) == {"replay_p50_ms", "replay_p99_ms"}


def test_scenes_are_curated_without_a_model_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scenes, "SCENES", 3)
    monkeypatch.setattr(_scenes, "TAKES", 1)
    part = _scenes.scenes(runs=1)
    assert part.notes["scenes_per_second"] > 0 and part.notes["scenes_with_a_scene"] == "3/3"
