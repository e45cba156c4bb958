"""Read a corpus in Python: its committed streams with audio, plan and tokens, from a stored or a virtual build."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.tokens.tokenize import StreamTokens, TokenError, from_npz
from soundflow.pipeline.build.virtual import Renderer
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import ShardError, read_shard
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import parse_sample_id
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.shard import ShardEntry
from soundflow.schemas.stream import StreamPlan

REMEDY = "Run `soundflow verify` on the corpus, which prints the command that repairs it"


class CorpusStream:
    """One stream of a corpus. Its parts are decoded when they are first used.

    Attributes:
        key: id of the stream, such as `sf-0123456789ab-000000-00003`.
    """

    def __init__(self, key: str, members: dict[str, bytes], where: str, directory: Path, renderer: Renderer):
        self.key = key
        self._members, self._where, self._directory, self._renderer = members, where, directory, renderer

    def __repr__(self) -> str:
        return f"CorpusStream({self.key!r})"

    @cached_property
    def plan(self) -> StreamPlan:
        """The plan from which audio and tokens follow."""
        return StreamPlan.from_json(self._member("json"), file=f"{self._where}.json")

    @cached_property
    def audio(self) -> NDArray[np.float32]:
        """Audio at 16 kHz, shape (plan.samples,), in [-1, 1); rendered from the plan and the clips in a virtual build."""
        encoded = self._members.get("flac", self._members.get("wav"))
        if encoded is None:
            return self._renderer(self._directory, self.plan, 0, self.plan.samples)
        try:
            samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32")
        except soundfile.SoundFileError as error:
            raise InputError(f"the audio cannot be decoded: {error}", file=self._where, remedy=REMEDY) from None
        if rate != c.SAMPLE_RATE or samples.ndim != 1:
            raise InputError("the audio is not 16 kHz mono", file=self._where, remedy=REMEDY)
        return np.asarray(samples, dtype=np.float32)

    @cached_property
    def tokens(self) -> StreamTokens:
        """Token ids `x` and labels `y_stream` and `y_lm`, int32 arrays of one shape (L,)."""
        try:
            return from_npz(self._member("tokens.npz"))
        except TokenError as error:
            raise InputError(str(error), file=f"{self._where}.tokens.npz", remedy=REMEDY) from None

    @property
    def timeline(self) -> list[tuple[int, str]]:
        """The responses: (chunk, text), with chunks counted from 1."""
        return self.plan.timeline()

    def _member(self, suffix: str) -> bytes:
        if suffix not in self._members:
            raise InputError(f"has no member {suffix}", file=self._where, remedy=REMEDY)
        return self._members[suffix]


class Corpus:
    """The committed streams of a build, in order of shard and index. Iterate over it, or look a stream up by its key.

    Manifests decide which shards count, as everywhere: a shard that is still being written is not listed. The object can be
    pickled, for example for the workers of a data loader.

    Attributes:
        recipe: the recipe that the corpus was built from.
        fingerprint: SHA-256 (hex) of everything that determines the bytes of the corpus.
        clips: directory of the clip index that it was built from.
        virtual: whether audio is rendered from the clips instead of stored.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.directory = Path(directory)
        self._build = BuildDir(self.directory)
        record = self._build.record()
        self.recipe: Recipe = record.recipe
        self.fingerprint: str = record.fingerprint
        self.clips = Path(record.clips)
        self.virtual: bool = record.virtual
        self._shards = {entry.shard: entry for entry in self._build.ledger(record.fingerprint)}
        self._renderer = Renderer()

    def __repr__(self) -> str:
        return f"<Corpus {str(self.directory)!r}: {len(self)} streams, {self.seconds / 3600:.2f} h>"

    def __len__(self) -> int:
        return sum(len(entry.keys) for entry in self._shards.values())

    def __iter__(self) -> Iterator[CorpusStream]:
        """Yield every stream. Raises InputError when a shard is damaged or missing."""
        for entry in self._shards.values():
            yield from self._read(entry)

    def __getitem__(self, key: str) -> CorpusStream:
        """Return the stream with this key. Raises KeyError when the corpus has none."""
        try:
            _, shard, _ = parse_sample_id(key)
        except InputError:
            raise KeyError(key) from None
        entry = self._shards.get(shard)
        if entry is None or key not in entry.keys:
            raise KeyError(key)
        return next(stream for stream in self._read(entry) if stream.key == key)

    @property
    def keys(self) -> list[str]:
        """The ids of all streams, in order."""
        return [key for entry in self._shards.values() for key in entry.keys]

    @property
    def seconds(self) -> float:
        """Duration of all streams in seconds."""
        return sum(entry.seconds for entry in self._shards.values())

    @property
    def complete(self) -> bool:
        """Whether every shard of the recipe is committed."""
        return len(self._shards) == self.recipe.shards

    def _read(self, entry: ShardEntry) -> Iterator[CorpusStream]:
        tar = self._build.data / entry.tar
        try:
            for key, members in read_shard(tar):
                yield CorpusStream(key, members, f"{tar}: {key}", self.directory, self._renderer)
        except ShardError as error:
            raise ShardError(f"the shard is damaged: {error.why}", file=tar, remedy=REMEDY) from None
        except OSError as error:
            raise ShardError(f"the shard cannot be read: {error.strerror}", file=tar, remedy=REMEDY) from None


def open_corpus(directory: str | os.PathLike[str]) -> Corpus:
    """Open a corpus built by `soundflow build`, stored or virtual, for reading.

    ```python
    for stream in open_corpus("corpus/"):
        print(stream.key, stream.plan.task, stream.audio.shape, stream.timeline)
    ```

    The shards of a stored corpus are ordinary WebDataset tars, so that stock `webdataset` reads them as well; this function also
    reads virtual corpora, and only what is committed.

    Raises:
        InputError: `directory` is not a build.
    """
    return Corpus(directory)
