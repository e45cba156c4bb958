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
from soundflow.operators.tokens.tokenize import TokenError, from_npz
from soundflow.pipeline.build.produce import encode
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore, add_clips
from soundflow.pipeline.corpus.committed import CommittedSamples
from soundflow.schemas.base import InputError
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import StreamPlan


class Samples(CommittedSamples):
    """Samples with audio from the committed shards of a virtual or stored build."""

    def __init__(self, build: BuildDir, record: BuildRecord):
        super().__init__(build, record)
        self.audio = record.recipe.output.audio
        self.store = ClipStore(build.clips) if record.virtual else None

    def read_all(self, manifest: ShardManifest) -> Iterator[tuple[StreamPlan, dict[str, bytes]]]:
        """Yield (plan, suffix → content) of the samples of a shard, in order, including their audio.

        Raises ShardError, and InputError if a clip of a virtual build is missing or altered.
        """
        for key, members in self.read(manifest):
            plan = self.plan(manifest, key, members)
            yield plan, self._with_audio(manifest, plan, members)

    def find(self, manifest: ShardManifest, key: str) -> dict[str, bytes]:
        """Return the members of the sample `key` including its audio. Raises what `read_all` raises; hashes are not verified."""
        for found, members in self.read(manifest, verify=False):
            if found == key:
                return self._with_audio(manifest, self.plan(manifest, key, members), members)
        raise self.error(manifest, f"it has no sample {key}")

    def _with_audio(self, manifest: ShardManifest, plan: StreamPlan, members: dict[str, bytes]) -> dict[str, bytes]:
        """Return the members of a sample including its audio, in the order of the shard."""
        if self.store is None:
            return members
        try:  # every chunk has tokens: a plan of more chunks is forged, and rendering it would exhaust the memory
            is_confirmed = from_npz(members["tokens.npz"]).x.size >= plan.chunks
        except TokenError as error:
            raise self.error(manifest, f"{plan.sample_id}.tokens.npz: {error}") from None
        if not is_confirmed:
            raise self.error(manifest, f"{plan.sample_id}: the plan has {plan.chunks} chunks, its tokens are of a shorter stream")
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
    return add_clips(build, clips_of(build, record, committed), read, lambda done, _: on_clips(done))


def clips_of(build: BuildDir, record: BuildRecord, manifests: Iterable[ShardManifest]) -> dict[str, str]:
    """Return SHA-256 of the cleaned samples → clip id of all recorded clips in these shards. Raises ShardError."""
    found: dict[str, str] = {}
    samples = CommittedSamples(build, record)
    for manifest in manifests:
        for key, members in samples.read(manifest, ("json",), verify=False):
            plan = samples.document(manifest, key, members)
            try:
                found |= {item["clean_sha256"]: item["clip_id"] for item in (*plan["clips"], *plan["noises"]) if item["clip_id"]}
            except (KeyError, TypeError):
                raise samples.error(manifest, f"{key}.json is not a plan") from None
    return found
