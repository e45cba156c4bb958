"""Nodes that cannot load the work of an actor get no further actors."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from soundflow.pipeline.mechanics import ray_worker
from soundflow.pipeline.mechanics.ray_worker import ActorPlace, LoadFailure, LoadingActor, Nodes, end_hung
from soundflow.schemas.base import InputError

ray = pytest.importorskip("ray")


def set_nodes(monkeypatch: pytest.MonkeyPatch, **alive: bool) -> None:
    found: list[dict[str, Any]] = [{"NodeID": name, "Alive": is_alive} for name, is_alive in alive.items()]
    monkeypatch.setattr(ray_worker.ray, "nodes", lambda: found)


def test_retired_nodes_are_kept_out_of_placement_and_the_last_one_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    set_nodes(monkeypatch, a=True, b=True, lost=False)
    nodes = Nodes()
    assert nodes.placement() == {} and not nodes.are_all_retired()
    assert nodes.retire(ActorPlace("a", "host-a", 1), "no clip index")
    assert not nodes.retire(ActorPlace("a", "host-a", 2), "no clip index"), "it is reported once"
    assert nodes.placement() == {"label_selector": {"ray.io/node-id": "!in(a)"}} and not nodes.are_all_retired()
    assert nodes.retire(ActorPlace("b", "host-b", 3), "ImportError: numpy")
    assert nodes.placement() == {"label_selector": {"ray.io/node-id": "!in(a,b)"}} and nodes.are_all_retired()
    assert nodes.reasons() == "node host-a: no clip index; node host-b: ImportError: numpy"
    set_nodes(monkeypatch, a=True, b=True, fresh=True)
    assert not nodes.are_all_retired(), "a node that joins may load it"


def test_a_load_failure_carries_the_errors_that_every_process_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "current_place", lambda: ActorPlace("a", "host-a", 1))
    ours = InputError("is not a clip index", file="/clips", remedy="Create it")
    failure = LoadFailure.of(ours)
    assert failure.error is ours and failure.why == str(ours)
    other = LoadFailure.of(ImportError("no module"))
    assert other.error is None and other.why == "ImportError: no module"


def test_a_stopped_process_is_killed_on_its_node_when_ray_leaves_it_alive(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    actor: Any = LoadingActor.remote([ray.put(None)])  # type: ignore[attr-defined]
    place = ray.get(actor.place.remote())
    os.kill(place.pid, signal.SIGSTOP)
    monkeypatch.setattr(ray, "kill", lambda actor: None)
    end_hung(actor, place)
    deadline = time.monotonic() + 120
    while Path(f"/proc/{place.pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
