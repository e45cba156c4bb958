"""The commit protocol: a shard is part of the corpus if and only if its manifest exists, and the first manifest wins.

The tar is written below `_tmp`, synced and moved to a name that contains its hash. Then the manifest is linked into place, which
fails if it exists. A race or a kill at any point leaves either no commit or one complete commit. On file systems without hard
links the manifest is created exclusively instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.atomic_file import is_own, link_first, sweep_abandoned, sync, temporary_file, written
from soundflow.schemas.shard import ShardManifest


class MovedAsideError(RuntimeError):
    """The output directory has been moved aside and replaced by another build."""


@contextlib.contextmanager
def unfinished_file(build: BuildDir, what: str) -> Iterator[Path]:
    """Create a file below `_tmp` and yield its path; it is removed in the end unless it has been moved into place."""
    with temporary_file(build.unfinished, what) as path:
        yield path


def write_file(build: BuildDir, path: Path, data: bytes) -> None:
    """Write a document to `path` atomically and durably, replacing an existing one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as unfinished:
        with written(unfinished, durable=True) as stream:
            stream.write(data)
        unfinished.replace(path)
    sync(path.parent)


def write_if_absent(build: BuildDir, path: Path, data: bytes) -> bool:
    """Write a document to `path` atomically and durably unless one exists; return whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, path.name) as unfinished:
        with written(unfinished, durable=True) as stream:
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
    check_not_moved_aside(build, manifest.fingerprint)  # then the existing manifest is a commit of another build
    write_file(build, path, data)  # the existing manifest is not a commit: it is damaged or its tar is missing
    return True


def check_not_moved_aside(build: BuildDir, fingerprint: str) -> None:
    """Raise MovedAsideError if `--fresh` has moved the build of this fingerprint aside: the directory now belongs to another."""
    if build.record_path.exists() and build.record().fingerprint != fingerprint:
        raise MovedAsideError(f"{build.root} now holds another build; this one was moved aside with --fresh")


def sweep(build: BuildDir) -> None:
    """Remove the unfinished files of killed writers (`schemas.atomic_file.sweep_abandoned`)."""
    sweep_abandoned(build.unfinished.glob("*~*~*"))


def find_writer(build: BuildDir) -> str:
    """Return the name of an unfinished file of another process, or an empty string. Call `sweep` first."""
    return next((path.name for path in build.unfinished.glob("*~*~*") if not is_own(path)), "")


def garbage(build: BuildDir) -> list[Path]:
    """Return the tars that no manifest names, left by lost races and killed commits, and what `build --recheck` moved aside.

    They may only be deleted while no build is running. Raises InputError if a manifest is damaged: it may name any of the tars.
    """
    named = {manifest.tar for manifest in build.manifests()}
    tars = sorted(build.data.glob("*.tar")) if build.data.is_dir() else []
    aside = sorted(build.damaged.iterdir()) if build.damaged.is_dir() else []
    return [*(path for path in tars if path.name not in named), *aside]
