"""Download a corpus from an object store, in whole (`soundflow fetch`) or only what a resumed build needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from soundflow.pipeline.build.object_store import ObjectStore, clip_name, sheet_name
from soundflow.pipeline.build.virtual import clips_of
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import add_clips
from soundflow.pipeline.corpus.commit import unfinished_file, write_file, write_if_absent
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.curate.made_clips import FOLDER
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord, ShardManifest


def download_corpus(store: ObjectStore, directory: Path) -> int:
    """Download the corpus into `directory`, a new or partly downloaded build directory; return the number of new shards.

    Shards that are already complete are kept. Raises OSError, and InputError if `directory` holds another build.
    """
    record = store.record()
    build = open_build(directory, record)
    download_made_clips(store, build)
    complete = set(build.committed(record.fingerprint))
    downloaded = 0
    for shard in store.shards():
        if shard in complete:
            continue
        name = f"manifest/{shard:06d}.json"
        data = store.read(name)
        manifest = ShardManifest.from_json(data, file=f"{store.url}/{name}")
        with unfinished_file(build, manifest.tar) as unfinished:
            store.download(f"data/{manifest.tar}", unfinished)
            build.data.mkdir(parents=True, exist_ok=True)
            unfinished.replace(build.data / manifest.tar)
        if manifest.scenes_sha256 is not None:
            write_file(build, build.sheet_path(shard), store.read(sheet_name(manifest)))
        write_if_absent(build, build.manifest_path(shard), data)
        downloaded += 1
    if record.virtual:
        _download_clips(store, build, record)
    return downloaded


def download_made_clips(store: ObjectStore, build: BuildDir) -> None:
    """Download the made clips and quarantined samples that `build` lacks, so that a build resumed here reuses them."""
    for folder in (FOLDER, build.quarantined.name):
        for name in store.names(folder):  # sorted: a clip's audio comes before its row, which commits it
            if not (build.root / name).exists():
                write_file(build, build.root / name, store.read(name))


def _download_clips(store: ObjectStore, build: BuildDir, record: BuildRecord) -> None:
    """Add the clips of a virtual build's committed shards to its clip store; InputError if one is missing or altered."""

    def read(clip_id: str, sha256: str) -> bytes:
        name = clip_name(sha256)
        try:
            pcm = store.read(name)
        except FileNotFoundError:
            raise InputError("the clip is missing from the store", file=f"{store.url}/{name}", value=clip_id) from None
        if hashlib.sha256(pcm).hexdigest() != sha256:
            raise InputError("the clip has been altered in the store", file=f"{store.url}/{name}", value=clip_id)
        return pcm

    add_clips(build, clips_of(build, record, build.committed(record.fingerprint).values()), read)
