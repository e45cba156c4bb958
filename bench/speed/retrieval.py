"""Speed of retrieval against brute force in numpy, cost of the vectors of a large index, and recall of real queries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.backends.embed import minilm
from soundflow.bench.harness import measure as bench
from soundflow.bench.speed.labels import QUERIES, demo_rows, recall, synthetic_rows, write_index
from soundflow.operators.curate.retrieval import Hit, Query, clip_text
from soundflow.operators.curate.vector_search import CodedColumn, VectorIndex
from soundflow.operators.protocols.embedding import Vectors, normalize
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.identity import rng_for
from soundflow.schemas.retrieval import RetrievalConfig

CLIPS: Final = 171_000
DIMENSION: Final = 384
K: Final = 3
BATCHES: Final = (1, 64)
QUERY_COUNT: Final = 256
"""Queries that each candidate answers, batch by batch."""
ROWS: Final = 200_000
"""Rows of the index that is built, each with a distinct text."""
BUILD_SECONDS: Final = 120.0
BUILD_MIB: Final = 2048.0
WORKERS: Final = 4
"""Processes that search the same index concurrently."""
SAMPLE: Final = 1_500
"""Texts on which the speed of MiniLM is measured."""


def retrieval(runs: int) -> bench.Part:
    """Measure queries per second, the cost of a large index, and recall."""
    ratios, medians, notes = _speed(runs)
    with tempfile.TemporaryDirectory() as folder:
        built = _build(Path(folder) / "large")
        copies = _copies(Path(folder) / "large")
        notes |= built | _recall(Path(folder) / "demo") | _minilm_rate()
    notes["search_copies_in_memory"] = round(copies, 3)
    ratios += [
        bench.Ratio(f"{WORKERS} workers search 200,000 rows: vectors in memory / one copy", copies, at_most=1.1),
        bench.Ratio("building 200,000 rows (ngrams): seconds / 120", built["build_seconds"] / BUILD_SECONDS, at_most=1.0),
        bench.Ratio("building 200,000 rows (ngrams): peak MiB / 2,048", built["build_peak_mib"] / BUILD_MIB, at_most=1.0),
    ]
    return bench.Part(tuple(ratios), medians, notes)


def _speed(runs: int) -> tuple[list[bench.Ratio], dict[str, float], dict[str, Any]]:
    rng = rng_for("0" * 64, 0, 0, "bench retrieval")
    index = _vector_index(normalize(rng.standard_normal((CLIPS, DIMENSION))))
    near = index.vectors[rng.integers(0, CLIPS, QUERY_COUNT)]
    queries = normalize(near + 0.04 * rng.standard_normal((QUERY_COUNT, DIMENSION)))
    query = Query("sound", K, ClipRole.FOREGROUND, "sound", (0.1, 30.0))
    candidates: dict[str, Any] = {}
    latencies: dict[int, list[float]] = {size: [] for size in BATCHES}
    for size in BATCHES:
        part = queries[: QUERY_COUNT if size > 1 else 64]

        def ours(size: int = size, part: Vectors = part) -> list[list[Hit]]:
            found = []
            for start in range(0, len(part), size):
                begin = time.perf_counter()
                found += index.search(part[start : start + size], [query] * min(size, len(part) - start))
                latencies[size].append(time.perf_counter() - begin)
            return found

        def theirs(size: int = size, part: Vectors = part) -> list[list[int]]:
            return [
                best for start in range(0, len(part), size) for best in _brute_force(index.vectors, part[start : start + size])
            ]

        if [[hit.id for hit in hits] for hits in ours()] != [[_name(row) for row in best] for best in theirs()]:
            raise RuntimeError("retrieval and brute force return different clips")
        candidates |= {f"retrieval: ours, batches of {size}": ours, f"retrieval: numpy, batches of {size}": theirs}
    for taken in latencies.values():
        taken.clear()
    medians = bench.compare("retrieval", candidates, runs)["medians"]
    ratios, notes = [], {}
    for size in BATCHES:
        ours_seconds, their_seconds = (medians[f"retrieval: {who}, batches of {size}"] for who in ("ours", "numpy"))
        ratios.append(
            bench.Ratio(f"retrieval: queries/s, batches of {size}, x numpy", their_seconds / ours_seconds, at_least=0.8)
        )
        notes[f"retrieval_queries_per_second_batch_{size}"] = round((QUERY_COUNT if size > 1 else 64) / ours_seconds, 1)
        for share in (0.5, 0.99):
            notes[f"retrieval_batch_{size}_p{100 * share:g}_ms"] = round(1000 * bench.quantile(latencies[size], share), 2)
    return ratios, medians, notes


def _vector_index(vectors: Vectors) -> VectorIndex:
    """Return an index in which every clip has a distinct text."""
    count = len(vectors)
    same = np.zeros(count, np.int32)
    return VectorIndex(
        vectors=vectors,
        spans={ClipRole.FOREGROUND: (0, count)},
        first=np.arange(count + 1),
        clips=np.arange(count, dtype=np.int32),
        ids=[_name(row) for row in range(count)],
        labels=CodedColumn(same, ["sound"]),
        licences=CodedColumn(same, ["CC0-1.0"]),
        splits=CodedColumn(same, ["train"]),
        speech=np.zeros(count, np.bool_),
        samples=np.full(count, 32_000),
    )


def _name(row: int) -> str:
    return f"clip-{row:06d}"


def _brute_force(vectors: Vectors, queries: Vectors) -> list[list[int]]:
    """Compute all scores as one matrix product, then select the best rows with a partition."""
    scores = queries @ vectors.T
    best = np.argpartition(scores, -K, axis=1)[:, -K:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    rows: list[list[int]] = np.take_along_axis(best, order, axis=1).tolist()
    return rows


def _build(directory: Path) -> dict[str, float]:
    """Measure seconds and peak memory of a process that builds the vectors of ROWS distinct texts."""
    write_index(directory, synthetic_rows(ROWS, ROWS))
    command = [sys.executable, "-m", "soundflow.bench.speed.retrieval", str(directory)]
    seconds, peak, again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"build_seconds": float(seconds), "build_peak_mib": float(peak), "open_seconds": float(again)}


def _copies(directory: Path) -> float:
    """Return the memory that an index's vectors occupy in WORKERS processes, relative to their size. 1 means fully shared."""
    command = [sys.executable, "-m", "soundflow.bench.speed.retrieval", str(directory), "hold"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(WORKERS)]  # type: ignore[call-overload]
    try:
        if any(worker.stdout.readline() != "searched\n" for worker in workers):
            raise RuntimeError("a worker failed to search")
        (path,) = (directory / "search").glob("*.vectors")
        return sum(_proportional_kib(worker.pid, path) for worker in workers) * 1024 / path.stat().st_size
    finally:
        for worker in workers:
            worker.communicate("")


def _proportional_kib(pid: int, path: Path) -> int:
    """Return the proportional set size (KiB) of a process's mapping of a file."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total


def _recall(directory: Path) -> dict[str, str]:
    """Measure recall of real queries on the demo's labels, for each installed embedder."""
    write_index(directory, demo_rows())
    recalls = {}
    for embedder in ("ngrams", "minilm"):
        if embedder == "minilm" and not minilm.fetched():
            recalls["recall_minilm"] = f"not measured. {minilm.FETCH}"
            continue
        search = SearchIndex.open(directory, RetrievalConfig.model_validate({"embedder": embedder}))
        hits = search.search([Query(query, k=200) for query in QUERIES])
        found = {query: [hit.label for hit in best] for query, best in zip(QUERIES, hits, strict=True)}
        one, five = recall(found, 1), recall(found, 5)
        recalls[f"recall_{embedder}"] = f"R@1 {one}/{len(QUERIES)}, R@5 {five}/{len(QUERIES)} of {len(search)} clips"
    return recalls


def _minilm_rate() -> dict[str, float]:
    """Measure texts per CPU second of MiniLM."""
    if not minilm.fetched():
        return {}
    texts = [clip_text(row["label"], row["caption"], None) for row in synthetic_rows(SAMPLE, SAMPLE)]
    embedder = minilm.MiniLm.open()
    embedder.embed(texts[:64])
    begin = time.process_time()
    embedder.embed(texts)
    return {"minilm_texts_per_processor_second": round(SAMPLE / (time.process_time() - begin), 1)}


def main(arguments: Sequence[str]) -> None:
    """Run as the child process of `_build` (prints build seconds, peak MiB and opening seconds) or of `_copies`."""
    if arguments[1:] == ["hold"]:
        search = SearchIndex.open(Path(arguments[0]), RetrievalConfig(embedder="ngrams"))
        search.search([Query("a loud dog barking")] * 8)
        print("searched", flush=True)
        sys.stdin.read()
        return
    times = [time.perf_counter()]
    for _ in range(2):
        SearchIndex.open(Path(arguments[0]), RetrievalConfig(embedder="ngrams"))
        times.append(time.perf_counter())
    print(times[1] - times[0], _peak_mib(), times[2] - times[1])


def _peak_mib() -> float:
    """Return the peak memory of this process. `getrusage` would include the memory of its parent before the fork."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
