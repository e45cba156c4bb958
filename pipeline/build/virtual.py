"""Virtual builds store plans, tokens and clips; audio is rendered on demand.

The audio equals that of a stored build of the same recipe sample by sample, since the plan determines it and clips are named by
the hash of their content. A missing or altered clip raises an InputError that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.clip_cache import to_pcm
from soundflow.operators.compose.clips import ClipPool
from soundflow.operators.compose.mixing import render, stream_pcm16
from soundflow.pipeline.build.produce import encode
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore, add_clips
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import json_value
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import StreamPlan


class Samples:
    """Samples with audio from the committed shards of a virtual or stored build."""

    def __init__(self, build: BuildDir, record: BuildRecord):
        self.build, self.audio = build, record.recipe.output.audio
        self.store = ClipStore(build.clips) if record.virtual else None

    def read(self, manifest: ShardManifest) -> Iterator[tuple[str, dict[str, bytes]]]:
        """See `pipeline.corpus.shards.read_shard`. Raises InputError, too, if a clip is missing or altered."""
        for key, members in read_shard(self.build.data / manifest.tar):
            yield key, self.with_audio(members)

    def find(self, manifest: ShardManifest, key: str) -> dict[str, bytes]:
        """Return the members of the sample `key`; empty if the shard does not contain it. Raises what `read` raises."""
        stored = (members for found, members in read_shard(self.build.data / manifest.tar) if found == key)
        return self.with_audio(next(stored, {}))

    def with_audio(self, members: dict[str, bytes]) -> dict[str, bytes]:
        """Return the members of a sample including its audio, in the order of the shard."""
        if self.store is None or not members:
            return members
        plan = StreamPlan.from_json(members["json"])
        return {self.audio: encode(render(plan, self.store.load), self.audio), **members}


class Renderer:
    """Renders audio of virtual builds for `training.corpus.StoredCorpus`. Pickles without its open files."""

    def __init__(self) -> None:
        self._stores: dict[Path, ClipStore] = {}

    def __reduce__(self) -> tuple[type[Renderer], tuple[()]]:
        return (Renderer, ())

    def __call__(self, directory: Path, plan: StreamPlan, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop` (exclusive) of a stream as float32, equal to those decoded from FLAC: PCM16 / 2^15."""
        if directory not in self._stores:
            self._stores[directory] = ClipStore(BuildDir(directory).clips)
        return from_pcm16(stream_pcm16(render(plan, self._stores[directory].load, range(start, stop))))


def store_clips(
    build: BuildDir, record: BuildRecord, pool: ClipPool, on_clips: Callable[[int], None] = lambda clips: None
) -> int:
    """Add the clips of all committed streams to the clip store of a virtual build; return the number of new clips.

    `on_clips` receives the number of clips so far after each and may raise to stop; the next call continues after the last
    closed pack.
    """

    def read(clip_id: str, sha256: str) -> bytes:
        clip = pool.get(clip_id)
        if clip.clean_sha256 != sha256:
            why = "the audio of this clip has changed since the plan was made"
            raise InputError(why, file=record.clips, value=clip_id, remedy="Restore the clip index or build with --fresh")
        return to_pcm(pool.audio(clip))

    committed = build.committed(record.fingerprint).values()
    return add_clips(build, clips_of(build, committed), read, lambda done, _: on_clips(done))


def clips_of(build: BuildDir, manifests: Iterable[ShardManifest]) -> dict[str, str]:
    """Return SHA-256 of the cleaned samples → clip id of all recorded clips in these shards."""
    found: dict[str, str] = {}
    for manifest in manifests:
        for _, members in read_shard(build.data / manifest.tar, only=("json",)):
            plan = json_value(members["json"])  # without a schema, since corpora have millions of plans
            found |= {item["clean_sha256"]: item["clip_id"] for item in (*plan["clips"], *plan["noises"]) if item["clip_id"]}
    return found
