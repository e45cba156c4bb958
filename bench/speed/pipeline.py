"""A build end to end with cached clips, against FLAC-encoding the same audio alone; workers, Ray and the loader against theirs.

`python -m soundflow.bench.speed.pipeline [--json OUT] [--runs N]`. Four ratios, each within one run of turns on one machine:
one worker (plan, compose, encode, tokens, tar, hash, commit) / encoding its audio; two Ray workers' shards a second / one's;
Ray's one worker / the same shards in this process; the training loader's source against reading the tar raw and decoding FLAC.
Ray is timed from the first shard of every worker on, when index and tokenizer are loaded. What it costs is a few milliseconds a
shard: its share is measured at shards of several seconds of work, an upper bound of that at shards of a minute.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import soundfile
import yaml

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
    """Streams of a minute or so over the recordings of `bench.speed.mixing`, whose index is in `root`."""
    document = {
        "clips": str(root / "index"),
        "streams": streams,
        "shards": shards,
        "seed": 1,
        "tasks": {"event_description": 1.0},
        "scene": {"planner": "random", "events": [3, 12], "max_seconds": 120},
    }
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


class PipelineBench:
    """One recipe, built again and again into folders that go away."""

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
        return Job(self.root / f"space-{path.stem}", index.directory, record.recipe, record.fingerprint)

    def places(self) -> Iterator[tuple[int, int]]:
        """Every stream."""
        return ((shard, index) for shard, size in enumerate(self.corpus.shard_sizes) for index in range(size))

    @property
    def seconds(self) -> float:
        """Of audio in one build."""
        return sum(manifest.seconds for manifest in self.manifests)

    def inline(self, worker: Worker | None = None) -> None:
        """Every shard by one worker in this process, from the beginning."""
        worker = worker or self.worker
        shutil.rmtree(worker.job.out, ignore_errors=True)
        for shard in range(worker.job.recipe.shards):
            _sound(worker.run(shard))

    def flac(self) -> None:
        """Only what nobody can go without: the audio as FLAC."""
        for samples in self.audio:
            encode(samples, "flac")

    def on(self, workers: int, job: Job) -> float:
        """Seconds per shard of so many Ray workers, once each has made its first."""
        shutil.rmtree(job.out, ignore_errors=True)
        watch, shards = _Watch(), job.recipe.shards
        RayExecutor(workers).run(job, range(shards), watch)
        times = sorted(watch.times)
        return (times[-1] - times[workers - 1]) / (shards - workers)

    def load(self) -> None:
        """Tokens and audio of every stream, as the trainer reads them."""
        for shard, index in self.places():
            chunks = self.corpus.turns(shard, index).chunks
            self.corpus.audio(shard, index, 0, chunks * c.CHUNK_SAMPLES)

    def raw(self) -> None:
        """The tars read whole, their FLAC members decoded; places are known."""
        from soundflow.training.corpus import _member_table

        for tar in self.tars:
            data = tar.read_bytes()
            for name, (offset, size) in _member_table(tar).items():
                if name.endswith(".flac"):
                    soundfile.read(io.BytesIO(data[offset : offset + size]), dtype="float32")


class _Watch:
    """Notes when shards come in."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def sample(self, sample: object) -> None:
        """Told by workers of this process only."""

    def result(self, result: ShardResult) -> None:
        """A shard."""
        _sound(result)
        self.times.append(time.perf_counter())

    def curated(self, samples: int) -> None:
        """Nothing is."""

    def halted(self, why: Halted) -> None:
        """Nothing is."""

    def pulse(self) -> None:
        """Nothing stops this."""


def _sound(result: ShardResult) -> None:
    if result.manifest is None:
        raise RuntimeError(result.error)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit code 1 when a limit is missed."""
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
