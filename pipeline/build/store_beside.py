"""What a corpus in an object store has beside its shards: what its streams are explained by, and virtual ones rendered from.

`URL/scenes/NNNNNN-<sha12>.json` is the sheet a shard was rendered from, `URL/made/…` are the made clips of its streams, as in a
build directory, `URL/quarantine/…` its samples that broke, `URL/clips/ab/<sha256>.pcm` the cleaned clips of a virtual build. All
of it is put before the shard's manifest, and never twice: names are hashes, or the first wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soundflow.operators.clean.clip_cache import to_pcm
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import add_clips
from soundflow.pipeline.corpus.commit import put, put_first, unfinished_name
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.curate.made_clips import FOLDER, PoolWithMade, is_made
from soundflow.pipeline.build.object_store import ObjectStore
from soundflow.pipeline.build.virtual import clips_of
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord, ShardManifest


@dataclass(slots=True)
class Beside:
    """Puts it there, for the shards one worker makes in its local `build`."""

    store: ObjectStore
    build: BuildDir
    pool: PoolWithMade
    _there: set[str] = field(default_factory=set)

    def put(self, manifest: ShardManifest) -> None:
        """Everything of one shard. Raises OSError when the store has a clip of the same id that was made otherwise."""
        for name, read in self._of(manifest):
            if name not in self._there:
                self.store.keep(name, read)
                self._there.add(name)

    def _of(self, manifest: ShardManifest) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for sample in manifest.quarantined:
            yield from self._file(self.build.quarantined / f"{sample}.json")
        if manifest.scenes_sha256 is not None:
            yield sheet_name(manifest), self.build.sheet_path(manifest.shard).read_bytes
        if manifest.scenes_sha256 is None and not manifest.virtual:
            return
        for sha256, clip_id in clips_of(self.build, [manifest]).items():
            if is_made(clip_id):
                for path in self.pool.made.files(clip_id):
                    yield from self._file(path)
            if manifest.virtual:
                yield clip_name(sha256), lambda clip_id=clip_id, sha256=sha256: self._pcm(clip_id, sha256)  # type: ignore[misc]

    def _file(self, path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
        yield path.relative_to(self.build.root).as_posix(), path.read_bytes

    def _pcm(self, clip_id: str, sha256: str) -> bytes:
        pcm = to_pcm(self.pool.audio(self.pool.get(clip_id)))
        if hashlib.sha256(pcm).hexdigest() != sha256:
            raise OSError(f"clip {clip_id} is other audio than the shard was made of")
        return pcm


def sheet_name(manifest: ShardManifest) -> str:
    """Where the store has the scenes of a shard."""
    return f"scenes/{manifest.shard:06d}-{str(manifest.scenes_sha256)[:12]}.json"


def clip_name(sha256: str) -> str:
    """Where the store has a clip of a virtual build."""
    return f"clips/{sha256[:2]}/{sha256}.pcm"


def bring_made(store: ObjectStore, build: BuildDir) -> None:
    """Made clips and what broke, as far as they are not here: a build that goes on elsewhere hears the same."""
    for folder in (FOLDER, build.quarantined.name):
        for name in store.names(folder):  # a clip's audio before its row, which commits it
            if not (build.root / name).exists():
                put(build, build.root / name, store.read(name))


def bring_clips(store: ObjectStore, build: BuildDir, record: BuildRecord) -> None:
    """The clips of a virtual build's committed shards, into its packs. Raises InputError when one is missing or altered."""

    def read(clip_id: str, sha256: str) -> bytes:
        name = clip_name(sha256)
        try:
            pcm = store.read(name)
        except FileNotFoundError:
            raise InputError("is missing from the store", file=f"{store.url}/{name}", value=clip_id) from None
        if hashlib.sha256(pcm).hexdigest() != sha256:
            raise InputError("has been altered in the store", file=f"{store.url}/{name}", value=clip_id)
        return pcm

    add_clips(build, clips_of(build, build.committed(record.fingerprint).values()), read)


def fetch(store: ObjectStore, directory: Path) -> int:
    """Bring the corpus into the new or begun build directory `directory`; how many shards were brought.

    What is there in full stays. Raises OSError, InputError when `directory` is of another build.
    """
    record = store.record()
    build = open_build(directory, record)
    bring_made(store, build)
    there = set(build.committed(record.fingerprint))
    brought = 0
    for shard in store.shards():
        if shard in there:
            continue
        name = f"manifest/{shard:06d}.json"
        data = store.read(name)
        manifest = ShardManifest.from_json(data, file=f"{store.url}/{name}")
        unfinished = unfinished_name(build, manifest.tar)
        try:
            store.download(f"data/{manifest.tar}", unfinished)
            build.data.mkdir(parents=True, exist_ok=True)
            unfinished.replace(build.data / manifest.tar)
        finally:
            unfinished.unlink(missing_ok=True)
        if manifest.scenes_sha256 is not None:
            put(build, build.sheet_path(shard), store.read(sheet_name(manifest)))
        put_first(build, build.manifest_path(shard), data)
        brought += 1
    if record.virtual:
        bring_clips(store, build, record)
    return brought
