"""Items whose process dies or hangs are reported, and the others are processed."""

from __future__ import annotations

import os
import signal

import pytest

from soundflow.pipeline.mechanics import processes
from soundflow.pipeline.mechanics.processes import map_in_processes

LOST = -1
STOPPED, LOOPING, KILLED = 3, 7, 9


def double(item: int) -> int:
    if item == STOPPED:
        os.kill(os.getpid(), signal.SIGSTOP)
    while item == LOOPING:
        pass
    if item == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def lost(item: int) -> int:
    return LOST * item


@pytest.mark.parametrize("faulty", [(STOPPED,), (STOPPED, LOOPING, KILLED)])
def test_items_whose_process_hangs_are_reported_and_the_others_are_processed(
    monkeypatch: pytest.MonkeyPatch, faulty: tuple[int, ...]
) -> None:
    monkeypatch.setattr(processes, "HUNG_SECONDS", 6.0)
    items = [item for item in range(20) if item not in {STOPPED, LOOPING, KILLED} - set(faulty)]
    results = sorted(map_in_processes(double, items, 2, lost))
    assert results == sorted(LOST * item if item in faulty else 2 * item for item in items)
