"""Curation on Ray: one curator for all workers, replaced when it dies; the corpus equals the inline one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
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
