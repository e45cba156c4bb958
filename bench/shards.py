"""Writing shards: our tar writer, hash and sync against a raw write of the same bytes, with webdataset's writer beside it.

`python -m bench.shards [--json OUT] [--runs N]`. The raw write is one file of the same content with the same SHA-256 and
fsync: what a shard costs at least if its hash is to be known.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import _common as bench
from pipeline.build_dir import BuildDir
from pipeline.commit import unfinished_file
from pipeline.shards import ShardWriter, read_shard

SAMPLES = 200


def samples(rng: np.random.Generator) -> dict[str, dict[str, bytes]]:
    """Samples of the sizes a build makes: 300 kB of audio, 10 kB of plan, 10 kB of tokens; incompressible."""
    sizes = {"flac": 300_000, "json": 10_000, "tokens.npz": 10_000}
    return {
        f"sf-{number:012x}-000000-{number:05d}": {name: rng.bytes(size) for name, size in sizes.items()}
        for number in range(SAMPLES)
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    args = bench.arguments("shards", argv)
    webdataset: Any = bench.peer("webdataset")
    made = samples(np.random.default_rng(0))
    content = b"".join(data for members in made.values() for data in members.values())
    with tempfile.TemporaryDirectory() as scratch:
        build, raw, peer, ours = (
            BuildDir(Path(scratch)),
            Path(scratch) / "raw",
            Path(scratch) / "peer.tar",
            Path(scratch) / "ours.tar",
        )

        def write_ours() -> None:
            with unfinished_file(build, "bench") as (stream, path):
                writer = ShardWriter(stream)
                for key, members in made.items():
                    writer.add(key, members)
                writer.finish()
            path.replace(ours)

        def write_raw() -> None:
            with raw.open("wb") as stream:
                digest = hashlib.sha256()
                for members in made.values():
                    for data in members.values():
                        stream.write(data)
                        digest.update(data)
                stream.flush()
                os.fsync(stream.fileno())

        def write_peer() -> None:
            with peer.open("wb") as stream:
                writer = webdataset.TarWriter(stream)
                for key, members in made.items():
                    writer.write({"__key__": key, **members})
                writer.close()
                stream.flush()
                os.fsync(stream.fileno())

        candidates = {"raw write": write_raw, "ours": write_ours} | (
            {"webdataset.TarWriter, no hash": write_peer} if webdataset else {}
        )
        write_ours()
        reading = {
            "raw read": lambda: raw.read_bytes(),
            "our reader": lambda: sum(len(members) for _, members in read_shard(ours)),
            "our reader, plans only": lambda: sum(len(members) for _, members in read_shard(ours, only=("json",))),
        }
        write = bench.compare("shards", candidates, runs=args.runs)
        read = bench.compare("shards", reading, runs=args.runs)
    medians = write["medians"] | read["medians"]
    ratios = [
        bench.Ratio("shard write / raw write", medians["ours"] / medians["raw write"], at_most=1.5),
        bench.Ratio("strict read / raw read", medians["our reader"] / medians["raw read"]),
    ]
    if webdataset:
        ratios.append(bench.Ratio("TarWriter / shard write", medians["webdataset.TarWriter, no hash"] / medians["ours"]))
    return bench.finish(
        "shards",
        ratios,
        medians,
        versions=["numpy", "webdataset"],
        missing=[] if webdataset else ["webdataset"],
        json_path=args.json,
        notes={"megabytes": len(content) / 1e6, "samples": SAMPLES},
    )


if __name__ == "__main__":
    raise SystemExit(main())
