"""The option `licences` of a recipe: only clips of the listed licences play, and listed licences do not exclude each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.table import TABLE, ClipIndex, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.export.licences import LicenceSurvey
from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.stream import StreamPlan
from tests.support.corpus import write_recipe

LICENCES = ("CC0-1.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0", "unknown", "CC-BY-SA-4.0")
SOUNDS = {"tasks": {"event_description": 1.0}, "scene": {"events": [1, 2]}}


@pytest.fixture
def mixed(clips_dir: Path, tmp_path: Path) -> Path:
    """A copy of the shared index whose clips are under different licences, in turn."""
    clips = Path(shutil.copytree(clips_dir, tmp_path / "clips"))
    index = ClipIndex.open(clips)
    rows = [row | {"licence": LICENCES[place % len(LICENCES)]} for place, row in enumerate(index.rows())]
    write_table(clips / TABLE, rows, index.footer.config)
    return clips


def plans(out: Path) -> list[StreamPlan]:
    build_dir = BuildDir(out)
    return [
        StreamPlan.from_json(members["json"])
        for manifest in build_dir.manifests()
        for _, members in read_shard(build_dir.data / manifest.tar)
    ]


def test_streams_have_clips_of_the_listed_licences_only(mixed: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", mixed, streams=12, licences=["CC0", "Attribution-ShareAlike"], **SOUNDS)
    warnings: list[str] = []
    build(recipe, tmp_path / "out", executor="inline", on_warning=warnings.append)
    made = plans(tmp_path / "out")
    survey = LicenceSurvey()
    for plan in made:
        survey.add(plan)
    assert len(made) == 12 and not survey.streams and not warnings
    used = {name for plan in made for name in plan.licences()}
    assert used <= {"CC0-1.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"} and used & {"CC-BY-SA-3.0", "CC-BY-SA-4.0"}
    assert verify(tmp_path / "out", sample=2).problems == ()


def test_without_the_option_all_licences_are_mixed_and_a_warning_names_those_that_exclude_each_other(
    mixed: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", mixed, streams=12, **SOUNDS)
    warnings: list[str] = []
    build(recipe, tmp_path / "out", executor="inline", on_warning=warnings.append)
    assert {"CC-BY-NC-4.0", "unknown"} <= {name for plan in plans(tmp_path / "out") for name in plan.licences()}
    assert any("CC-BY-SA-3.0 and CC-BY-NC-4.0 exclude each other" in text for text in warnings)


@pytest.mark.parametrize(
    ("licences", "why"),
    [
        (["CC-BY-SA", "CC-BY-NC"], "CC-BY-SA and CC-BY-NC exclude each other"),
        (["CC BY-ND 4.0"], "permits no derivative works"),
        (["my own"], "not known to permit redistribution"),
        (["unknown"], "a licence is unknown"),
    ],
)
def test_licences_that_cannot_be_published_together_are_rejected(licences: list[str], why: str, tmp_path: Path) -> None:
    document = {"clips": "clips", "streams": 1, "shards": 1, "tasks": {"event_description": 1}, "licences": licences}
    with pytest.raises(InputError, match=why):
        Recipe.from_text(json.dumps(document), file=tmp_path / "r.yaml")


def test_an_index_without_a_clip_of_the_licences_cannot_serve_the_recipe(mixed: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", mixed, licences=["MIT"], **SOUNDS)
    with pytest.raises(InputError, match=r"too few clips: the index \(only clips of the recipe's `licences`\) has 0 "):
        build(recipe, tmp_path / "out", executor="inline")
