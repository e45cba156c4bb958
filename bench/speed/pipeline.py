"""Speed of a build with cached clips, of Ray workers, and of the source of the training loader.

`python -m soundflow.bench.speed.pipeline [--json OUT] [--runs N]`. Four ratios, each from interleaved runs on one machine:

* one worker (plan, compose, encode, tokens, tar, hash, commit) / FLAC encoding of its audio alone;
* shards per second, two Ray workers / one;
* time per shard, one Ray worker / a worker in this process;
* the training loader's source / plain reading of the tar and decoding of its FLAC members.

Ray is timed after the first shard of each worker, when index and tokenizer are loaded. It costs a few milliseconds per shard;
with shards of several seconds of work the measured share is an upper bound for shards of a minute.
"""

from __future__ import annotations

import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import soundfile

from soundflow.bench.harness import measure as bench
from soundflow.bench.speed.mixing import make_index
from soundflow.operators.compose.mixing import STREAM_FULL_SCALE
from soundflow.pipeline.build.produce import encode
from soundflow.pipeline.build.ray_executor import RayExecutor
from soundflow.pipeline.build.run import build, plan_build
from soundflow.pipeline.build.worker import Job, ShardResult, Worker
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.mechanics.ray_connection import connected
from soundflow.schemas import constants as c
from soundflow.schemas.documents import to_yaml
from soundflow.schemas.llm import Halted
from soundflow.schemas.pcm16 import FULL_SCALE
from soundflow.training.corpus import StoredCorpus

STREAMS: Final = 96
SHARDS: Final = 8
LONG_STREAMS: Final = 1200
LONG_SHARDS: Final = 3
ENCODING_LIMIT: Final = 2.2
WORKERS_LIMIT: Final = 1.8
RAY_LIMIT: Final = 1.1
LOADER_LIMIT: Final = 0.8


def recipe(root: Path, name: str, streams: int, shards: int) -> Path:
    """Write a recipe of streams of about a minute over the index in `root` (see `bench.speed.mixing`)."""
    document = {
        "clips": str(root / "index"),
        "streams": streams,
        "shards": shards,
        "seed": 1,
        "tasks": {"event_description": 1.0},
        "scene": {"planner": "random", "events": [3, 12], "max_seconds": 120},
    }
    path = root / f"{name}.yaml"
    path.write_text(to_yaml(document), encoding="utf-8")
    return path


class PipelineBench:
    """Two recipes, of short and long shards, that are built repeatedly into temporary folders."""

    def __init__(self, root: Path):
        self.root = root
        make_index(root)
        short = recipe(root, "short", STREAMS, SHARDS)
        build(short, root / "whole", executor="inline")
        self.job, self.long = self._job(short), self._job(recipe(root, "long", LONG_STREAMS, LONG_SHARDS))
        self.worker, self.long_worker = Worker(self.job), Worker(self.long)
        self.manifests = BuildDir(root / "whole").manifests()
        self.tars = [root / "whole" / "data" / manifest.tar for manifest in self.manifests]
        self.corpus = StoredCorpus(root / "whole")
        audio = (self.corpus.audio(*place, 0, self.corpus.plan(*place).samples) for place in self.places())
        self.audio = [samples * (FULL_SCALE / STREAM_FULL_SCALE) for samples in audio]

    def _job(self, path: Path) -> Job:
        record, index = plan_build(path)
        return Job(self.root / f"space-{path.stem}", index.reference, record.recipe, record.fingerprint)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield (shard, index) of every stream."""
        return ((shard, index) for shard, size in enumerate(self.corpus.shard_sizes) for index in range(size))

    @property
    def seconds(self) -> float:
        """Seconds of audio in one build."""
        return sum(manifest.seconds for manifest in self.manifests)

    def inline(self, worker: Worker | None = None) -> None:
        """Build all shards from scratch with one worker in this process."""
        worker = worker or self.worker
        shutil.rmtree(worker.job.out, ignore_errors=True)
        for shard in range(worker.job.recipe.shards):
            _check(worker.run(shard))

    def flac(self) -> None:
        """Encode the audio as FLAC, which every build has to do."""
        for samples in self.audio:
            encode(samples, "flac")

    def on(self, workers: int, job: Job) -> float:
        """Return seconds per shard of `workers` Ray workers, after the first shard of each."""
        shutil.rmtree(job.out, ignore_errors=True)
        watch, shards = _Watch(), job.recipe.shards
        RayExecutor(workers).run(job, range(shards), watch)
        times = sorted(watch.times)
        return (times[-1] - times[workers - 1]) / (shards - workers)

    def load(self) -> None:
        """Read tokens and audio of every stream as the trainer does."""
        for shard, index in self.places():
            chunks = self.corpus.turns(shard, index).chunks
            self.corpus.audio(shard, index, 0, chunks * c.CHUNK_SAMPLES)

    def raw(self) -> None:
        """Read all tars and decode their FLAC members at known positions."""
        from soundflow.training.corpus import _member_table

        for tar in self.tars:
            data = tar.read_bytes()
            for name, (offset, size) in _member_table(tar).items():
                if name.endswith(".flac"):
                    soundfile.read(io.BytesIO(data[offset : offset + size]), dtype="float32")


class _Watch:
    """Build listener that records when shards are finished."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def sample(self, sample: object) -> None:
        """Ignore samples, which only workers of this process report."""

    def result(self, result: ShardResult) -> None:
        """Record the time of a shard."""
        _check(result)
        self.times.append(time.perf_counter())

    def curated(self, samples: int) -> None:
        """Do nothing: there is no curator."""

    def halted(self, why: Halted) -> None:
        """Do nothing: there is no service that could halt the build."""

    def warning(self, text: str) -> None:
        """Print it: the measured times may be wrong."""
        print(text, file=sys.stderr)

    def pulse(self) -> None:
        """Do nothing."""


def _check(result: ShardResult) -> None:
    if result.manifest is None:
        raise RuntimeError(result.error)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    arguments = bench.parse_arguments("speed.pipeline", argv, runs=3)
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = PipelineBench(Path(name).absolute())
        candidates: dict[str, Callable[[], object]] = {
            "FLAC alone": work.flac,
            "one worker here": work.inline,
            "loader": work.load,
            "raw and FLAC decoder": work.raw,
        }
        medians = bench.compare("pipeline", candidates, arguments.runs)["medians"]
        with connected(None, 2):
            turns = [
                (
                    work.on(1, work.job),
                    work.on(2, work.job),
                    work.on(1, work.long),
                    _timed(lambda: work.inline(work.long_worker)) / LONG_SHARDS,
                )
                for _ in range(arguments.runs)
            ]
        one, two, long, here = (statistics.median(times) for times in zip(*turns, strict=True))
        hours, seconds = work.seconds / 3600, medians["one worker here"]
    ratios = [
        bench.Ratio("build / FLAC alone", seconds / medians["FLAC alone"], at_most=ENCODING_LIMIT),
        bench.Ratio("two Ray workers: x one", one / two, at_least=WORKERS_LIMIT),
        bench.Ratio("one Ray worker / here, long shards", long / here, at_most=RAY_LIMIT),
        bench.Ratio("loader: x (raw + decoder)", medians["raw and FLAC decoder"] / medians["loader"], at_least=LOADER_LIMIT),
    ]
    notes = {
        "audio_hours_per_core_hour": round(work.seconds / seconds, 1),
        "hours": round(hours, 3),
        "seconds_per_shard": round(seconds / SHARDS, 2),
        "milliseconds_of_ray_per_long_shard": round(1000 * (long - here)),
    }
    medians |= {"a shard, one Ray worker": one, "a shard, two Ray workers": two}
    medians |= {"a long shard, one Ray worker": long, "a long shard here": here}
    versions = ["numpy", "soundfile", "ray"]
    return bench.finish("pipeline", ratios, medians, versions=versions, json_path=arguments.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
