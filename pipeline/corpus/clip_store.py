"""The clip store of a virtual corpus: cleaned clips addressed by the hash of their content, packed into memory-mapped files.

`OUT/clips/pack-<sha12>.pcm` contains clips one after another as little-endian PCM16. The table `pack-<sha12>.npy` contains their
positions; it is linked into place last and commits the pack. A clip is named by its SHA-256, so readers can verify it.
"""

from __future__ import annotations

import hashlib
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import unfinished_file, write_if_absent
from soundflow.schemas.atomic_file import written
from soundflow.schemas.base import InputError
from soundflow.schemas.regular_file import open_regular
from soundflow.schemas.stream import PlannedClip, PlannedNoise

PACK_BYTES: Final = 512 << 20
"""Size at which a pack is closed."""
PLACE: Final = np.dtype([("sha256", "V32"), ("offset", "<i8"), ("samples", "<i8")])
"""A row of a pack's table, sorted by hash; `offset` and `samples` count samples."""

Pcm = NDArray[np.int16]


def _remedy(directory: Path) -> str:
    """Return the sentence with the command that restores the clips of the build whose clip store is `directory`."""
    root = directory.parent
    command = shlex.join(["soundflow", "build", str(root / "build.json"), "-o", str(root), "--recheck"])
    return f"Run `{command}` to restore the clips"


class ClipStore:
    """The packs of one build, opened for reading. Pickles as the path."""

    def __init__(self, directory: Path):
        """Raises InputError if a table is damaged, or its pack is missing or too short."""
        self.directory = directory
        names = sorted(directory.glob("pack-*.npy")) if directory.is_dir() else []
        self._names = [name.stem for name in names]
        tables = [_table(name) for name in names]
        self._packs = [_mapped(name.with_suffix(".pcm"), table) for name, table in zip(names, tables, strict=True)]
        self._of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        rows = np.concatenate(tables) if tables else np.empty(0, PLACE)
        hashes = _sortable(rows["sha256"])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows, self._of = hashes[order], rows[order], self._of[order]
        self._intact: set[bytes] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.directory,))

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, sha256: str) -> bool:
        return self._find(bytes.fromhex(sha256)) is not None

    def __iter__(self) -> Iterator[str]:
        """Yield the hashes (hex) of all clips, sorted."""
        return (row.tobytes().hex() for row in self._rows["sha256"])

    @property
    def size(self) -> int:
        """Total size of the samples in bytes."""
        return sum(pack.nbytes for pack in self._packs)

    def pcm(self, sha256: str, name: str = "") -> Pcm:
        """Return the samples of a clip, a read-only view of the mapped file. The first read verifies their hash.

        Raises InputError, naming the clip by `name` if given, if it is missing or altered.
        """
        digest = bytes.fromhex(sha256)
        at = self._find(digest)
        shown = f"{name} ({sha256[:12]})" if name else sha256[:12]
        if at is None:
            why, remedy = "a clip is missing from the clip store", _remedy(self.directory)
            raise InputError(why, file=self.directory, value=shown, remedy=remedy)
        row = self._rows[at]
        samples: Pcm = self._packs[self._of[at]][row["offset"] : row["offset"] + row["samples"]]
        if digest not in self._intact:
            if hashlib.sha256(samples.data).digest() != digest:
                where = self.directory / f"{self._names[self._of[at]]}.pcm"
                why, remedy = "a clip has been altered in the clip store", _remedy(self.directory)
                raise InputError(why, file=where, value=shown, remedy=remedy)
            self._intact.add(digest)
        return samples

    def load(self, item: PlannedClip | PlannedNoise) -> Pcm:
        """Return the samples of a planned clip, as `operators.compose.mixing.render` requires."""
        assert item.clean_sha256 is not None
        return self.pcm(item.clean_sha256, str(item.clip_id))

    def check(self) -> Iterator[InputError]:
        """Verify every clip that has not been read yet; yield an error, which names the pack, for each that is not intact."""
        for sha256 in self:
            try:
                self.pcm(sha256)
            except InputError as error:
                yield error

    def _find(self, digest: bytes) -> int | None:
        key = _sortable(np.frombuffer(digest, dtype="V32"))[0]
        at = int(np.searchsorted(self._hashes, key))
        while at < len(self._rows) and self._hashes[at] == key:
            if self._rows["sha256"][at].tobytes() == digest:
                return at
            at += 1
        return None


def _sortable(hashes: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the first 64 bits of SHA-256 digests as search keys."""
    first: NDArray[np.uint64] = np.ascontiguousarray(hashes).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)
    return first


def _table(path: Path) -> NDArray[Any]:
    try:
        with open_regular(path) as file:
            table = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise InputError(f"is not a valid clip table: {error}", file=path, remedy=_remedy(path.parent)) from None
    if table.dtype != PLACE or table.ndim != 1 or (len(table) and min(table["offset"].min(), table["samples"].min()) < 0):
        raise InputError("is not a valid clip table", file=path, remedy=_remedy(path.parent))
    return np.asarray(table)


def _mapped(path: Path, table: NDArray[Any]) -> Pcm:
    ends = max((int(row["offset"]) + int(row["samples"]) for row in table), default=0)  # exact: int64 would overflow
    try:
        with open_regular(path) as file:
            pack: Pcm = np.memmap(file, dtype="<i2", mode="r") if path.stat().st_size else np.empty(0, "<i2")
    except (OSError, ValueError) as error:
        raise InputError(f"the clip pack cannot be read: {error}", file=path, remedy=_remedy(path.parent)) from None
    if pack.size < ends:
        why = f"the clip pack has {pack.size} samples, but its table expects {ends}"
        raise InputError(why, file=path, remedy=_remedy(path.parent))
    return pack


def add_clips(
    build: BuildDir,
    clips: Mapping[str, str],
    read: Callable[[str, str], bytes],
    on_clip: Callable[[int, int], None] = lambda done, total: None,
    pack_bytes: int = PACK_BYTES,
) -> int:
    """Add those of `clips` (SHA-256 in hex → clip id) that the store of `build` lacks; return their number.

    `read(clip_id, sha256)` returns the PCM16 of a clip. `on_clip(done, total)` is called after each clip and may raise to stop;
    closed packs are kept. Raises OSError, and what `read` raises.
    """
    store = ClipStore(build.clips)
    missing = sorted(sha256 for sha256 in clips if sha256 not in store)
    at = 0
    while at < len(missing):
        at = _write_pack(build, missing, at, clips, read, on_clip, pack_bytes)
    return len(missing)


def _write_pack(
    build: BuildDir,
    missing: list[str],
    at: int,
    clips: Mapping[str, str],
    read: Callable[[str, str], bytes],
    on_clip: Callable[[int, int], None],
    pack_bytes: int,
) -> int:
    """Write one pack with the clips from `missing[at]` on; return the position after its last clip."""
    rows: list[tuple[bytes, int, int]] = []
    offset, digest = 0, hashlib.sha256()
    build.clips.mkdir(parents=True, exist_ok=True)
    with unfinished_file(build, "pack") as unfinished:
        with written(unfinished, durable=True) as stream:
            while at < len(missing) and (not rows or 2 * offset < pack_bytes):
                pcm = read(clips[missing[at]], missing[at])
                stream.write(pcm)
                digest.update(pcm)
                rows.append((bytes.fromhex(missing[at]), offset, len(pcm) // 2))
                offset += len(pcm) // 2
                at += 1
                on_clip(at, len(missing))
        path = build.clips / f"pack-{digest.hexdigest()[:12]}.pcm"
        unfinished.replace(path)
    write_if_absent(build, path.with_suffix(".npy"), _npy(rows))
    return at


def _npy(rows: Iterable[tuple[bytes, int, int]]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array(list(rows), dtype=PLACE), allow_pickle=False)
    return buffer.getvalue()
