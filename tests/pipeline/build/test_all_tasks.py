"""All 28 sub-tasks through the whole pipeline: clips, index, build, verify and policies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import yaml

from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.clips.table import TABLE, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.estimate.estimate import estimate
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.sources import SOURCES
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import SUB_TASKS, Capability, Task
from tests.operators.curate.chats import KEY
from tests.pipeline.curated import write_curated
from tests.support import ROOT, every_task
from tests.support.corpus import write_recipe
from tests.support.hostile_llm import HostileLlm
from tests.support.policies import obeyed

EXAMPLES = ROOT / "examples"
ALL = [task for tasks in SUB_TASKS.values() for task in tasks]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips that serve all sub-tasks, indexed; the words are evenly spread over what was cleaned."""
    root = tmp_path_factory.mktemp("all-tasks")
    lines = []
    (root / "in").mkdir()
    for row in every_task.rows():
        soundfile.write(root / "in" / f"{row['id']}.wav", every_task.sound_of(row), 16_000)
        lines.append(json.dumps(row | {"path": f"{row['id']}.wav"}, ensure_ascii=False))
    (root / "in" / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert index_clips([root / "in"], root / "clips", workers=1).rejected == {}
    index = ClipIndex.open(root / "clips")
    rows = [row | {"words": [word.model_dump() for word in every_task.timed(row, row["samples"])]} for row in index.rows()]
    write_table(root / "clips" / TABLE, iter(rows), index.footer.config)
    return root / "clips"


def plans(out: Path) -> list[StreamPlan]:
    directory = BuildDir(out)
    tars = [directory.data / manifest.tar for manifest in directory.manifests()]
    return [StreamPlan.from_json(members["json"]) for tar in tars for _, members in read_shard(tar)]


@pytest.mark.parametrize("task", ALL)
def test_every_sub_task_is_built_and_verified(clips: Path, tmp_path: Path, task: Task) -> None:
    recipe = write_recipe(
        tmp_path / "r.yaml", clips, streams=3, shards=1, tasks={task.value: 1}, scene={"events": [3, 5], "benign_share": 0.3}
    )
    build(recipe, tmp_path / "corpus", executor="inline")
    report = verify(tmp_path / "corpus", sample=3)
    assert report.problems == ()
    made = plans(tmp_path / "corpus")
    assert made and {stream.task for stream in made} == {task}
    for stream in made:
        assert obeyed(stream) == []
        assert 3 <= sum(clip.role is ClipRole.FOREGROUND for clip in stream.clips) <= 15


def test_the_examples_name_every_sub_task_and_every_source() -> None:
    everything = Recipe.from_yaml(EXAMPLES / "all-tasks.yaml")
    assert set(everything.tasks) == set(SUB_TASKS) and everything.tasks == {kind: len(SUB_TASKS[kind]) for kind in SUB_TASKS}
    path = EXAMPLES / "streamaudio-2m.yaml"
    assert set(Recipe.from_yaml(path).tasks) == set(ALL)
    rows = [line.removeprefix("#").split() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#   ")]
    assert {name: int(items.replace(",", "")) for name, items, *_ in rows[1:] if name in SOURCES} == {
        source.name: source.items for source in SOURCES.values()
    }
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["streams"] == 2_600_000


def test_a_model_plans_every_sub_task_it_can_and_the_plans_name_their_planner(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    with HostileLlm() as server:
        tasks = dict.fromkeys((kind.value for kind in SUB_TASKS), 1)
        recipe = write_curated(tmp_path / "r.yaml", clips, server, streams=28, shards=1, tasks=tasks)
        build(recipe, tmp_path / "corpus", executor="inline")
    assert verify(tmp_path / "corpus", sample=2).problems == ()
    made = plans(tmp_path / "corpus")
    assert len(made) >= 14
    for stream in made:
        assert stream.planner.startswith("llm:") != POLICIES[stream.task].has_fixed_order
        if not POLICIES[stream.task].response_rule:
            assert obeyed(stream) == []


def test_an_estimate_lists_the_sub_tasks_of_a_capability(clips: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", clips, streams=120, shards=2, tasks={"proactive": 2, "music_opinion": 1})
    assert estimate(recipe).items == {"music_opinion": 40} | {kind.value: 20 for kind in SUB_TASKS[Capability.PROACTIVE]}
