"""The ledger of many shards, garbage collection, and the comparison of two corpora."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from soundflow.bench.speed.ledger import make
from soundflow.pipeline.build.run import build
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.diff import diff
from soundflow.pipeline.corpus.gc import collect_garbage
from soundflow.schemas.base import InputError
from tests.support.corpus import corpus, write_recipe


def test_the_ledger_counts_exactly_what_committed_shards_are(tmp_path: Path) -> None:
    there = make(tmp_path / "out", 200)
    fingerprint = there.record().fingerprint
    spoiled = sorted(there.manifest.glob("*.json"))
    spoiled[3].write_bytes(spoiled[3].read_bytes()[:-5])
    spoiled[7].rename(there.manifest / "009999.json")
    (there.manifest / "000001.json").write_bytes(spoiled[9].read_bytes())
    next(iter(sorted(there.data.glob("shard-000050-*")))).unlink()
    pending, counted = there.pending(there.record())
    assert [entry.shard for entry in counted] == sorted(there.committed(fingerprint))
    assert len(counted) + len(pending) == 200 and not {entry.shard for entry in counted} & set(pending)
    status = there.status()
    assert status.shards.committed == len(counted) and status.streams == 58 * len(counted)


def test_a_build_without_folders_has_an_empty_ledger(tmp_path: Path) -> None:
    assert list(BuildDir(tmp_path / "nowhere").ledger("0" * 64)) == []


def test_garbage_is_listed_first_and_removed_when_old(built: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(built, tmp_path / "out"))
    before = corpus(out)
    loser, young = out / "data" / "shard-000001-0123456789ab.tar", out / "data" / "shard-000002-0123456789ab.tar"
    loser.write_bytes(bytes(1000))
    young.write_bytes(bytes(10))
    os.utime(loser, (1e9, 1e9))
    found = collect_garbage(out)
    assert found.files == (f"data/{loser.name}",) and found.bytes == 1000 and found.young == 1 and loser.exists()
    assert collect_garbage(out, remove=True).removed and not loser.exists() and young.exists()
    assert corpus(out) == before
    (out / "_tmp").mkdir(exist_ok=True)
    (out / "_tmp" / "elsewhere~1~shard-000001~00").write_bytes(b"")
    with pytest.raises(InputError, match="another process is building"):
        collect_garbage(out, remove=True)


def test_stored_and_virtual_corpora_are_compared_by_plan(built: Path, clips_dir: Path, tmp_path: Path) -> None:
    recipe = built.parent / "recipe.yaml"
    build(recipe, tmp_path / "virtual", executor="inline", virtual=True)
    same = diff(built, tmp_path / "virtual")
    assert same.equal and same.same == 12 and same.recipes == []
    next((tmp_path / "virtual" / "manifest").glob("000002.json")).unlink()
    assert diff(built, tmp_path / "virtual").only_in_a == 3
    louder = write_recipe(tmp_path / "louder.yaml", clips_dir, mixing={"reference_level_dbfs": -30.0})
    build(louder, tmp_path / "louder", executor="inline")
    found = diff(built, tmp_path / "louder")
    assert not found.equal and "reference_level_dbfs" in found.fields and found.different > 0
    assert any("mixing.reference_level_dbfs: -26.0 -> -30.0" in line for line in found.lines())
