"""Virtual builds: plans and tokens are stored, audio is rendered from the build's own clips when it is asked for.

What is heard is, sample for sample, what a stored build of the same recipe holds: the plan says everything, and the clips are
named by the hash of their content. A clip that is missing or altered is an InputError that names it.
"""

from __future__ import annotations

import json
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
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import StreamPlan


class Samples:
    """Whole samples of the committed shards of a build, virtual or stored."""

    def __init__(self, build: BuildDir, record: BuildRecord):
        self.build, self.audio = build, record.recipe.output.audio
        self.store = ClipStore(build.clips) if record.virtual else None

    def read(self, manifest: ShardManifest) -> Iterator[tuple[str, dict[str, bytes]]]:
        """See `pipeline.corpus.shards.read_shard`; raises InputError, too, when a clip is missing or altered."""
        for key, members in read_shard(self.build.data / manifest.tar):
            yield key, self.whole(members)

    def find(self, manifest: ShardManifest, key: str) -> dict[str, bytes]:
        """The members of one sample; empty when the shard has none of this name. Raises like `read`."""
        stored = (members for found, members in read_shard(self.build.data / manifest.tar) if found == key)
        return self.whole(next(stored, {}))

    def whole(self, members: dict[str, bytes]) -> dict[str, bytes]:
        """The members of a sample with its audio, in shard order."""
        if self.store is None or not members:
            return members
        plan = StreamPlan.from_json(members["json"])
        return {self.audio: encode(render(plan, self.store.load), self.audio), **members}


class Renderer:
    """Audio of virtual builds for `training.corpus.StoredCorpus`. Pickles without what it holds open."""

    def __init__(self) -> None:
        self._stores: dict[Path, ClipStore] = {}

    def __reduce__(self) -> tuple[type[Renderer], tuple[()]]:
        return (Renderer, ())

    def __call__(self, directory: Path, plan: StreamPlan, start: int, stop: int) -> NDArray[np.float32]:
        """Samples `start`...`stop` (exclusive) of a stream of a stream, as a loader reads them from FLAC: PCM16 / 2^15."""
        if directory not in self._stores:
            self._stores[directory] = ClipStore(BuildDir(directory).clips)
        return from_pcm16(stream_pcm16(render(plan, self._stores[directory].load, range(start, stop))))


def store_clips(build: BuildDir, record: BuildRecord, pool: ClipPool, told: Callable[[int], None] = lambda clips: None) -> int:
    """Put what the committed streams of a virtual build are made of into its clip store; how many clips were new.

    `told(clips)` is called after each and may raise to stop: closed packs stay, and the next call goes on.
    """

    def read(clip_id: str, sha256: str) -> bytes:
        clip = pool.get(clip_id)
        if clip.clean_sha256 != sha256:
            raise InputError("has other audio than its plan names", file=record.clips, value=clip_id, remedy="Build with --fresh")
        return to_pcm(pool.audio(clip))

    committed = build.committed(record.fingerprint).values()
    return add_clips(build, clips_of(build, committed), read, lambda done, _: told(done))


def clips_of(build: BuildDir, manifests: Iterable[ShardManifest]) -> dict[str, str]:
    """Everything recorded that is heard in some shards: SHA-256 of the cleaned samples → clip id."""
    found: dict[str, str] = {}
    for manifest in manifests:
        for _, members in read_shard(build.data / manifest.tar, only=("json",)):
            plan = json.loads(members["json"])  # no schema: corpora have millions
            found |= {item["clean_sha256"]: item["clip_id"] for item in (*plan["clips"], *plan["noises"]) if item["clip_id"]}
    return found
