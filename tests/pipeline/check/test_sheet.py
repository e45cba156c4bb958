"""verify on curated builds: plans are checked against sheets, verdicts against evidence, wordings against clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundflow.pipeline.check.sample import SampleChecker
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import count_verdicts, pool_of, scenes_of
from soundflow.schemas.base import canonical_json
from soundflow.schemas.sheet import SceneSheet
from tests.pipeline.check.test_verify import changed, forge, leaves, tokens_for

Change = Callable[[dict[str, Any]], bool]


@pytest.fixture
def copy(curated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "copy"))


def checks(directory: Path) -> set[str]:
    return {problem.check for problem in verify(directory).problems}


def forge_sheet(directory: Path, change: Change, agree: bool = True) -> None:
    """Change the first curation that `change` accepts; with `agree`, the manifest is made to agree as a careful forger would."""
    build = BuildDir(directory)
    for manifest in build.manifests():
        path = build.sheet_path(manifest.shard)
        document = json.loads(path.read_bytes())
        curations = [one for sample in document["samples"] for one in sample["curations"] if one["scene"]]
        if any(change(curation) for curation in curations):
            path.write_bytes(canonical_json(document))
            sheet = SceneSheet.from_json(path.read_bytes())
            document = json.loads(build.manifest_path(manifest.shard).read_bytes())
            if agree:
                document |= {"scenes_sha256": sheet.digest(), "verdicts": count_verdicts(sheet)}
                build.manifest_path(manifest.shard).write_bytes(canonical_json(document))
            return
    raise AssertionError("nothing to forge")


def test_an_intact_curated_build_has_no_problems_and_renders_to_the_same_bytes(curated: Path) -> None:
    report = verify(curated, sample=6)
    assert report.problems == () and report.streams > 8
    assert any(manifest.verdicts["retrieved@1"] for manifest in BuildDir(curated).manifests())


def test_a_missing_or_changed_sheet_is_reported(copy: Path) -> None:
    def reword(curation: dict[str, Any]) -> bool:
        curation["narrative"] += " And more."
        return True

    forge_sheet(copy, reword, agree=False)
    assert checks(copy) == {"scenes"}
    BuildDir(copy).sheet_path(0).unlink()
    assert "scenes" in checks(copy)


def test_a_verdict_that_does_not_follow_from_its_evidence_is_reported(copy: Path) -> None:
    def accept_all(curation: dict[str, Any]) -> bool:
        judged = [one for event in curation["events"] for tried in event["tried"] for one in tried["judged"]]
        for one in judged:
            if one["verdict"]["verdict"] == "accept":
                one["evidence"]["similarity"] = 0.0
                return True
        return False

    forge_sheet(copy, accept_all)
    assert checks(copy) == {"scenes"}


def test_a_rejected_clip_in_a_scene_is_reported(copy: Path) -> None:
    def play(curation: dict[str, Any]) -> bool:
        for event in curation["events"]:
            if event["clip_id"] and event["tried"][-1]["found"] == "retrieved":
                event["tried"][-1]["refused"] = "clip_identity"
                return True
        return False

    forge_sheet(copy, play)
    assert checks(copy) == {"scenes"}


def test_another_clip_in_sheet_and_scene_is_reported(copy: Path) -> None:
    def swap(curation: dict[str, Any]) -> bool:
        event = curation["scene"]["events"][0]
        event["clip_id"] = curation["events"][0]["clip_id"] = "rain/2.flac"
        return True

    forge_sheet(copy, swap)
    assert "labels" in checks(copy)


def test_an_invented_wording_is_reported_even_if_the_sheet_agrees(copy: Path) -> None:
    """The forger changes plan, tokens, sheet and manifest alike; only the sub-task's rule is against it."""

    def reword_plan(plan: dict[str, Any]) -> bool:
        for response in plan["responses"]:
            if plan["task"] in ("event_description", "proactive_respond"):
                response["text"] = response["pieces"][0]["text"] = "All is well."
                return True
        return False

    def reword_sheet(curation: dict[str, Any]) -> bool:
        for event in curation["scene"]["events"]:
            if curation["task"] in ("event_description", "proactive_respond") and event["responses"]:
                event["responses"][0]["text"] = "All is well."
                return True
        return False

    forge(copy, reword_plan)
    forge_sheet(copy, reword_sheet)
    assert "labels" in checks(copy)


def test_a_change_of_any_field_of_a_curated_plan_is_reported(curated: Path) -> None:
    build = BuildDir(curated)
    record = build.record()
    pool = pool_of(build, ClipIndex.open(Path(record.clips)), record.recipe)
    checker = SampleChecker(record, pool, scenes_of(record.recipe, record.fingerprint, pool, build))
    key, members = next(iter(read_shard(build.data / build.manifests()[0].tar)))
    assert checker.check(key, members, 0)[1] == []
    unnoticed = set()
    for path, old in leaves(json.loads(members["json"])):
        if path[-1] in ("task", "role", "kind", "track", "token_layout"):
            continue  # words of a list: the test of drawn plans has them
        for new in [value for value in changed(old) if value != old]:
            plan = json.loads(members["json"])
            node = plan
            for name in path[:-1]:
                node = node[name]
            node[path[-1]] = new
            tokens = members["tokens.npz"] if path[-1] in ("chunk", "chunks", "format") else forged_tokens(plan, members)
            if not checker.check(key, members | {"json": canonical_json(plan), "tokens.npz": tokens}, 0)[1]:
                unnoticed.add((path, new))
    assert unnoticed == set()


def forged_tokens(plan: dict[str, Any], members: dict[str, bytes]) -> bytes:
    try:
        return tokens_for(plan)
    except Exception:
        return members["tokens.npz"]
