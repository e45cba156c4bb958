"""Speed of writing and reading a shard against plain file access and webdataset.

`python -m soundflow.bench.speed.shards [--json OUT] [--runs N]`. Every writer ends with its bytes synced to the same disk. Ours
includes the SHA-256 and the commit: the move to the content-addressed name, the manifest and the synced folders. Readers read
every member of the shard.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from soundflow.bench.harness import measure as bench
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import to_npz, tokenize
from soundflow.pipeline.build.produce import encode
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import commit, unfinished_file
from soundflow.pipeline.corpus.shards import ShardWriter, read_shard
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import written
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.tokens import SOUNDFLOW

SAMPLES: Final = 200
CHUNKS: Final = 60
"""24 s per stream, about 600 kB of FLAC."""
KINDS: Final = 8
"""Number of distinct streams, to save encoding time."""
WRITE_LIMIT: Final = 1.5
Sample = tuple[str, dict[str, bytes]]


def samples() -> list[Sample]:
    """Return samples of realistic sizes: FLAC of noise with a tone, a JSON plan, tokens."""
    rng = np.random.default_rng(0)
    tokenizer = QwenTokenizer.load()
    kinds = []
    for _ in range(KINDS):
        noise = np.cumsum(rng.standard_normal(CHUNKS * c.CHUNK_SAMPLES))
        audio = (np.diff(noise, prepend=0.0) + 0.1 * np.sin(noise)).astype(np.float32)
        timeline = [(chunk, "I heard a dog barking.") for chunk in range(7, CHUNKS, 9)]
        tokens = to_npz(tokenize("Tell me what you hear.", CHUNKS, timeline, tokenizer, SOUNDFLOW))
        plan = b'{"clips":[' + b",".join([b'{"clip_id":"dog/1.wav","offset":12345}'] * 120) + b"]}"
        kinds.append({"flac": encode(audio * np.float32(0.5 / np.abs(audio).max()), "flac"), "json": plan, "tokens.npz": tokens})
    return [(f"sf-000000000000-000000-{number:05d}", kinds[number % KINDS]) for number in range(SAMPLES)]


def write_raw(data: Sequence[bytes], folder: Path) -> None:
    """Write the bytes of all members to one file."""
    with (folder / "raw").open("wb", buffering=2**20) as stream:
        for content in data:
            stream.write(content)
        _sync(stream)


def write_ours(data: Sequence[Sample], folder: Path) -> None:
    """Write, hash and commit a shard."""
    build = BuildDir(folder / "ours")
    build.manifest_path(0).unlink(missing_ok=True)  # allows another commit
    with unfinished_file(build, "shard-000000") as path:
        with written(path, durable=True) as stream:
            writer = ShardWriter(stream)
            for key, members in data:
                writer.add(key, members)
            writer.finish()
        sha256 = writer.sha256()
        manifest = ShardManifest(
            fingerprint="0" * 64,
            shard=0,
            tar=f"shard-000000-{sha256[:12]}.tar",
            sha256=sha256,
            bytes=writer.bytes,
            keys=tuple(key for key, _ in data),
            planned=len(data),
            chunks=CHUNKS * len(data),
            responses=0,
            seconds=0.0,
            tasks={},
        )
        if not commit(build, path, manifest):
            raise RuntimeError("the shard was already committed")


def write_webdataset(webdataset: Any, data: Sequence[Sample], folder: Path) -> None:
    """Write the same members with webdataset, synced, without hash and commit."""
    with (folder / "webdataset.tar").open("wb", buffering=2**20) as stream:
        with webdataset.TarWriter(stream, encoder=False) as writer:
            for key, members in data:
                writer.write({"__key__": key, **members})
        _sync(stream)


def read_raw(path: Path) -> None:
    """Read the file in blocks of 1 MiB."""
    block = bytearray(2**20)
    with path.open("rb", buffering=0) as stream:
        while stream.readinto(block):
            pass


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    arguments = bench.parse_arguments("speed.shards", argv, runs=9)
    webdataset = bench.import_peer("webdataset")
    data = samples()
    flat = [content for _, members in data for content in members.values()]
    with tempfile.TemporaryDirectory(dir=_disk()) as name:
        folder = Path(name)
        writers: dict[str, Callable[[], object]] = {
            "write raw": lambda: write_raw(flat, folder),
            "write and commit ours": lambda: write_ours(data, folder),
        }
        if webdataset is not None:
            writers["write webdataset"] = lambda: write_webdataset(webdataset, data, folder)
        written = bench.compare("write", writers, arguments.runs)["medians"]
        tar = next((folder / "ours" / "data").iterdir())
        readers: dict[str, Callable[[], object]] = {
            "read raw": lambda: read_raw(tar),
            "read ours": lambda: _exhaust(read_shard(tar)),
        }
        if webdataset is not None:
            readers["read webdataset"] = lambda: _exhaust(iter(webdataset.WebDataset(str(tar), shardshuffle=False)))
        read = bench.compare("read", readers, arguments.runs)["medians"]
        size = tar.stat().st_size
        kind = shutil.disk_usage(folder).total
    medians = {**written, **read}
    ratios = [bench.Ratio("write: ours / raw", medians["write and commit ours"] / medians["write raw"], at_most=WRITE_LIMIT)]
    if webdataset is not None:
        ratios += [
            bench.Ratio("write: webdataset / ours", medians["write webdataset"] / medians["write and commit ours"]),
            bench.Ratio("read: webdataset / ours", medians["read webdataset"] / medians["read ours"]),
        ]
    ratios.append(bench.Ratio("read: ours / raw", medians["read ours"] / medians["read raw"]))
    notes = {"shard_megabytes": round(size / 1e6, 1), "samples": len(data), "disk_gigabytes": round(kind / 1e9)}
    missing = [] if webdataset is not None else ["webdataset"]
    versions = ["numpy", "soundfile", "webdataset"]
    return bench.finish("shards", ratios, medians, versions=versions, missing=missing, json_path=arguments.json, notes=notes)


def _exhaust(items: Iterator[object]) -> int:
    return sum(1 for _ in items)


def _disk() -> str | None:
    """Return the current folder if it is writable: the system's temporary folder may be in memory."""
    return "." if os.access(".", os.W_OK) else None


if __name__ == "__main__":
    raise SystemExit(main())
