"""Sources of training streams: a protocol, and committed shards on disk that are read by seeking."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import soundfile

from soundflow.model.frontend import Audio
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.regular_file import open_regular
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.ustar import ShardError, tar_members
from soundflow.training.sequences import Turns, parse_turns

SHARDS_OPEN: Final = 64
"""Number of shards whose member tables are cached."""
REMEDY: Final = "Run `soundflow verify` on the corpus, which prints the command that repairs it"


class StreamSource(Protocol):
    """Streams in numbered shards. Picklable: every loader process gets a copy."""

    @property
    def id(self) -> str:
        """Identifies the content: changes whenever a stream does."""
        ...

    @property
    def shard_sizes(self) -> Sequence[int]:
        """Number of streams per shard."""
        ...

    def name(self, shard: int, index: int) -> str:
        """Return the sample id of a stream."""
        ...

    def turns(self, shard: int, index: int) -> Turns:
        """Return the instruction and responses of a stream."""
        ...

    def plan(self, shard: int, index: int) -> StreamPlan:
        """Return the plan of a stream."""
        ...

    def audio(self, shard: int, index: int, start: int, stop: int) -> Audio:
        """Return samples `start`...`stop` (exclusive) of a stream, float32 at 16 kHz; 0 past its end."""
        ...


Renderer = Callable[[Path, StreamPlan, int, int], Audio]
"""(build, plan, start, stop) → the samples of `StreamSource.audio` for a virtual build. Picklable."""


class StoredCorpus:
    """The streams of one or several builds, listed by their manifests.

    The tar of every shard must have the size of its manifest. Members are located by one pass over the tar's headers and read by
    position.
    """

    def __init__(self, *directories: Path, renderer: Renderer | None = None):
        """Open builds. Virtual builds need a `renderer` for their audio.

        Raises InputError when a directory has no committed shard, or a tar is missing or has another size.
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
                remedy = "Pass an output directory of `soundflow build`"
                raise InputError("contains no committed shard", file=directory, remedy=remedy)
            for path in paths:
                manifest = ShardManifest.from_file(path)
                tar = directory / "data" / manifest.tar
                if not tar.is_file() or tar.stat().st_size != manifest.bytes:
                    raise InputError("is missing or not of the size in its manifest", file=tar, remedy=REMEDY)
                if manifest.keys:
                    self._virtual.append(manifest.virtual)
                    self._tars.append(tar)
                    self._keys.append(manifest.keys)
                    manifests.append(manifest.sha256)
        if not self._keys:
            raise InputError("all shards are empty", file=directories[0] if directories else None)
        self._id = hashlib.sha256(canonical_json(manifests)).hexdigest()

    @property
    def id(self) -> str:
        """SHA-256 of the shard hashes, in order."""
        return self._id

    @property
    def shard_sizes(self) -> list[int]:
        """See `StreamSource`."""
        return [len(keys) for keys in self._keys]

    def name(self, shard: int, index: int) -> str:
        """See `StreamSource`."""
        return self._keys[shard][index]

    def turns(self, shard: int, index: int) -> Turns:
        """See `StreamSource`. Raises InputError naming the member if its tokens are damaged."""
        return parse_turns(
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
            if not np.isfinite(samples).all():  # possible in a WAV of floats
                raise InputError("contains NaN or infinite samples")
        except (soundfile.SoundFileError, InputError) as error:
            why = f"the audio of {self.name(shard, index)} cannot be read: {error}"
            raise InputError(why, file=self._tars[shard], remedy=REMEDY) from None
        return np.pad(np.asarray(samples, dtype=np.float32), (0, stop - start - len(samples)))

    def _rendered(self, shard: int, index: int, start: int, stop: int) -> Audio:
        directory = self._tars[shard].parent.parent
        if self._renderer is None:
            raise InputError("is a virtual build: it has no audio", file=directory, remedy="Run `soundflow materialize` on it")
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
        raise InputError(f"has no complete {self.name(shard, index)}.{suffixes[0]}", file=self._tars[shard], remedy=REMEDY)


@functools.lru_cache(maxsize=SHARDS_OPEN)
def _member_table(tar: Path) -> dict[str, tuple[int, int]]:
    """Return the offset and size of the content of each member, by name."""
    try:
        with open_regular(tar) as file:
            return {member.name: (member.offset, member.size) for member in tar_members(file)}
    except ShardError as error:
        raise ShardError(f"is not a complete tar: {error.why}", file=tar, remedy=REMEDY) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=tar, remedy=REMEDY) from None


def text_ids(source: StreamSource) -> tuple[int, ...]:
    """Return the ids of all instructions and responses, increasing: the vocabulary of a small model."""
    found: set[int] = set()
    for shard, size in enumerate(source.shard_sizes):
        for index in range(size):
            turns = source.turns(shard, index)
            found.update(turns.head, *(response for response in turns.responses if response is not None))
    return tuple(sorted(found))


def layouts(source: StreamSource) -> set[str]:
    """Return the token layouts of the first stream of every shard."""
    return {source.turns(shard, 0).layout for shard in range(len(source.shard_sizes))}
