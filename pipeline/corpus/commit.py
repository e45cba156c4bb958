"""The commit protocol: a shard counts if and only if its manifest is there, and the first manifest wins.

The tar is written under `_tmp`, synced and moved to a name that holds its own hash; then the manifest is linked into place,
which fails when there is one. Races and kills at any point leave either no commit or one whole commit. File systems
without hard links use exclusive creation instead.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.atomic_file import link_first, new_file, sync
from soundflow.schemas.shard import ShardManifest


def unfinished_name(build: BuildDir, what: str) -> Path:
    """A name below `_tmp` that says who writes it, so that the files of the dead can be told and swept."""
    build.unfinished.mkdir(parents=True, exist_ok=True)
    return build.unfinished / f"{socket.gethostname()}~{os.getpid()}~{what}~{os.urandom(4).hex()}"


@contextlib.contextmanager
def unfinished_file(build: BuildDir, what: str) -> Iterator[tuple[IO[bytes], Path]]:
    """An open file below `_tmp`, synced at the end of the block, and removed if it is still there."""
    path = unfinished_name(build, what)
    with new_file(path, durable=True) as stream:
        yield stream, path


def write_file(build: BuildDir, path: Path, data: bytes) -> None:
    """Write a whole document at `path`, replacing what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as (stream, unfinished):
        stream.write(data)
    unfinished.replace(path)
    sync(path.parent)


def write_if_absent(build: BuildDir, path: Path, data: bytes) -> bool:
    """Write a whole document at `path` unless there is one; True when ours is the one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as (stream, unfinished):
        stream.write(data)
    return link_first(unfinished, path, data, durable=True)


def commit(build: BuildDir, unfinished: Path, manifest: ShardManifest) -> bool:
    """Put a synced tar and then its manifest in place; True when ours is the commit, False when another was first."""
    build.data.mkdir(parents=True, exist_ok=True)
    unfinished.replace(build.data / manifest.tar)
    sync(build.data)
    path = build.manifest_path(manifest.shard)
    data = manifest.canonical_json()
    if write_if_absent(build, path, data):
        return True
    if build.commit_of(manifest.shard, manifest.fingerprint) is not None:
        return False
    write_file(build, path, data)  # what was there counted for nothing: no such tar, or damaged
    return True


def sweep(build: BuildDir) -> None:
    """Remove unfinished files of processes of this machine that are dead."""
    for path in build.unfinished.glob("*~*~*") if build.unfinished.is_dir() else ():
        host, process, *_ = path.name.split("~")
        if (
            host == socket.gethostname()
            and process.isdigit()
            and not Path(f"/proc/{process}").exists()
            and not _alive(int(process))
        ):
            path.unlink(missing_ok=True)


def being_written(build: BuildDir) -> str:
    """An unfinished file of another process, or nothing. Call `sweep` before: it removes those of this machine's dead."""
    ours = f"{socket.gethostname()}~{os.getpid()}~"
    names = [path.name for path in build.unfinished.glob("*~*~*")] if build.unfinished.is_dir() else []
    return next((name for name in names if not name.startswith(ours)), "")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def garbage(build: BuildDir) -> list[Path]:
    """Tars no manifest names: what losers of races and killed commits left. Only safe to delete when nothing is building."""
    named = {manifest.tar for manifest in build.manifests()}
    return [path for path in sorted(build.data.glob("*.tar")) if path.name not in named] if build.data.is_dir() else []
