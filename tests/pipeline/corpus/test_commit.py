"""The commit protocol: the first manifest wins, and dead processes leave nothing that counts."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soundflow.pipeline.corpus import commit as protocol
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.shard import ShardManifest
from tests.support import ROOT


def manifest_of(shard: int, mark: int, fingerprint: str = "a" * 64) -> ShardManifest:
    """The manifest of a tiny tar; `mark` makes its bytes differ."""
    return ShardManifest(
        fingerprint=fingerprint,
        shard=shard,
        tar=f"shard-{shard:06d}-{mark:012x}.tar",
        sha256=f"{mark:064x}",
        bytes=len(content(mark)),
        keys=(),
        planned=0,
        chunks=0,
        responses=0,
        seconds=0.0,
        tasks={},
    )


def content(mark: int) -> bytes:
    return f"attempt {mark}".encode()


def commit(build: BuildDir, manifest: ShardManifest) -> bool:
    """Write the tar of a manifest and commit it."""
    with protocol.unfinished_file(build, "tar") as path:
        path.write_bytes(content(int(manifest.sha256, 16)))
        return protocol.commit(build, path, manifest)


def race(root: str, mark: int) -> int:
    build = BuildDir(Path(root))
    return sum(commit(build, manifest_of(shard, mark)) for shard in range(25))


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
    with pytest.raises(RuntimeError), protocol.unfinished_file(build, "x") as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert list(build.unfinished.iterdir()) == []


def test_a_manifest_without_its_tar_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    assert commit(build, manifest_of(0, 1))
    shutil.rmtree(build.data)
    assert build.committed("a" * 64) == {}
    assert commit(build, manifest_of(0, 2))
    assert int(build.committed("a" * 64)[0].sha256, 16) == 2


def test_a_half_written_manifest_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    build.manifest.mkdir()
    build.manifest_path(0).write_bytes(b'{"format": "soundfl')
    assert build.committed("a" * 64) == {}
    assert commit(build, manifest_of(0, 7))
    assert 0 in build.committed("a" * 64)


def test_commits_work_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    build = BuildDir(tmp_path)
    assert commit(build, manifest_of(0, 1))
    assert not commit(build, manifest_of(0, 2))
    assert int(build.committed("a" * 64)[0].sha256, 16) == 1


STOPPED = """
import os, signal, sys
from pathlib import Path
from soundflow.pipeline.corpus import commit as protocol
from tests.pipeline.corpus.test_commit import BuildDir, content, manifest_of

build, step = BuildDir(Path(sys.argv[1])), sys.argv[2]


def stop(*arguments, real=getattr(protocol, step)):
    os.kill(os.getpid(), signal.SIGSTOP)
    return real(*arguments)


setattr(protocol, step, stop)
with protocol.unfinished_file(build, "tar") as path:
    path.write_bytes(content(1))
    print(protocol.commit(build, path, manifest_of(0, 1)), flush=True)
"""


@pytest.mark.parametrize("step", ["commit", "write_if_absent"])
def test_the_commit_of_a_worker_that_was_stopped_loses_when_it_wakes_up(tmp_path: Path, step: str) -> None:
    """It is stopped before it moves its tar, or between its tar and its manifest."""
    build = BuildDir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STOPPED, str(tmp_path), step]
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        protocol.sweep(build)
        assert protocol.find_writer(build) if step == "commit" else (build.data / manifest_of(0, 1).tar).exists()
        assert commit(build, manifest_of(0, 2))
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0] == "False\n"
    finally:
        process.kill()
        process.wait()
    (manifest,) = build.committed("a" * 64).values()
    assert manifest == manifest_of(0, 2) and (build.data / manifest.tar).read_bytes() == content(2)
    assert list(build.unfinished.iterdir()) == []
    assert protocol.garbage(build) == [build.data / manifest_of(0, 1).tar]


def test_a_worker_of_a_build_that_was_moved_aside_does_not_replace_a_commit_of_the_new_build(built: Path, tmp_path: Path) -> None:
    """`--fresh` may strike after the worker has looked whose directory it is."""
    build = BuildDir(Path(shutil.copytree(built, tmp_path / "out")))
    before = build.committed(build.record().fingerprint)
    with pytest.raises(protocol.MovedAsideError, match="now holds another build"):
        commit(build, manifest_of(0, 1, fingerprint="b" * 64))
    assert build.committed(build.record().fingerprint) == before and 0 in before


def test_sweep_keeps_what_a_living_process_writes(tmp_path: Path) -> None:
    build = BuildDir(tmp_path)
    elsewhere = build.unfinished / "otherhost~1~shard~00000000"
    with protocol.unfinished_file(build, "mine") as mine:
        elsewhere.write_bytes(b"x")
        protocol.sweep(build)
        assert mine.exists() and elsewhere.exists()
        assert protocol.find_writer(build) == elsewhere.name
