"""The commit protocol: a shard is part of the corpus if and only if its manifest exists, and the first manifest wins.

The tar is written below `_tmp`, synced and moved to a name that contains its hash. Then the manifest is linked into place, which
fails if it exists. A race or a kill at any point leaves either no commit or one complete commit. On file systems without hard
links the manifest is created exclusively instead.
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
    """Return a new path below `_tmp` that names its host and process, so that `sweep` can remove it if that has died."""
    build.unfinished.mkdir(parents=True, exist_ok=True)
    return build.unfinished / f"{socket.gethostname()}~{os.getpid()}~{what}~{os.urandom(4).hex()}"


@contextlib.contextmanager
def unfinished_file(build: BuildDir, what: str) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a new file below `_tmp`; yield it and its path. It is synced at the end of the block, or removed on an error."""
    path = unfinished_name(build, what)
    with new_file(path, durable=True) as stream:
        yield stream, path


def write_file(build: BuildDir, path: Path, data: bytes) -> None:
    """Write a document to `path` atomically and durably, replacing an existing one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as (stream, unfinished):
        stream.write(data)
    unfinished.replace(path)
    sync(path.parent)


def write_if_absent(build: BuildDir, path: Path, data: bytes) -> bool:
    """Write a document to `path` atomically and durably unless one exists; return whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as (stream, unfinished):
        stream.write(data)
    return link_first(unfinished, path, data, durable=True)


def commit(build: BuildDir, unfinished: Path, manifest: ShardManifest) -> bool:
    """Move a synced tar and then its manifest into place; return False if the shard was already committed."""
    build.data.mkdir(parents=True, exist_ok=True)
    unfinished.replace(build.data / manifest.tar)
    sync(build.data)
    path = build.manifest_path(manifest.shard)
    data = manifest.canonical_json()
    if write_if_absent(build, path, data):
        return True
    if build.commit_of(manifest.shard, manifest.fingerprint) is not None:
        return False
    write_file(build, path, data)  # the existing manifest is not a commit: it is damaged or its tar is missing
    return True


def sweep(build: BuildDir) -> None:
    """Remove the unfinished files of dead processes of this machine."""
    for path in build.unfinished.glob("*~*~*") if build.unfinished.is_dir() else ():
        host, process, *_ = path.name.split("~")
        if (
            host == socket.gethostname()
            and process.isdigit()
            and not Path(f"/proc/{process}").exists()
            and not _alive(int(process))
        ):
            path.unlink(missing_ok=True)


def find_writer(build: BuildDir) -> str:
    """Return the name of an unfinished file of another process, or an empty string. Call `sweep` first."""
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
    """Return the tars that no manifest names, left by lost races and killed commits.

    They may only be deleted while no build is running.
    """
    named = {manifest.tar for manifest in build.manifests()}
    return [path for path in sorted(build.data.glob("*.tar")) if path.name not in named] if build.data.is_dir() else []
