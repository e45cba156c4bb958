"""A virtual corpus against the equivalent stored one: windows per second of the training loader's source, and bytes per hour.

`python -m soundflow.bench.speed.virtual [--json OUT] [--runs N]`. Both read tokens and audio of the same windows of 24 s in the
same random order, as `training.loader` does. The stored corpus decodes FLAC from shards; the virtual one renders the plan from
memory-mapped clips. The first use of a clip verifies its hash. `first` opens the corpora anew, `again` is a later epoch;
`uses_per_clip` is about 30 in a real corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from soundflow.bench.harness import measure as bench
from soundflow.bench.speed.mixing import make_index
from soundflow.pipeline.build.materialize import materialize
from soundflow.pipeline.build.run import build
from soundflow.pipeline.build.virtual import Renderer
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.clip_store import ClipStore
from soundflow.schemas import constants as c
from soundflow.schemas.documents import to_yaml
from soundflow.training.corpus import StoredCorpus

STREAMS: Final = 240
WINDOW: Final = 60
"""Chunks."""
LIMIT: Final = 1.0
Place = tuple[int, int, int]


def recipe(root: Path) -> Path:
    """Write a recipe of streams of about a minute over the recordings of `bench.speed.mixing`."""
    make_index(root)
    document = {
        "clips": str(root / "index"),
        "streams": STREAMS,
        "shards": 8,
        "seed": 1,
        "tasks": {"event_description": 1.0},
        "scene": {"planner": "random", "events": [3, 12], "max_seconds": 120},
    }
    path = root / "recipe.yaml"
    path.write_text(to_yaml(document), encoding="utf-8")
    return path


def places(corpus: StoredCorpus) -> list[Place]:
    """Return all windows of the corpus as (shard, index, first chunk), shuffled."""
    found = [
        (shard, index, first)
        for shard, size in enumerate(corpus.shard_sizes)
        for index in range(size)
        for first in range(0, corpus.turns(shard, index).chunks, WINDOW)
    ]
    return [found[number] for number in np.random.default_rng(0).permutation(len(found))]


def read_windows(corpus: StoredCorpus, windows: Sequence[Place]) -> None:
    """Read tokens and audio of windows."""
    for shard, index, first in windows:
        chunks = min(WINDOW, corpus.turns(shard, index).chunks - first)
        corpus.audio(shard, index, first * c.CHUNK_SAMPLES, (first + chunks) * c.CHUNK_SAMPLES)


def size_of(folder: Path) -> int:
    """Return the bytes of the files that a reader needs: shards, manifests and clips."""
    return sum(path.stat().st_size for name in ("data", "manifest", "clips") for path in (folder / name).rglob("*"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    arguments = bench.parse_arguments("speed.virtual", argv)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = {"stored": root / "stored", "virtual": root / "virtual"}
        status = build(recipe(root), folders["virtual"], executor="inline", virtual=True)
        materialize(folders["virtual"], folders["stored"])
        corpora = {name: StoredCorpus(folder, renderer=Renderer()) for name, folder in folders.items()}
        windows = places(corpora["stored"])

        def first(name: str) -> Callable[[], None]:
            return lambda: read_windows(StoredCorpus(folders[name], renderer=Renderer()), windows)

        def again(name: str) -> Callable[[], None]:
            return lambda: read_windows(corpora[name], windows)

        candidates = {f"{name}, {when.__name__}": when(name) for when in (first, again) for name in folders}
        medians = bench.compare("virtual", candidates, arguments.runs)["medians"]
        sizes = {name: size_of(folder) for name, folder in folders.items()}
        clips = ClipStore(BuildDir(folders["virtual"]).clips)
        uses = sum(len(corpora["virtual"].plan(shard, 0).clips) for shard in range(8)) / 8 * STREAMS / len(clips)
        notes = {
            "hours": round(status.hours, 2),
            "windows_per_second": {name: round(len(windows) / seconds, 1) for name, seconds in medians.items()},
            "megabytes_per_hour": {name: round(size / 1e6 / status.hours, 2) for name, size in sizes.items()},
            "megabytes_per_hour_without_clips": round((sizes["virtual"] - clips.size) / 1e6 / status.hours, 2),
            "clips_megabytes": round(clips.size / 1e6, 1),
            "uses_per_clip": round(uses, 1),
        }
    ratios = [
        bench.Ratio("streams/s: virtual / stored, again", medians["stored, again"] / medians["virtual, again"], at_least=LIMIT),
        bench.Ratio("streams/s: virtual / stored, first", medians["stored, first"] / medians["virtual, first"], at_least=LIMIT),
        bench.Ratio("bytes: stored / virtual", sizes["stored"] / sizes["virtual"]),
    ]
    return bench.finish("virtual", ratios, medians, versions=["numpy", "soundfile"], json_path=arguments.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
