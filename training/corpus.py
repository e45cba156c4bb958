"""Where streams come from: committed shards on disk, read by seeking. Anything else with these methods will do."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import soundfile

from soundflow.model.frontend import Audio
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.stream import StreamPlan
from soundflow.training.sequences import Turns, take_apart

SHARDS_OPEN: Final = 64
"""Shards whose member tables are kept."""
REMEDY: Final = "Run `soundflow verify` on the corpus; `soundflow build` again makes what is missing"


class StreamSource(Protocol):
    """Streams in numbered shards. Pickles, since loader processes get a copy."""

    @property
    def id(self) -> str:
        """Changes whenever what is read would."""
        ...

    @property
    def shard_sizes(self) -> Sequence[int]:
        """Streams per shard."""
        ...

    def name(self, shard: int, index: int) -> str:
        """The sample id of a stream."""
        ...

    def turns(self, shard: int, index: int) -> Turns:
        """What is said in a stream, and when."""
        ...

    def plan(self, shard: int, index: int) -> StreamPlan:
        """How it was composed."""
        ...

    def audio(self, shard: int, index: int, start: int, stop: int) -> Audio:
        """Samples `start`...`stop` (exclusive) of a stream at 16 kHz, float32; past its end they are 0."""
        ...


Renderer = Callable[[Path, StreamPlan, int, int], Audio]
"""(build, plan, start, stop) → the samples `StreamSource.audio` gives, of a virtual build. Pickles."""


class StoredCorpus:
    """One or several builds of `soundflow build`, by their manifests.

    A shard counts if its manifest does and its tar has the size it tells. Members are found by one pass over the tar's headers,
    and read by position.
    """

    def __init__(self, *directories: Path, renderer: Renderer | None = None):
        """Raises InputError when a directory has no committed shard, or a tar is missing or of another size.

        Virtual builds need a `renderer` for their audio.
        """
        self._renderer = renderer
        self._plan: tuple[tuple[int, int], StreamPlan] | None = None
        self._virtual: list[bool] = []
        self._tars: list[Path] = []
        self._keys: list[tuple[str, ...]] = []
        manifests = []
        for directory in directories:
            paths = sorted(path for path in (directory / "manifest").glob("*.json") if path.stem.isdecimal())
            if not paths:
                raise InputError("holds no committed shard", file=directory, remedy="Name a directory `soundflow build` made")
            for path in paths:
                manifest = ShardManifest.from_json(path.read_bytes(), file=path)
                tar = directory / "data" / manifest.tar
                if not tar.is_file() or tar.stat().st_size != manifest.bytes:
                    raise InputError("is missing or not of the size its manifest tells", file=tar, remedy=REMEDY)
                if manifest.keys:
                    self._virtual.append(manifest.virtual)
                    self._tars.append(tar)
                    self._keys.append(manifest.keys)
                    manifests.append(manifest.sha256)
        if not self._keys:
            raise InputError("every shard is empty", file=directories[0] if directories else None)
        self._id = hashlib.sha256(canonical_json(manifests)).hexdigest()

    @property
    def id(self) -> str:
        """SHA-256 over the hashes of the shards, in order."""
        return self._id

    @property
    def shard_sizes(self) -> list[int]:
        """See `StreamSource`."""
        return [len(keys) for keys in self._keys]

    def name(self, shard: int, index: int) -> str:
        """See `StreamSource`."""
        return self._keys[shard][index]

    def turns(self, shard: int, index: int) -> Turns:
        """See `StreamSource`; InputError naming the member when its tokens are not a stream's."""
        return take_apart(
            self._member(shard, index, ("tokens.npz",)), f"{self._tars[shard]}: {self.name(shard, index)}.tokens.npz"
        )

    def plan(self, shard: int, index: int) -> StreamPlan:
        """See `StreamSource`."""
        if self._plan is None or self._plan[0] != (shard, index):
            where = f"{self._tars[shard]}: {self.name(shard, index)}.json"
            self._plan = (shard, index), StreamPlan.from_json(self._member(shard, index, ("json",)), file=where)
        return self._plan[1]

    def audio(self, shard: int, index: int, start: int, stop: int) -> Audio:
        """See `StreamSource`."""
        if self._virtual[shard]:
            return self._rendered(shard, index, start, stop)
        data = self._member(shard, index, ("flac", "wav"))
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                if (file.samplerate, file.channels) != (c.SAMPLE_RATE, 1):
                    raise InputError("is not 16 kHz mono", value=f"{file.samplerate} Hz, {file.channels} channels")
                file.seek(min(start, file.frames))
                samples = file.read(stop - start, dtype="float32")
            if not np.isfinite(samples).all():  # a WAV of floats may hold any
                raise InputError("holds samples that are no numbers")
        except (soundfile.SoundFileError, InputError) as error:
            raise InputError(
                f"its audio cannot be read: {error}", file=self._tars[shard], value=self.name(shard, index)
            ) from None
        return np.pad(np.asarray(samples, dtype=np.float32), (0, stop - start - len(samples)))

    def _rendered(self, shard: int, index: int, start: int, stop: int) -> Audio:
        directory = self._tars[shard].parent.parent
        if self._renderer is None:
            raise InputError("is virtual: its audio has to be rendered", file=directory, remedy="`soundflow materialize` it")
        plan = self.plan(shard, index)
        first, last = min(start, plan.samples), min(stop, plan.samples)
        samples = self._renderer(directory, plan, first, last)
        return np.pad(samples, (0, stop - start - samples.size)) if samples.size < stop - start else samples

    def _member(self, shard: int, index: int, suffixes: Sequence[str]) -> bytes:
        table = _member_table(self._tars[shard])
        for suffix in suffixes:
            place = table.get(f"{self.name(shard, index)}.{suffix}")
            if place is not None:
                data = b""
                with contextlib.suppress(FileNotFoundError), self._tars[shard].open("rb", buffering=0) as file:
                    file.seek(place[0])
                    data = file.read(place[1])
                if len(data) == place[1]:
                    return data
        raise InputError(f"has no whole {self.name(shard, index)}.{suffixes[0]}", file=self._tars[shard], remedy=REMEDY)


@functools.lru_cache(maxsize=SHARDS_OPEN)
def _member_table(tar: Path) -> dict[str, tuple[int, int]]:
    """Member name → (offset, size) of its content."""
    try:
        with tarfile.open(tar, "r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive}
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"is not a whole tar: {error}", file=tar, remedy=REMEDY) from None


def text_ids(source: StreamSource) -> tuple[int, ...]:
    """Every id a corpus' instructions and responses use, increasing: the vocabulary of a small model."""
    found: set[int] = set()
    for shard, size in enumerate(source.shard_sizes):
        for index in range(size):
            turns = source.turns(shard, index)
            found.update(turns.head, *(said for said in turns.said if said is not None))
    return tuple(sorted(found))


def layouts(source: StreamSource) -> set[str]:
    """Token layouts of the first stream of every shard."""
    return {source.turns(shard, 0).layout for shard in range(len(source.shard_sizes))}
