"""`soundflow materialize`: the stored build a virtual one stands for, byte for byte. Resume is the same call again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import commit, sweep, unfinished_file
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.corpus.shards import ShardWriter
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.shard import BuildStatus, ShardManifest

COPIED = ("scenes", "made", "quarantine")
"""What explains the samples of a build beside its shards."""


def materialize(
    directory: Path,
    out: Path,
    on_event: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] | None = None,
) -> BuildStatus:
    """Render every committed stream of the virtual build in `directory` into a stored build in `out`.

    `on_event(samples done, samples in all)`. Raises InputError when `directory` holds no virtual build, a clip is missing or
    altered, or `out` holds another build; OSError when the disk is full; Interrupted when `should_stop` says so (by default
    SIGINT or SIGTERM).
    """
    build = BuildDir(directory)
    record = build.record()
    if not record.virtual:
        raise InputError(
            "is a stored build already", file=directory, remedy="Only `soundflow build --virtual` makes virtual ones"
        )
    made = open_build(out, record.model_copy(update={"virtual": False}))
    sweep(made)
    for name in COPIED:
        if (build.root / name).is_dir():
            shutil.copytree(build.root / name, made.root / name, dirs_exist_ok=True)
    manifests = build.committed(record.fingerprint)
    there = made.committed(record.fingerprint)
    total, done = sum(len(manifest.keys) for manifest in manifests.values()), 0
    samples = Samples(build, record)
    with deferred_signals() as signalled:
        stop = should_stop or signalled
        for shard, manifest in manifests.items():
            if shard not in there:
                _shard(samples, manifest, made, stop)
            done += len(manifest.keys)
            on_event(done, total)
    return made.status()


def _shard(samples: Samples, manifest: ShardManifest, made: BuildDir, stop: Callable[[], bool]) -> None:
    with unfinished_file(made, f"shard-{manifest.shard:06d}") as (stream, path):
        writer = ShardWriter(stream)
        for key, members in samples.read(manifest):
            writer.add(key, members)
            if stop():
                raise Interrupted
        writer.finish()
    sha256 = writer.sha256()
    tar = f"shard-{manifest.shard:06d}-{sha256[:12]}.tar"
    commit(made, path, manifest.model_copy(update={"tar": tar, "sha256": sha256, "bytes": writer.bytes, "virtual": False}))
