"""Committers: where and in which order the files of a shard become part of a corpus. One is chosen when a job is made.

Every committer writes the files of a shard first and its manifest last, and of two commits of one shard the first wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from soundflow.operators.clean.clip_cache import to_pcm
from soundflow.pipeline.build.object_store import ObjectStore, clip_name, sheet_name
from soundflow.pipeline.build.store_download import download_made_clips
from soundflow.pipeline.build.virtual import clips_of, store_clips
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import commit
from soundflow.pipeline.curate.made_clips import PoolWithMade, is_made
from soundflow.schemas.shard import BuildRecord, BuildStatus, ShardEntry, ShardManifest


class Committer(Protocol):
    """The destination of a build. Picklable: it travels to the workers with the job."""

    def progress(self, build: BuildDir, record: BuildRecord) -> tuple[list[int], list[ShardEntry]]:
        """Return the pending shards, in order, and the entries of the committed ones."""
        ...

    def commit(self, build: BuildDir, unfinished: Path, manifest: ShardManifest, pool: PoolWithMade) -> ShardManifest:
        """Commit a shard whose synced tar is the file `unfinished`, made from the clips of `pool`; return its manifest.

        If another worker has committed the shard, the manifest of that commit is returned. Raises OSError.
        """
        ...

    def finish(self, build: BuildDir, record: BuildRecord, pool: PoolWithMade, on_clips: Callable[[int], None]) -> None:
        """Store what all committed shards share, once every worker is done.

        `on_clips` receives the number of clips stored so far and may raise to stop.
        """
        ...

    def status(self, build: BuildDir) -> BuildStatus:
        """Return the state of the whole corpus."""
        ...


class DirectoryCommitter:
    """Commits shards in the build directory."""

    def progress(self, build: BuildDir, record: BuildRecord) -> tuple[list[int], list[ShardEntry]]:
        """See `Committer.progress`."""
        return build.pending(record)

    def commit(self, build: BuildDir, unfinished: Path, manifest: ShardManifest, pool: PoolWithMade) -> ShardManifest:
        """See `Committer.commit`."""
        if commit(build, unfinished, manifest):
            return manifest
        return build.commit_of(manifest.shard, manifest.fingerprint) or manifest

    def finish(self, build: BuildDir, record: BuildRecord, pool: PoolWithMade, on_clips: Callable[[int], None]) -> None:
        """Do nothing: shards of a stored build stand alone."""

    def status(self, build: BuildDir) -> BuildStatus:
        """See `Committer.status`."""
        return build.status()


class VirtualCommitter(DirectoryCommitter):
    """Commits shards without audio in the build directory, and in the end the clips that they are rendered from."""

    def finish(self, build: BuildDir, record: BuildRecord, pool: PoolWithMade, on_clips: Callable[[int], None]) -> None:
        """See `Committer.finish`."""
        store_clips(build, record, pool, on_clips)


@dataclass(frozen=True, slots=True)
class StoreCommitter:
    """Commits shards in an object store; the build directory is only this machine's work space.

    Before a shard's manifest it uploads what the shard refers to: quarantined samples, the scene sheet, made clips, and the
    cleaned clips of a virtual build. Their names are hashes, or the first upload wins, so nothing is uploaded twice.
    """

    store: ObjectStore
    _uploaded: set[str] = field(default_factory=set)
    """Names that this process has found or put in the store."""

    def progress(self, build: BuildDir, record: BuildRecord) -> tuple[list[int], list[ShardEntry]]:
        """See `Committer.progress`."""
        return self.store.pending(record.recipe), list(self.store.entries())

    def commit(self, build: BuildDir, unfinished: Path, manifest: ShardManifest, pool: PoolWithMade) -> ShardManifest:
        """See `Committer.commit`. Raises OSError, too, if the store holds a different clip under the same id."""
        commit(build, unfinished, manifest)
        for name, read in _companions(build, manifest, pool):
            if name not in self._uploaded:
                self.store.put_once(name, read)
                self._uploaded.add(name)
        is_first = self.store.commit(build, manifest)
        (build.data / manifest.tar).unlink(missing_ok=True)  # another worker of this machine may have made the same shard
        build.manifest_path(manifest.shard).unlink(missing_ok=True)
        return manifest if is_first else self.store.manifest(manifest.shard)

    def finish(self, build: BuildDir, record: BuildRecord, pool: PoolWithMade, on_clips: Callable[[int], None]) -> None:
        """Do nothing: `commit` has uploaded the clips of each shard."""

    def status(self, build: BuildDir) -> BuildStatus:
        """See `Committer.status`."""
        return self.store.status()


def committer_for(store_url: str | None, build: BuildDir, record: BuildRecord) -> Committer:
    """Return the committer of a build and prepare its destination.

    Raises InputError if `store_url` is not usable or holds another build.
    """
    if store_url is None:
        return VirtualCommitter() if record.virtual else DirectoryCommitter()
    store = ObjectStore(store_url)
    store.open(record)
    if record.recipe.curates:
        download_made_clips(store, build)
    return StoreCommitter(store)


def _companions(build: BuildDir, manifest: ShardManifest, pool: PoolWithMade) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield (name in the store, function that reads the content) of everything a shard refers to."""
    for sample in manifest.quarantined:
        yield _file(build, build.quarantined / f"{sample}.json")
    if manifest.scenes_sha256 is not None:
        yield sheet_name(manifest), build.sheet_path(manifest.shard).read_bytes
    if manifest.scenes_sha256 is None and not manifest.virtual:
        return
    for sha256, clip_id in clips_of(build, build.record(), [manifest]).items():
        if is_made(clip_id):
            for path in pool.made.files(clip_id):
                yield _file(build, path)
        if manifest.virtual:
            yield clip_name(sha256), lambda clip_id=clip_id, sha256=sha256: _pcm(pool, clip_id, sha256)  # type: ignore[misc]


def _file(build: BuildDir, path: Path) -> tuple[str, Callable[[], bytes]]:
    return path.relative_to(build.root).as_posix(), path.read_bytes


def _pcm(pool: PoolWithMade, clip_id: str, sha256: str) -> bytes:
    pcm = to_pcm(pool.audio(pool.get(clip_id)))
    if hashlib.sha256(pcm).hexdigest() != sha256:
        raise OSError(f"clip {clip_id}: its audio has changed since the shard was made")
    return pcm
