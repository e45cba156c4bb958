"""The commit protocol: the first manifest wins, and dead processes leave nothing that counts."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from soundflow.pipeline.corpus import commit as protocol
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.shard import ShardManifest


def manifest_of(build: BuildDir, shard: int, mark: int) -> tuple[Path, ShardManifest]:
    """A tiny tar below _tmp and the manifest that goes with it; `mark` makes its bytes differ."""
    content = f"attempt {mark}".encode()
    with protocol.unfinished_file(build, "tar") as (stream, path):
        stream.write(content)
    return path, ShardManifest(
        fingerprint="a" * 64,
        shard=shard,
        tar=f"shard-{shard:06d}-{mark:012x}.tar",
        sha256=f"{mark:064x}",
        bytes=len(content),
        keys=(),
        planned=0,
        chunks=0,
        responses=0,
        seconds=0.0,
        tasks={},
    )


def race(root: str, mark: int) -> int:
    build = BuildDir(Path(root))
    return sum(protocol.commit(build, *manifest_of(build, shard, mark)) for shard in range(25))


def test_of_racing_writers_with_different_bytes_exactly_one_wins_each_shard(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        wins = pool.starmap(race, [(str(tmp_path), mark) for mark in range(1, 5)])
    build = BuildDir(tmp_path)
    assert sum(wins) == 25 and sorted(build.committed("a" * 64)) == list(range(25))
    for manifest in build.manifests():
        assert (build.data / manifest.tar).read_bytes() == f"attempt {int(manifest.sha256, 16)}".encode()
    losers = protocol.garbage(build)
    assert len(losers) == len(list(build.data.iterdir())) - 25


def test_an_error_while_writing_leaves_no_file(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    with pytest.raises(RuntimeError), protocol.unfinished_file(build, "x") as (stream, _):
        stream.write(b"half")
        raise RuntimeError
    assert list(build.unfinished.iterdir()) == []


def test_a_manifest_without_its_tar_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    assert protocol.commit(build, *manifest_of(build, 0, 1))
    shutil.rmtree(build.data)
    assert build.committed("a" * 64) == {}
    assert protocol.commit(build, *manifest_of(build, 0, 2))
    assert int(build.committed("a" * 64)[0].sha256, 16) == 2


def test_a_half_written_manifest_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    build.manifest.mkdir()
    build.manifest_path(0).write_bytes(b'{"format": "soundfl')
    assert build.committed("a" * 64) == {}
    assert protocol.commit(build, *manifest_of(build, 0, 7))
    assert 0 in build.committed("a" * 64)


def test_commits_work_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    build = BuildDir(tmp_path)
    assert protocol.commit(build, *manifest_of(build, 0, 1))
    assert not protocol.commit(build, *manifest_of(build, 0, 2))
    assert int(build.committed("a" * 64)[0].sha256, 16) == 1


def test_sweep_removes_the_files_of_dead_processes_only(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    mine = protocol.unfinished_name(build, "mine")
    mine.write_bytes(b"x")
    process = multiprocessing.get_context("forkserver").Process(target=int)
    process.start()
    process.join()
    dead = mine.with_name(mine.name.replace(f"~{os.getpid()}~", f"~{process.pid}~"))
    elsewhere = mine.with_name("otherhost~1~shard~00")
    for path in (dead, elsewhere):
        path.write_bytes(b"x")
    protocol.sweep(build)
    assert mine.exists() and elsewhere.exists() and not dead.exists()
