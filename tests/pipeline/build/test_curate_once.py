"""`soundflow curate`: the first scenes of a recipe, as its build plans them, without rendering or leaving anything behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from soundflow.pipeline.build.curate_once import curate_once
from soundflow.pipeline.build.run import build
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent
from tests.pipeline.curated import write_curated
from tests.support.commandline import soundflow
from tests.support.corpus import write_recipe
from tests.support.hostile_llm import Fault, HostileLlm, always


@pytest.fixture(autouse=True)
def _answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def server() -> Iterator[HostileLlm]:
    with HostileLlm() as running:
        yield running


def test_scenes_equal_those_of_the_build_and_are_requested_once(clips_dir: Path, server: HostileLlm, tmp_path: Path) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=6, shards=2)
    before = {path for path in tmp_path.rglob("*") if "answers" not in path.parts}
    progress: list[int] = []
    views = curate_once(recipe, 6, progress.append)
    assert progress == [1, 2, 3, 4, 5, 6] and len(views) == 6
    assert {path for path in tmp_path.rglob("*") if "answers" not in path.parts} == before
    calls = server.calls
    build(recipe, tmp_path / "out", executor="inline")
    assert server.calls == calls
    committed = {key for manifest in BuildDir(tmp_path / "out").manifests() for key in manifest.keys}
    assert {view.sample_id for view in views if view.planned} == committed
    planned = [view for view in views if view.planned]
    assert planned and all(view.planner == "llm:hostile-1" and view.events and view.narrative for view in planned)
    assert all(event.how != "left_out" or not event.clip for view in planned for event in view.events)


def test_scenes_planned_without_a_model_are_shown_too(clips_dir: Path, tmp_path: Path) -> None:
    views = curate_once(write_recipe(tmp_path / "recipe.yaml", clips_dir), 3)
    assert len(views) == 3 and all(view.planner == "template" and view.planned for view in views)
    assert all(event.how == "drawn" for view in views for event in view.events)


def test_more_scenes_than_the_recipe_has_are_all_of_them(clips_dir: Path, tmp_path: Path) -> None:
    assert len(curate_once(write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=2, shards=1), 50)) == 2


def test_a_spent_budget_and_a_rejected_key_are_reported_and_answers_are_kept(
    clips_dir: Path, server: HostileLlm, tmp_path: Path
) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"budget": {"calls": 3}})
    with pytest.raises(BudgetSpent, match=r"llm\.budget: .* spent so far: 3 calls"):
        curate_once(recipe, 5)
    assert server.calls == 3
    server.script = always(Fault.UNAUTHORIZED)
    with pytest.raises(InputError, match="rejects the API key"):
        curate_once(write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"temperature": 0.1}), 1)


def test_the_command_prints_a_table_or_json(clips_dir: Path, server: HostileLlm, tmp_path: Path) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server)
    command = partial(soundflow, "curate", recipe, "--n", 2)
    shown, machine = command("--show"), command("--json")
    assert shown.returncode == machine.returncode == 0, shown.stderr + machine.stderr
    documents = json.loads(machine.stdout)
    assert len(documents) == 2
    for document in documents:
        assert f"{document['sample_id']} {document['task']} by llm:hostile-1" in shown.stdout
    assert "verdicts" in shown.stdout and "retrieved@" in shown.stdout
    write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"budget": {"calls": 1}, "temperature": 0.2})
    spent = command()
    assert spent.returncode == 3 and "llm.budget" in spent.stdout + spent.stderr and "Traceback" not in spent.stderr
