"""Limits of a recipe over a whole build: uses of clips, balance of labels and length, in streams, report and estimate."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.estimate.estimate import estimate
from soundflow.pipeline.report.data import collect
from soundflow.schemas.stream import StreamPlan
from tests.support.corpus import corpus, write_recipe

TASKS = {"event_description": 1.0, "streaming_asr": 1.0}
LIMITED = {"max_clip_uses": 4, "streams": 24, "shards": 3, "tasks": TASKS, "balance": "label"}


@pytest.fixture(scope="module")
def limited(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of 24 streams in which no clip may occur more than four times. Its recipe lies beside it."""
    root = tmp_path_factory.mktemp("limited")
    scene = {"events": [1, 3], "max_seconds": 12.0}
    build(write_recipe(root / "recipe.yaml", clips_dir, **LIMITED, scene=scene), root / "out", executor="inline")
    return root / "out"


def plans(out: Path) -> list[StreamPlan]:
    tars = [BuildDir(out).data / manifest.tar for manifest in BuildDir(out).manifests()]
    return [StreamPlan.from_json(members["json"]) for tar in tars for _, members in read_shard(tar)]


def test_no_clip_is_used_more_often_than_allowed(limited: Path) -> None:
    uses = Counter(clip.clip_id for plan in plans(limited) for clip in plan.clips)
    assert len(plans(limited)) >= 18 and max(uses.values()) <= 4
    assert all(plan.seconds <= 12.0 for plan in plans(limited))
    assert verify(limited, sample=3).problems == ()


def test_a_resumed_build_keeps_the_limit_with_the_same_bytes(limited: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(limited, tmp_path / "out"))
    lost = BuildDir(out).manifests()[1]
    BuildDir(out).manifest_path(1).unlink()
    (out / "data" / lost.tar).unlink()
    build(limited.parent / "recipe.yaml", out, executor="inline")
    assert corpus(out) == corpus(limited)


def test_the_report_has_limits_labels_and_decisions(limited: Path) -> None:
    data = collect(BuildDir(limited), 0)
    seconds, uses = data["limits"]
    assert (seconds["allowed"], uses["allowed"], data["balance"]) == (12.0, 4, "label")
    assert seconds["reached"] == max(plan.seconds for plan in plans(limited)) and 1 <= uses["reached"] <= 4
    rows = {row["label"]: row for row in data["labels"]}
    assert rows["siren"]["decision"] == "respond" and rows["rain"]["decision"] == "ignore" and rows["speech"]["decision"] == ""
    assert sum(row["uses"] for row in data["labels"]) == sum(len(plan.clips) for plan in plans(limited))
    assert sum(row["share"] for row in data["labels"]) == pytest.approx(1.0)


def test_the_estimate_has_the_uses_per_clip(limited: Path) -> None:
    estimated = estimate(limited.parent / "recipe.yaml")
    assert estimated.max_clip_uses == 4 and 1.0 < estimated.uses_per_clip < 4.0


def test_verify_reports_a_stream_beyond_the_limit(limited: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(limited, tmp_path / "out"))
    record = json.loads((out / "build.json").read_bytes())
    record["recipe"]["scene"]["max_seconds"] = 2.0
    (out / "build.json").write_text(json.dumps(record))
    found = [problem for problem in verify(out).problems if problem.check == "duration"]
    assert len(found) == sum(plan.seconds > 2.0 for plan in plans(limited)) > 0
    assert "s, scene.max_seconds of the recipe is 2" in found[0].detail
