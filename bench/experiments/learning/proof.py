"""One seed of the learning proof: train a model from scratch in stages 0 to 4, then evaluate it on held-out streams."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from soundflow.bench.experiments.learning.corpora import replies
from soundflow.model.device import Placement
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.documents import read_json
from soundflow.training.config import StageConfig, load_stage
from soundflow.training.corpus import StoredCorpus
from soundflow.training.distributed import Processes
from soundflow.training.evaluate import EvaluatedStream, Evaluator, score
from soundflow.training.start import init_model
from soundflow.training.trainer import Trainer
from soundflow.training.workers import end_with_parent

STAGES: Final = {"cpu/0": "single", "cpu/1": "single", "cpu/2": "single", "cpu/3": "streaming", "cpu/4": "interleaved"}
"""Preset → corpus."""
WITHIN: Final = (0, 1, 2)
"""Values of k in chunks; the limits apply to the last."""
UNTRAINED_STREAMS: Final = 8
"""Streams for the untrained model, which responds at every second chunk without end."""
UNTRAINED_TOKENS: Final = 8


@dataclass(frozen=True, slots=True)
class ProofTask:
    """The work of one process; can be pickled."""

    corpora: Mapping[str, Path]
    run: Path
    seed: int
    stages: Mapping[str, StageConfig]
    """Stages in order."""
    reads: Mapping[str, str]
    """Stage → corpus."""
    chunk_ms: int = 400
    within: tuple[int, ...] = WITHIN
    untrained: bool = True
    """Whether to evaluate the untrained model too."""
    device: str = "cpu"
    """Where to train and evaluate, as in `--device`; it is no part of the task's identity."""

    @classmethod
    def of(cls, corpora: Mapping[str, Path], run: Path, seed: int, device: str = "cpu") -> ProofTask:
        """Return the task of the learning proof."""
        return cls(corpora, run, seed, {name: load_stage(name) for name in STAGES}, STAGES, device=device)

    def fingerprint(self) -> str:
        """Return a hash of everything that determines the result; reads the manifests of the corpora."""
        about = {
            "stages": {name: stage.model_dump(mode="json") for name, stage in self.stages.items()},
            "reads": dict(self.reads),
            "corpora": {name: StoredCorpus(path).id for name, path in self.corpora.items()},
            "measured": [self.seed, self.chunk_ms, list(self.within), self.untrained],
        }
        return hashlib.sha256(canonical_json(about)).hexdigest()


def learn(task: ProofTask) -> dict[str, Any]:
    """Train and evaluate, or read an existing result. Returns figures per k, and CPU seconds of this process.

    Raises InputError if the run directory contains the result of another task (other stages, another corpus).
    """
    done, fingerprint = task.run / "result.json", task.fingerprint()
    if done.is_file():
        found: dict[str, Any] = read_json(done)
        if found.get("task") != fingerprint:
            raise InputError("contains the result of another task", file=task.run, remedy="Choose another directory with -o")
        return found
    torch.set_num_threads(1)
    place = Placement.of(task.device, "fp32")
    task.run.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    model = task.run / "start"
    if not model.is_dir():
        training = [task.corpora[name] for name in dict.fromkeys(task.reads.values())]
        init_model("nano", model, training, chunk_ms=task.chunk_ms, seed=task.seed)
    start = model
    for name, stage in task.stages.items():
        run = task.run / name.replace("/", "-")
        source = StoredCorpus(task.corpora[task.reads[name]])
        model = Trainer(stage, source, model, run, Processes(place.device), seed=task.seed).train().model
    trained = time.process_time() - begin
    heldout = StoredCorpus(task.corpora["heldout"])
    result: dict[str, Any] = {
        "task": fingerprint,
        "seed": task.seed,
        "trained": figures(play(model, heldout, placement=place), heldout, task.within),
        "train_cpu_seconds": trained,
    }
    if task.untrained:
        result["untrained"] = figures(play(start, heldout, UNTRAINED_STREAMS, UNTRAINED_TOKENS, place), heldout)
    result["cpu_seconds"] = time.process_time() - begin
    write_atomic(done, json.dumps(result, indent=2).encode() + b"\n")
    return result


def learn_all(tasks: Sequence[ProofTask], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (index of the task, result) as tasks end; with 0 workers they run one by one in this process.

    A failure or an interruption ends all tasks; they can be resumed.
    """
    if not workers:
        yield from ((number, learn(task)) for number, task in enumerate(tasks))
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        ahead = {pool.submit(learn, task): number for number, task in enumerate(tasks)}
        for future in as_completed(ahead):
            yield ahead[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def play(
    model: Path,
    heldout: StoredCorpus,
    streams: int | None = None,
    reply_tokens: int | None = None,
    placement: Placement = Placement(),  # noqa: B008 (frozen)
) -> list[EvaluatedStream]:
    """Evaluate a model on held-out streams, at most `streams` of them."""
    options = {} if reply_tokens is None else {"reply_tokens": reply_tokens}
    evaluator = Evaluator(StreamingThinker.load(model, placement), heldout, **options)
    return [evaluator.evaluate(*place) for place in list(evaluator.streams())[:streams]]


def figures(
    evaluated: Sequence[EvaluatedStream], heldout: StoredCorpus, within: Sequence[int] = WITHIN
) -> dict[str, dict[str, float]]:
    """Return `k=0`, `k=1`, … → figures. A response that joins several in one chunk has no alternative texts."""
    allowed = replies(heldout)

    def is_acceptable(expected: tuple[int, ...], generated: tuple[int, ...]) -> bool:
        return generated == expected or generated in allowed.get(expected, ())

    return {f"k={k}": score(evaluated, k, is_acceptable).to_json() for k in within}


def trivial(heldout: StoredCorpus) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of two baselines without a model: never respond, and respond at every chunk."""
    silent, always = [], []
    for shard, size in enumerate(heldout.shard_sizes):
        for index in range(size):
            turns = heldout.turns(shard, index)
            events = tuple((chunk, text) for chunk, text in enumerate(turns.responses) if text is not None)
            seconds = heldout.plan(shard, index).seconds
            silent.append(EvaluatedStream(events, (), turns.chunks, seconds))
            always.append(EvaluatedStream(events, tuple((chunk, ()) for chunk in range(turns.chunks)), turns.chunks, seconds))
    return {"always_silent": figures(silent, heldout), "always_respond": figures(always, heldout)}
