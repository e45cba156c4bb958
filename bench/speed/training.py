"""The chosen batching against naive padding with a mask, and the loader against batches that lie in memory.

`python -m soundflow.bench.speed.training [--corpus DIR] [--json OUT] [--runs N]`. All candidates train the same windows with the
same model, loss and optimizer step. Naive: windows in random order, padded to the longest of their batch, with a mask that hides
the padding, as a stock collator gives it. Packed: one sequence with block-diagonal attention, which pays off only with varlen
kernels.

What is won depends on how much lengths vary, so the windows have the lengths of the corpus this project makes: streams of the
learning proof's sounds, each cut at a chunk's end so that their quantiles are those of `make all-tasks` (`LENGTHS`).
`--corpus DIR` takes the first windows of a build as they are instead: demo/all-tasks/corpus, or one of runs/learn.

The loader decodes FLAC, computes features and makes batches in its thread while the model works; its peer iterates over batches
made before. Where no core is free for that thread its work (a tenth of such a small model's) is what is missing:
`waited_for_shards` tells how much of the time the model had nothing to do.

Micro-batches have a number of windows, not of tokens: on a CPU a token costs the same in batches of 4 to 16 windows (measured,
within 8 %), and `effective_batch` stays what the paper's table says. Pools of 64 units instead of the loader's 16 would bring
padding from 4 % down to 1 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from soundflow.bench.experiments.learning.corpora import DESCRIBE, LONG, Spec, make_corpus, make_index
from soundflow.bench.harness import measure as bench
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas import constants as c
from soundflow.training.batches import Batch, pack, pad
from soundflow.training.corpus import StoredCorpus, StreamSource, text_ids
from soundflow.training.freezing import freeze
from soundflow.training.loader import POOL_UNITS, Loader, LoaderConfig
from soundflow.training.objective import DeviceBatch, DualLoss, Weights
from soundflow.training.sequences import Turns, windows

MICRO_BATCH: Final = 8
UNITS: Final = POOL_UNITS
"""Micro-batches per timed call: the windows the loader sorts together, 128 of them."""
LOADED: Final = 8
PACKED: Final = 4
"""Of these in the calls that time the loader, and the packing, which takes long."""
LENGTHS: Final = (38, 181, 223, 265, 292, 320, 351, 380, 404, 425, 449, 472, 500, 527, 554, 580, 615, 651, 685, 711, 778)
"""Tokens of a window, every twentieth quantile of the 615 windows of `make all-tasks` (560 streams, each of the 28 sub-tasks) at
the paper's 60 chunks: mean 449; of random batches of 8 a third is padding. The scenes of examples/streamaudio-2m.yaml, planned
with the same clips, give longer windows (mean 532) with the same extremes."""
SCENE: Final = {"events": [16, 20], "max_seconds": 60}
"""Of streams that are longer than a window before they are cut."""
BATCHING_LIMIT: Final = 1.5
LOADER_LIMIT: Final = 0.95
CPU: Final = torch.device("cpu")


class TruncatedSource:
    """A `StreamSource` of long streams that end early, so that each is one window of a given length."""

    def __init__(self, source: StoredCorpus, slots: int):
        """Each stream ends with the chunk at which it is nearest to the length drawn for it."""
        self.name, self.plan, self.audio = source.name, source.plan, source.audio
        self.id, self.shard_sizes = source.id, source.shard_sizes
        places = [(shard, index) for shard, size in enumerate(source.shard_sizes) for index in range(size)]
        drawn = zip(places, drawn_lengths(len(places)), strict=True)
        self.cut = {place: _nearest(source.turns(*place), tokens, slots) for place, tokens in drawn}

    def turns(self, shard: int, index: int) -> Turns:
        """What is said until the cut."""
        return self.cut[shard, index]


class TrainingBench:
    """A model, an optimizer and a corpus: the one of `LENGTHS` unless there is another."""

    def __init__(self, root: Path, corpus: Path | None):
        if corpus is None:
            make_index(root)
            spec = Spec("train", UNITS * MICRO_BATCH, DESCRIBE, LONG)
            stored = StoredCorpus(make_corpus(root, "long", spec, seed=5, scene=SCENE))
        else:
            stored = StoredCorpus(corpus)
        streaming = StreamingConfig(layout="soundflow/1", text_ids=text_ids(stored))
        self.source: StreamSource = stored if corpus else TruncatedSource(stored, streaming.slots)
        self.config = LoaderConfig(seed=0, micro_batch=MICRO_BATCH, window_chunks=c.WINDOW_CHUNKS, streaming=streaming)
        self.model = StreamingThinker.from_scratch("nano", streaming).train()
        self.optimizer = torch.optim.AdamW(freeze(self.model, ("adapter", "lm", "audio_encoder")), lr=1e-4)
        self.objective = DualLoss(self.model)

    def units(self) -> list[list[tuple[int, int, int]]]:
        """The loader's first units: windows of similar length."""
        return [places for places, _, _ in islice(Loader(self.source, self.config).units(), UNITS)]

    def step(self, batch: Batch) -> None:
        """Forward, backward, optimizer."""
        weights = Weights(1 / max(len(batch.lm_rows), 1), 1 / max(len(batch.stream_rows), 1))
        self.objective(DeviceBatch.of(batch, CPU), weights)["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def steps(self, batches: Iterable[Batch]) -> None:
        """One after the other."""
        for batch in batches:
            self.step(batch)

    def masked_steps(self, batches: Sequence[tuple[Batch, list[int]]]) -> None:
        """The same with an attention mask over the padding, as a stock collator gives it."""
        language = self.model.model.language_model
        for batch, lengths in batches:
            mask = (torch.arange(batch.rows.shape[1])[None] < torch.tensor(lengths)[:, None]).long()

            def masked(module: Any, args: Any, kwargs: Any, mask: torch.Tensor = mask) -> Any:
                return args, kwargs | {"attention_mask": mask}

            handle = language.register_forward_pre_hook(masked, with_kwargs=True)
            self.step(batch)
            handle.remove()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit code 1 when a limit is missed."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--corpus", type=Path)
    mine, rest = own.parse_known_args(argv)
    arguments = bench.parse_arguments("speed.training", rest, runs=3)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingBench(Path(folder), mine.corpus)
        maker = Loader(run.source, run.config).builder
        units = run.units()
        made = [[maker.example(place, 0) for place in unit] for unit in units]
        flat = [example for unit in made for example in unit]
        order = np.random.default_rng(0).permutation(len(flat))
        naive = [[flat[number] for number in order[at : at + MICRO_BATCH]] for at in range(0, len(flat), MICRO_BATCH)]
        naive_batches = [(pad(examples), [len(example.rows) for example, _ in examples]) for examples in naive]
        chosen, packed = [pad(examples) for examples in made], [pack(examples) for examples in made[:PACKED]]
        tokens = sum(batch.tokens for batch in chosen)
        batching = bench.compare(
            "batching",
            {
                "bucketed, padded, no mask": lambda: run.steps(chosen),
                "random order, padded, mask": lambda: run.masked_steps(naive_batches),
            },
            arguments.runs,
        )["medians"]
        packing = bench.compare(
            "packing",
            {
                f"{PACKED} units, padded": lambda: run.steps(chosen[:PACKED]),
                f"{PACKED} units, packed, block-diagonal": lambda: run.steps(packed),
            },
            arguments.runs,
        )["medians"]
        series = list(islice(_loaded(run), LOADED * (arguments.runs + 1)))  # with the call that warms up
        from_shards, from_memory, waits = _loaded(run), iter(series), list[float]()
        loading = bench.compare(
            "loading",
            {
                "from shards": lambda: run.steps(islice(_timed(from_shards, waits), LOADED)),
                "from memory": lambda: run.steps(islice(from_memory, LOADED)),
            },
            arguments.runs,
        )["medians"]
        from_shards.close()
        padding = {name: _waste(batches) for name, batches in (("bucketed", chosen), ("random", [b for b, _ in naive_batches]))}
    ratios = [
        bench.Ratio(
            "tokens/s: chosen / padded with mask",
            batching["random order, padded, mask"] / batching["bucketed, padded, no mask"],
            at_least=BATCHING_LIMIT,
        ),
        bench.Ratio(
            "tokens/s: chosen / packed", packing[f"{PACKED} units, packed, block-diagonal"] / packing[f"{PACKED} units, padded"]
        ),
        bench.Ratio("loader: shards / memory", loading["from memory"] / loading["from shards"], at_least=LOADER_LIMIT),
    ]
    notes = {
        "tokens_per_second": round(tokens / batching["bucketed, padded, no mask"]),
        "padding_share": {name: round(share, 3) for name, share in padding.items()},
        "windows": len(flat),
        "tokens_per_window": round(tokens / len(flat)),
        "waited_for_shards": round(sum(waits[LOADED:]) / arguments.runs / loading["from shards"], 3),
    }
    medians = {**batching, **packing, **loading}
    return bench.finish("training", ratios, medians, versions=["torch", "transformers"], json_path=arguments.json, notes=notes)


def drawn_lengths(count: int) -> list[float]:
    """So many lengths whose quantiles are `LENGTHS`, in a seeded order."""
    shares = (np.arange(count) + 0.5) / count
    lengths = np.interp(shares, np.linspace(0, 1, len(LENGTHS)), LENGTHS)
    return [float(length) for length in np.random.default_rng(0).permutation(lengths)]


def _nearest(turns: Turns, tokens: float, slots: int) -> Turns:
    ends = [Turns(turns.layout, turns.head, turns.responses[:end]) for end in range(1, c.WINDOW_CHUNKS + 1)]
    return min(ends, key=lambda end: abs(windows(end, c.WINDOW_CHUNKS, slots)[0].tokens - tokens))


def _loaded(run: TrainingBench) -> Generator[Batch]:
    for batch, _ in Loader(run.source, run.config):
        assert batch is not None, "one process has a share in every unit"
        yield batch


def _timed(batches: Iterator[Batch], waits: list[float]) -> Iterator[Batch]:
    """The same batches, and the seconds each was waited for."""
    while True:
        begin = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - begin)
        yield batch


def _waste(batches: Sequence[Batch]) -> float:
    return 1 - sum(batch.tokens for batch in batches) / sum(batch.rows.size for batch in batches)


if __name__ == "__main__":
    raise SystemExit(main())
