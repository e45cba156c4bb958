"""`soundflow materialize`: render a virtual build into the equal stored build, byte for byte. The same call resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import commit, sweep, unfinished_file
from soundflow.pipeline.corpus.committed import committed_shards
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.corpus.shards import ShardWriter
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.schemas.atomic_file import written
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.shard import BuildStatus, ShardManifest

COPIED = ("scenes", "made", "quarantine")
"""Folders of a build that are copied unchanged."""


def materialize(
    directory: Path,
    out: Path,
    on_event: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] | None = None,
) -> BuildStatus:
    """Render every committed stream of the virtual build in `directory` into a stored build in `out`; return its status.

    `on_event` receives (samples done, total samples). `should_stop` is called after each sample (default: True after SIGINT or
    SIGTERM).

    Raises ShardError if a shard is damaged, InputError if `directory` is not a virtual build, a clip is missing or altered, or
    `out` contains another build, OSError if the disk is full, and Interrupted if `should_stop` returns True.
    """
    build = BuildDir(directory)
    record = build.record()
    if not record.virtual:
        raise InputError("is already a stored build", file=directory, remedy="Pass a build made with `soundflow build --virtual`")
    stored = open_build(out, record.model_copy(update={"virtual": False}))
    sweep(stored)
    for name in COPIED:
        if (build.root / name).is_dir():
            _copy_folder(build.root / name, stored.root / name)
    manifests = {manifest.shard: manifest for manifest in committed_shards(build, record)}
    rendered = stored.committed(record.fingerprint)
    total, done = sum(len(manifest.keys) for manifest in manifests.values()), 0
    samples = Samples(build, record)
    with deferred_signals() as signalled:
        stop = should_stop or signalled
        for shard, manifest in manifests.items():
            if shard not in rendered:
                _render_shard(samples, manifest, stored, stop)
            done += len(manifest.keys)
            on_event(done, total)
    return stored.status()


def _copy_folder(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except shutil.Error as error:  # one entry per file that cannot be copied: a pipe, a link that leads nowhere
        file, _, why = error.args[0][0]
        raise InputError(f"cannot be copied: {why}", file=file, remedy="Remove the file and run the same command again") from None


def _render_shard(samples: Samples, manifest: ShardManifest, stored: BuildDir, stop: Callable[[], bool]) -> None:
    with unfinished_file(stored, f"shard-{manifest.shard:06d}") as path:
        with written(path, durable=True) as stream:
            writer = ShardWriter(stream)
            for plan, members in samples.read_all(manifest):
                writer.add(plan.sample_id, members)
                if stop():
                    raise Interrupted
            writer.finish()
        sha256 = writer.sha256()
        tar = f"shard-{manifest.shard:06d}-{sha256[:12]}.tar"
        commit(stored, path, manifest.model_copy(update={"tar": tar, "sha256": sha256, "bytes": writer.bytes, "virtual": False}))
