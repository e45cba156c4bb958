"""replay: a sample is made again, explained and compared with the committed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from soundflow.pipeline.build import produce
from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.replay import replay
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import ATTEMPTS
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.outcome import Rejected
from tests.support.corpus import rewrite, write_recipe


def test_a_committed_sample_is_explained_and_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    manifest = BuildDir(built).manifests()[3]
    stored = dict(read_shard(built / "data" / manifest.tar))
    for key in manifest.keys:
        result = replay(built, key, tmp_path)
        assert result.ok and result.state == "same bytes as committed"
        for suffix, content in stored[key].items():
            assert (tmp_path / f"{key}.{suffix}").read_bytes() == content
        plan = json.loads(stored[key]["json"])
        trace = "\n".join(result.trace)
        assert "drawn: task" in trace and "noise" in trace
        assert all(clip["clip_id"] in trace for clip in plan["clips"])
        assert all(repr(response["text"]) in trace for response in plan["responses"])
        assert result.to_json()["files"] == result.files and result.lines()[-1] == f"{key}: same bytes as committed"


def test_a_sample_that_differs_from_the_committed_one_is_reported(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    rewrite(copy, 0, lambda number, key, members: members | {"json": members["json"] + b" "})
    result = replay(copy, BuildDir(copy).manifests()[0].keys[0], tmp_path / "replayed")
    assert not result.ok and result.state == "differs from the committed files: json"


def test_a_damaged_shard_is_reported(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    manifest = BuildDir(copy).manifests()[0]
    tar = copy / "data" / manifest.tar
    tar.write_bytes(b"x" * tar.stat().st_size)
    result = replay(copy, manifest.keys[0], tmp_path / "replayed")
    assert not result.ok and "damaged" in result.state


def test_a_sample_that_is_not_committed_is_made_too(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    key = BuildDir(copy).manifests()[1].keys[0]
    BuildDir(copy).manifest_path(1).unlink()
    result = replay(copy, key, tmp_path / "replayed")
    assert result.ok and result.state == "not committed" and len(result.files) == 3


def test_rejected_attempts_are_in_the_trace(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce, "compose", lambda *_: Rejected("planted", {"level": -90}))
    result = replay(built, BuildDir(built).manifests()[0].keys[0], tmp_path)
    assert result.state == "every attempt is rejected" and result.files == ()
    assert [line for line in result.trace if "planted" in line and "-90" in line] == list(result.trace[:ATTEMPTS])


def test_changes_since_the_build_are_reported(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    record = json.loads((copy / "build.json").read_bytes())
    record["operator_versions"]["mixing"] = "0"
    (copy / "build.json").write_bytes(canonical_json(record | {"prompt_hash": "0" * 64, "clip_index_hash": "1" * 64}))
    trace = "\n".join(replay(copy, BuildDir(copy).manifests()[0].keys[0], tmp_path / "replayed").trace)
    assert "mixing: the build has version 0" in trace and "prompts have changed" in trace and "clip index has changed" in trace


@pytest.mark.parametrize("key", ["sf-000000000000-000000-00000", "nonsense", ""])
def test_a_sample_id_of_another_build_is_rejected(built: Path, tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError):
        replay(built, key, tmp_path)


def test_a_sample_past_the_end_of_its_shard_is_rejected(built: Path, tmp_path: Path) -> None:
    key = BuildDir(built).manifests()[0].keys[0]
    for stranger in (key[:-5] + "00003", key.replace("-000000-", "-000004-")):
        with pytest.raises(InputError, match="has no such sample"):
            replay(built, stranger, tmp_path)


def test_a_build_without_its_clips_is_an_error(clips_dir: Path, tmp_path: Path) -> None:
    clips = Path(shutil.copytree(clips_dir, tmp_path / "clips"))
    build(write_recipe(tmp_path / "recipe.yaml", clips, streams=1, shards=1), tmp_path / "out", executor="inline")
    shutil.rmtree(clips)
    with pytest.raises(InputError, match="soundflow clips index"):
        replay(tmp_path / "out", BuildDir(tmp_path / "out").manifests()[0].keys[0], tmp_path / "replayed")
