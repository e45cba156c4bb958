"""The progress lines of a log: counts, text and the time left at the speed of this run."""

from __future__ import annotations

import pytest

from soundflow.pipeline.mechanics import console
from soundflow.pipeline.mechanics.console import Console, format_duration


def test_the_time_left_follows_the_speed_of_this_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with Console("build", "shards") as display:
        display.show(90, 100, "resumed")
        clock[0] += 60.0  # five more shards in a minute
        display.show(95, 100, "5 streams")
        clock[0] += 1.0
        display.show(100, 100)
    assert capsys.readouterr().err.splitlines() == ["build: 95/100 shards, 5 streams, about 1 min left", "build: 100/100 shards"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (89, "1 min"), (3570, "1 h 0 min"), (12_000, "3 h 20 min")]
)
def test_durations_are_rounded_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
