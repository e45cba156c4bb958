"""Reading the manifests of a corpus of the paper's size: 45,000 shards of 58 streams with sparse tar files.

`python -m soundflow.bench.speed.ledger [--json OUT] [--runs N] [--shards N]`. `status` does the work of `soundflow status`,
`resume` that of a build before its first shard if 3 % of the shards are missing. Both are compared with limits in seconds and
with plain listing and reading of the same files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from soundflow.bench.harness import measure as bench
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import garbage
from soundflow.schemas.base import canonical_json
from soundflow.schemas.identity import sample_id
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.shard import BuildRecord, ShardManifest

SHARDS: Final = 45_000
STREAMS: Final = 58
STATUS_SECONDS: Final = 2.0
RESUME_SECONDS: Final = 5.0
MISSING_EVERY: Final = 33
FINGERPRINT: Final = "5" * 64


def make(root: Path, shards: int) -> BuildDir:
    """Write a corpus in which every 33rd shard is missing."""
    build = BuildDir(root)
    for folder in (build.manifest, build.data):
        folder.mkdir(parents=True)
    recipe = Recipe(clips="clips", streams=shards * STREAMS, shards=shards, tasks={"voice_chat": 1.0})
    record = BuildRecord(
        fingerprint=FINGERPRINT,
        recipe=recipe,
        clips="clips",
        clip_index_hash="0" * 64,
        prompt_hash="0" * 64,
        operator_versions={},
        soundflow_version="bench",
    )
    build.record_path.write_bytes(record.canonical_json())
    for shard in range(shards):
        if shard % MISSING_EVERY == 0:
            continue
        sha256 = f"{shard:012x}" + "0" * 52
        manifest = ShardManifest(
            fingerprint=FINGERPRINT,
            shard=shard,
            tar=f"shard-{shard:06d}-{sha256[:12]}.tar",
            sha256=sha256,
            bytes=5_000_000,
            keys=tuple(sample_id(FINGERPRINT, shard, index) for index in range(STREAMS)),
            planned=STREAMS,
            chunks=60_000,
            responses=6_000,
            seconds=24_000.0,
            tasks={"voice_chat": STREAMS},
            timings={"wall_seconds": 12.5, "worker": "node:1", "committed_at": "2026-11-27T00:00:00Z"},
        )
        build.manifest_path(shard).write_bytes(canonical_json(manifest.model_dump(mode="json")))
        tar = build.data / manifest.tar
        tar.touch()
        os.truncate(tar, manifest.bytes)
    return build


def raw(build: BuildDir) -> int:
    """Read every manifest and stat every tar: the lower bound for a ledger of files. Returns the number of bytes."""
    read = sum(len(path.read_bytes()) for path in build.manifest_paths())
    return read + sum(entry.stat().st_size for entry in os.scandir(build.data))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    parser = bench.make_parser("speed.ledger", runs=3)
    parser.add_argument("--shards", type=int, default=SHARDS, metavar="N", help=f"Number of shards (default {SHARDS}).")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        build = make(Path(name) / "corpus", arguments.shards)
        candidates = {
            "status": build.status,
            "resume": lambda: build.pending(build.record())[0],
            "garbage": lambda: garbage(build),
            "raw": lambda: raw(build),
        }
        medians = bench.compare("ledger", candidates, arguments.runs)["medians"]
    ratios = [
        bench.Ratio("status (s)", medians["status"], at_most=STATUS_SECONDS),
        bench.Ratio("resume (s)", medians["resume"], at_most=RESUME_SECONDS),
        bench.Ratio("status / raw", medians["status"] / medians["raw"]),
    ]
    notes = {"shards": arguments.shards, "streams_per_shard": STREAMS}
    return bench.finish("ledger", ratios, medians, versions=["pydantic"], json_path=arguments.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
