"""`soundflow build --recheck`: verify a build and move what is damaged aside, so that the build makes it again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from soundflow.pipeline.build.run import plan_build
from soundflow.pipeline.check.records import derived_fingerprint
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.pipeline.corpus.commit import find_writer, sweep, write_file
from soundflow.schemas.atomic_file import sync
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord, Problem, ShardManifest


def recheck(recipe_path: Path, out: Path, *, virtual: bool = False) -> list[str]:
    """Verify the build of a recipe in `out`; move every damaged file to `out`/damaged and return their old names.

    Nothing is deleted. The next `build` makes again what is missing then. A build.json that is damaged is written again if a
    manifest has the fingerprint of the recipe. A build of another recipe is not touched.

    Raises InputError if the recipe or its clip index is invalid, or another process is building in `out`.
    """
    record, _ = plan_build(recipe_path)
    record = record.model_copy(update={"virtual": virtual or record.virtual})
    build = BuildDir(out)
    if not out.is_dir() or not any(path.name != "_tmp" for path in out.iterdir()):
        return []
    sweep(build)
    if busy := find_writer(build):
        raise InputError("another process is building in this directory", file=out, value=busy, remedy="Wait until it has ended")
    moved = list(_restore_record(build, record))
    if build.record().fingerprint != record.fingerprint:
        return []  # `build` refuses it and shows the differences
    for problem in verify(out).problems:
        for path in _damaged_files(build, problem):
            moved += _move_aside(build, path)
    moved += _open_clip_store(build)
    return moved


def _open_clip_store(build: BuildDir) -> Iterator[str]:
    """Move packs aside until the clip store can be opened: it stops at the first damaged one."""
    while True:
        try:
            ClipStore(build.clips)
            return
        except InputError as error:
            for suffix in (".npy", ".pcm"):
                yield from _move_aside(build, Path(str(error.file)).with_suffix(suffix))


def _restore_record(build: BuildDir, record: BuildRecord) -> Iterator[str]:
    """Write a damaged build.json again, if the shards belong to the build of `record`."""
    try:
        stored = build.record()
        if derived_fingerprint(stored) == stored.fingerprint:
            return
    except InputError:
        pass
    if not any(True for _ in build.ledger(record.fingerprint)):
        return
    yield from _move_aside(build, build.record_path)
    write_file(build, build.record_path, record.canonical_json())


def _damaged_files(build: BuildDir, problem: Problem) -> Iterator[Path]:
    """Yield the files to move aside for a finding: its file and, for a shard, its tar and then its manifest."""
    path = build.root / problem.file
    if not problem.file or problem.check == "missing" or not path.is_relative_to(build.root):
        return
    if problem.check == "clips" and path.parent == build.clips:
        yield from (path.with_suffix(suffix) for suffix in (".npy", ".pcm"))
    elif problem.shard >= 0:
        yield from _files_of_shard(build, problem.shard)
        if problem.check == "scenes":
            yield build.sheet_path(problem.shard)
    elif path != build.record_path:
        yield path


def _files_of_shard(build: BuildDir, shard: int) -> Iterator[Path]:
    """Yield the manifest of a shard, which uncommits it, and then its tars."""
    path = build.manifest_path(shard)
    try:
        names = {ShardManifest.from_file(path).tar}
    except (InputError, FileNotFoundError):
        names = set()
    yield path
    yield from (build.data / name for name in names)


def _move_aside(build: BuildDir, path: Path) -> Iterator[str]:
    if not os.path.lexists(path):
        return
    name = str(path.relative_to(build.root))
    build.damaged.mkdir(exist_ok=True)
    target, number = build.damaged / name.replace("/", "-"), 1
    while os.path.lexists(target):
        target, number = build.damaged / f"{name.replace('/', '-')}-{number}", number + 1
    path.rename(target)
    sync(path.parent)
    yield name
