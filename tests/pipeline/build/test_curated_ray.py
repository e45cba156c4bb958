"""Curation on Ray: one curator for all workers, replaced when it dies; the corpus equals the inline one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from soundflow.pipeline.build import ray_curator
from soundflow.pipeline.build.run import build, plan_build
from soundflow.pipeline.build.worker import Job, ShardResult
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.mechanics.ray_worker import ActorPlace, LoadFailure, Nodes
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent, ServiceBroken
from tests.pipeline.curated import write_curated
from tests.support.corpus import corpus
from tests.support.hostile_llm import Fault, HostileLlm

ray = pytest.importorskip("ray")


@pytest.fixture(autouse=True)
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer cache of the test's own."""
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))


@pytest.fixture
def server() -> Iterator[HostileLlm]:
    """A server that behaves, and takes a moment."""
    with HostileLlm(latency_seconds=0.02) as running:
        yield running


def curators() -> list[str]:
    return [str(name) for name in ray.util.list_named_actors() if "curator" in str(name)]


def test_one_curator_serves_all_workers_and_the_corpus_is_the_inline_one_also_when_it_is_killed(
    cluster: None, clips_dir: Path, server: HostileLlm, tmp_path: Path
) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=30, shards=10)
    killed, most = [], [0]

    def watch(event: object) -> None:
        names = curators()
        most[0] = max(most[0], len(names))
        if not killed and list((tmp_path / "out" / "scenes").glob("0*.json")):
            killed.extend(names)
            for name in names:
                ray.kill(ray.get_actor(name))

    status = build(recipe, tmp_path / "out", workers=2, on_event=watch)
    assert status.shards.committed == 10 and status.shards.failed == 0
    assert killed and most[0] == 1 and curators() == []
    assert verify(tmp_path / "out").ok
    calls = server.calls
    build(recipe, tmp_path / "inline", executor="inline")
    assert server.calls == calls and corpus(tmp_path / "out") == corpus(tmp_path / "inline")


def test_a_budget_holds_for_all_workers_and_curated_scenes_are_rendered(
    cluster: None, clips_dir: Path, server: HostileLlm, tmp_path: Path
) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"budget": {"calls": 20}}, streams=30, shards=10)
    with pytest.raises(BudgetSpent, match="spent so far: 20 calls"):
        build(recipe, tmp_path / "out", workers=2)
    assert server.calls == 20
    build_dir = BuildDir(tmp_path / "out")
    curated = {int(path.stem) for path in build_dir.scenes.glob("0*.json")}
    assert curated and curated == set(build_dir.committed(build_dir.record().fingerprint))
    assert "llm.budget" in build_dir.status().stopped
    server.script = lambda body, before: Fault.HTML if server.calls > 35 else None
    settings = server.settings(retries=1).model_dump(mode="json", exclude_unset=True)
    recipe = write_curated(recipe, clips_dir, server, {"server": settings}, streams=30, shards=10)
    with pytest.raises(ServiceBroken, match="not a chat completion"):
        build(recipe, tmp_path / "out", workers=2)
    assert "does not work" in build_dir.status().stopped
    server.script = lambda body, before: None
    assert build(recipe, tmp_path / "out", executor="inline").shards.committed == 10
    assert not build_dir.quarantine() and max(server.answered.values()) == 1


class Actor:
    """Stands for a curator; remembers the options of each start."""

    starts: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def options(cls, name: str, **options: object) -> SimpleNamespace:
        cls.starts.append(dict(options))
        return SimpleNamespace(remote=lambda job: SimpleNamespace(place=SimpleNamespace(remote=object)))


def test_a_curator_that_stops_answering_is_named_and_ended_but_may_take_its_time_to_start(
    clips_dir: Path, server: HostileLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, answered, killed = [0.0], [False], []
    monkeypatch.setattr(ray_curator, "_CuratorActor", Actor)
    monkeypatch.setattr(ray_curator, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references if answered[0] else [], []))
    monkeypatch.setattr(ray, "get", lambda reference: ActorPlace("a", "host-a", 1))
    monkeypatch.setattr(ray_curator, "end_hung", lambda actor, place: killed.append((actor, place)))
    record, index = plan_build(write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=30, shards=10))
    warnings: list[str] = []
    watcher: Any = SimpleNamespace(warning=warnings.append)
    job = Job(tmp_path / "out", index.reference, record.recipe, record.fingerprint, record.curators)
    queue = ray_curator.CurationQueue(job, range(10), watcher, 0, Nodes())

    def wait(seconds: int) -> None:
        for _ in range(seconds):
            now[0] += 1.0
            queue.submit(0)

    wait(3000)
    assert not killed
    answered[0] = True
    wait(3000)
    assert not killed
    answered[0] = False
    wait(590)
    assert not killed
    wait(60)
    assert killed == [(queue._actor, ActorPlace("a", "host-a", 1))]
    assert warnings == ["the curator hung: no sign of life for 601 s. Another one is started"]


def test_a_curator_that_a_node_cannot_load_starts_on_another_and_the_last_reason_ends_the_build(
    clips_dir: Path, server: HostileLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_curator, "_CuratorActor", Actor)
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": name, "Alive": True} for name in ("a", "b")])
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    record, index = plan_build(write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=30, shards=10))
    warnings: list[str] = []
    watcher: Any = SimpleNamespace(warning=warnings.append)
    job = Job(tmp_path / "out", index.reference, record.recipe, record.fingerprint, record.curators)
    queue = ray_curator.CurationQueue(job, range(10), watcher, 8, Nodes())

    def failed(node: str, shard: int, error: Exception | None = None) -> ShardResult | int | None:
        failure = LoadFailure(ActorPlace(node, f"host-{node}", 1), "no embedder", "", error)
        queue._busy[failure] = (queue._actor, shard, 1)
        return queue.take(failure)

    assert failed("a", 0) is None and failed("a", 0) is None
    assert warnings[0] == "node host-a cannot load the build and gets no further workers: no embedder"
    assert Actor.starts[-1] == {"label_selector": {"ray.io/node-id": "!in(a)"}} and queue._waiting[0] == (0, 1)
    result = failed("b", 1)
    assert isinstance(result, ShardResult) and result.fatal
    assert result.error == "no curator can be started: node host-a: no embedder; node host-b: no embedder"
    with pytest.raises(InputError, match="other embedder"):
        failed("b", 2, InputError("other embedder"))
