"""Atomic files: whole or absent, first writer wins, usual permissions, and synced when they must survive a power failure."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soundflow.schemas.atomic_file import (
    atomic_file,
    atomic_folder,
    link_first,
    sweep_abandoned,
    temporary_file,
    write_atomic,
    written,
)
from tests.support import ROOT


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def write(path: Path, how: str) -> None:
    if how == "link":
        with temporary_file(path.parent) as temporary:
            with written(temporary) as file:
                file.write(b"data")
            assert link_first(temporary, path, b"data")
    else:
        write_atomic(path, b"data", durable=how == "durable")


@pytest.mark.parametrize("how", ["plain", "durable", "link"])
def test_files_have_the_mode_of_the_umask(tmp_path: Path, umask: int, how: str) -> None:
    write(tmp_path / "note", how)
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "note").read_bytes() == b"data" and [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_folders_are_created_and_blocks_are_joined(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a/b/note", iter([b"one", b"", b"two"]))
    assert (tmp_path / "a/b/note").read_bytes() == b"onetwo"


def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Record which files and folders are synced, and when the file is put in place."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def syncing(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append("folder" if place == tmp_path else f"file of {place.stat().st_size}")
        fsync(handle)

    def replacing(self: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    return steps


@pytest.mark.parametrize(("durable", "steps"), [(True, ["file of 4", "replace", "folder"]), (False, ["replace"])])
def test_a_durable_file_is_synced_before_it_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, steps: list[str]
) -> None:
    found = recorded(monkeypatch, tmp_path)
    write_atomic(tmp_path / "note", b"data", durable=durable)
    assert found == steps


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "note"
    write_atomic(path, b"old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if step == "replace":
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"), atomic_file(path, durable=True) as file:
        file.write(b"new")
        if step == "write":
            full()
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["note"]


def no_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("link", [os.link, no_links], ids=["links", "no links"])
def test_of_two_writers_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]) -> None:
    monkeypatch.setattr(os, "link", link)
    won = []
    for data in (b"first", b"second"):
        with temporary_file(tmp_path) as temporary:
            temporary.write_bytes(data)
            won.append(link_first(temporary, tmp_path / "note", data, durable=True))
    assert won == [True, False]
    assert (tmp_path / "note").read_bytes() == b"first" and [entry.name for entry in tmp_path.iterdir()] == ["note"]


HOLD = """
import os, sys, time
from pathlib import Path
from soundflow.schemas.atomic_file import temporary_file
with temporary_file(Path(sys.argv[1]), "note") as path:
    path.write_bytes(b"half")
    print(path, flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def writer(folder: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has written half of a temporary file, and that file. It is killed at the end of the block."""
    command = [*prefix, sys.executable, "-c", HOLD, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("is_stopped", [False, True], ids=["runs", "stopped"])
def test_the_file_of_a_living_writer_is_never_swept_and_that_of_a_killed_one_at_once(tmp_path: Path, is_stopped: bool) -> None:
    with writer(tmp_path) as (process, path):
        if is_stopped:
            process.send_signal(signal.SIGSTOP)
        os.utime(path, (0, 0))
        sweep_abandoned(tmp_path.iterdir())
        assert path.read_bytes() == b"half"
    os.utime(path)
    sweep_abandoned([*tmp_path.iterdir(), tmp_path / f".tmp-h~1~note~{'0' * 8}~{'0' * 8}"])
    assert list(tmp_path.iterdir()) == []


def test_a_writer_in_another_container_with_the_same_host_name_and_process_ids_keeps_its_file(tmp_path: Path) -> None:
    container = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if shutil.which("unshare") is None or subprocess.run([*container, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make a process namespace")
    with writer(tmp_path, *container) as (_, path):
        assert path.name.startswith(f".tmp-{socket.gethostname()}~")
        os.utime(path, (0, 0))
        sweep_abandoned([path])
        assert path.exists()
    deadline = time.monotonic() + 30
    while path.exists() and time.monotonic() < deadline:  # the container ends a moment after its first process
        sweep_abandoned([path])
    assert not path.exists()


def other_machine(folder: Path, seconds: float) -> Path:
    """An unlocked temporary file of another machine, this old."""
    path = folder / f".tmp-{socket.gethostname()}~{os.getpid()}~note~{'0' * 8}~{'1' * 8}"
    path.write_bytes(b"half")
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))
    return path


@pytest.mark.parametrize("hours", [-80, 0, 80])
def test_files_of_other_machines_are_swept_after_a_day_by_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)
    young = other_machine(tmp_path, 86_000)
    sweep_abandoned([young])
    assert list(tmp_path.iterdir()) == [young]
    old = other_machine(tmp_path, 87_000)
    sweep_abandoned([old])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", ".tmp-notes", ".tmp-2~b", ".tmp-0123456789abcdef.wav", "a~1~b"])
def test_files_that_are_not_temporary_files_of_ours_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    sweep_abandoned(tmp_path.iterdir())
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", [".tmp-0123456789abcdef", "host~1~shard-000001~01234567"])
def test_files_of_version_0_1_are_swept_after_a_day(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    sweep_abandoned(tmp_path.iterdir())
    assert (tmp_path / name).exists()
    os.utime(tmp_path / name, (0, 0))
    sweep_abandoned(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_without_locks_files_of_living_processes_of_this_machine_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with writer(tmp_path) as (_, path):
        os.utime(path, (0, 0))
        sweep_abandoned([path])
        assert path.exists()
    sweep_abandoned([path])
    assert not path.exists()
    write_atomic(tmp_path / "note", b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_a_file_swept_between_its_creation_and_its_lock_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, removed = fcntl.flock, list[Path]()

    def late(handle: int, operation: int) -> None:
        if not removed:
            removed.append(Path(f"/proc/self/fd/{handle}").readlink())
            removed[0].unlink()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with temporary_file(tmp_path) as path:
        assert removed == [path] and path.exists()


def test_two_processes_do_not_write_one_folder_at_once(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as aside:
        (aside / "a").write_bytes(b"1")
        with pytest.raises(BlockingIOError, match="another process is writing"), atomic_folder(tmp_path / "out"):
            pass
        assert (aside / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_appears_whole_and_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "out"
    (tmp_path / "_tmp-out" / "left").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), atomic_folder(place) as aside:
        assert list(aside.iterdir()) == []
        (aside / "a").write_bytes(b"1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(place, durable=True) as aside:
        (aside / "a").write_bytes(b"1")
        assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (place / "a").read_bytes() == b"1"


def test_a_folder_replaces_another_one_only_if_it_may(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"), atomic_folder(place) as aside:
        (aside / "new").write_bytes(b"")
    assert [path.name for path in place.iterdir()] == ["old"]
    with atomic_folder(place, replace=True) as aside:
        (aside / "new").write_bytes(b"")
    assert [path.name for path in place.iterdir()] == ["new"]
