"""Atomic files: whole or absent, first writer wins, usual permissions, and synced when they must survive a power failure."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soundflow.schemas import atomic_file as module
from soundflow.schemas.atomic_file import (
    atomic_file,
    atomic_folder,
    link_first,
    new_file,
    sweep_abandoned,
    temporary_name,
    write_atomic,
)


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def written(path: Path, how: str) -> None:
    if how == "link":
        temporary = temporary_name(path.parent)
        with new_file(temporary) as file:
            file.write(b"data")
        assert link_first(temporary, path, b"data")
    else:
        write_atomic(path, b"data", durable=how == "durable")


@pytest.mark.parametrize("how", ["plain", "durable", "link"])
def test_files_have_the_mode_of_the_umask(tmp_path: Path, umask: int, how: str) -> None:
    written(tmp_path / "note", how)
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


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"old")
    with pytest.raises(FileExistsError), new_file(tmp_path / "note"):
        pass
    assert (tmp_path / "note").read_bytes() == b"old"


def no_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("link", [os.link, no_links], ids=["links", "no links"])
def test_of_two_writers_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]) -> None:
    monkeypatch.setattr(os, "link", link)
    won = []
    for data in (b"first", b"second"):
        temporary = temporary_name(tmp_path)
        with new_file(temporary) as file:
            file.write(data)
        won.append(link_first(temporary, tmp_path / "note", data, durable=True))
    assert won == [True, False]
    assert (tmp_path / "note").read_bytes() == b"first" and [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    old, young = temporary_name(tmp_path), temporary_name(tmp_path)
    assert old != young and old.name.startswith(".tmp-")
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    sweep_abandoned([old, young, tmp_path / "gone"])
    assert list(tmp_path.iterdir()) == [young] and module.ABANDONED_SECONDS == 3600


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
