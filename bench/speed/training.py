"""Speed of the loader's batching against padding in random order, and of the loader against batches in memory.

`python -m soundflow.bench.speed.training [--corpus DIR] [--json OUT] [--runs N]`. All candidates train on the same windows with
the same model, loss and optimizer. Naive batches have windows in random order, padded to the longest with an attention mask, as
from a stock collator. Packed batches are one sequence with block-diagonal attention, which is faster only with varlen kernels.

The gain depends on the spread of lengths. By default the windows are streams of the learning proof's sounds, cut at chunk ends to
the length quantiles of `make all-tasks` (`LENGTHS`). `--corpus DIR` uses the first windows of a build instead, such as
demo/all-tasks/corpus or one of runs/learn.

The loader decodes FLAC, computes features and makes batches in a thread while the model works. Without a free core its work (a
tenth of that of such a small model) delays training; `waited_for_shards` is the share of time in which the model waits.

The size of a micro-batch is a number of windows, not of tokens: on a CPU the cost per token is the same within 8 % in batches of
4 to 16 windows, and `effective_batch` stays as in the paper. Pools of 64 units instead of 16 would reduce padding from 4 % to 1
%.
"""

from __future__ import annotations

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
from soundflow.model.device import Placement
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
"""Micro-batches per timed call: the 128 windows that the loader sorts together."""
LOADED: Final = 8
PACKED: Final = 4
"""Micro-batches per call that times the loader (LOADED) and packing (PACKED), which is slow."""
LENGTHS: Final = (38, 181, 223, 265, 292, 320, 351, 380, 404, 425, 449, 472, 500, 527, 554, 580, 615, 651, 685, 711, 778)
"""Tokens per window: quantiles in steps of 5 % of the 615 windows (60 chunks) of `make all-tasks`, which has 560 streams of the
28 sub-tasks. Mean 449; random batches of 8 are one third padding. The scenes of examples/streamaudio-2m.yaml with the same clips
give longer windows (mean 532) with the same extremes."""
SCENE: Final = {"events": [16, 20], "max_seconds": 60}
"""Scene of streams that are longer than a window before they are cut."""
BATCHING_LIMIT: Final = 1.5
LOADER_LIMIT: Final = 0.95


class TruncatedSource:
    """A `StreamSource` of long streams that are truncated, so that each is one window of a given length."""

    def __init__(self, source: StoredCorpus, slots: int):
        """Truncate each stream at the chunk at which it is nearest to its drawn length."""
        self.name, self.plan, self.audio = source.name, source.plan, source.audio
        self.id, self.shard_sizes = source.id, source.shard_sizes
        places = [(shard, index) for shard, size in enumerate(source.shard_sizes) for index in range(size)]
        drawn = zip(places, drawn_lengths(len(places)), strict=True)
        self.cut = {place: _nearest(source.turns(*place), tokens, slots) for place, tokens in drawn}

    def turns(self, shard: int, index: int) -> Turns:
        """Return the turns of a truncated stream."""
        return self.cut[shard, index]


class TrainingBench:
    """A model, an optimizer and a corpus; by default one with windows of `LENGTHS`."""

    def __init__(self, root: Path, corpus: Path | None, device: torch.device = torch.device("cpu")):  # noqa: B008 (immutable)
        if corpus is None:
            make_index(root)
            spec = Spec("train", UNITS * MICRO_BATCH, DESCRIBE, LONG)
            stored = StoredCorpus(make_corpus(root, "long", spec, seed=5, scene=SCENE))
        else:
            stored = StoredCorpus(corpus)
        streaming = StreamingConfig(layout="soundflow/1", text_ids=text_ids(stored))
        self.source: StreamSource = stored if corpus else TruncatedSource(stored, streaming.slots)
        self.config = LoaderConfig(seed=0, micro_batch=MICRO_BATCH, window_chunks=c.WINDOW_CHUNKS, streaming=streaming)
        self.model = StreamingThinker.from_scratch("nano", streaming).to(device).train()
        self.optimizer = torch.optim.AdamW(freeze(self.model, ("adapter", "lm", "audio_encoder")), lr=1e-4)
        self.objective = DualLoss(self.model)

    def units(self) -> list[list[tuple[int, int, int]]]:
        """Return the loader's first units, which group windows of similar length."""
        return [places for places, _, _ in islice(Loader(self.source, self.config).units(), UNITS)]

    def step(self, batch: Batch) -> None:
        """Run forward, backward and an optimizer step."""
        weights = Weights(1 / max(len(batch.lm_rows), 1), 1 / max(len(batch.stream_rows), 1))
        self.objective(DeviceBatch.of(batch, self.model.device), weights)["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def steps(self, batches: Iterable[Batch]) -> None:
        """Train on batches in order."""
        for batch in batches:
            self.step(batch)

    def masked_steps(self, batches: Sequence[tuple[Batch, list[int]]]) -> None:
        """Train with an attention mask over the padding, as from a stock collator."""
        language = self.model.model.language_model
        for batch, lengths in batches:
            mask = (torch.arange(batch.rows.shape[1])[None] < torch.tensor(lengths)[:, None]).long().to(self.model.device)

            def masked(module: Any, args: Any, kwargs: Any, mask: torch.Tensor = mask) -> Any:
                return args, kwargs | {"attention_mask": mask}

            handle = language.register_forward_pre_hook(masked, with_kwargs=True)
            self.step(batch)
            handle.remove()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    parser = bench.make_parser("speed.training", runs=3)
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="Train on the first windows of this build (default: synthetic streams)."
    )
    bench.add_device(parser)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingBench(Path(folder), arguments.corpus, Placement.of(arguments.device).device)
        maker = Loader(run.source, run.config).builder
        units = run.units()
        made = [[maker.example(place, 0) for place in unit] for unit in units]
        flat = [example for unit in made for example in unit]
        order = np.random.default_rng(0).permutation(len(flat))
        naive = [[flat[number] for number in order[at : at + MICRO_BATCH]] for at in range(0, len(flat), MICRO_BATCH)]
        naive_batches = [(pad(examples), [len(example.rows) for example, _ in examples]) for examples in naive]
        bucketed, packed = [pad(examples) for examples in made], [pack(examples) for examples in made[:PACKED]]
        tokens = sum(batch.tokens for batch in bucketed)
        batching = bench.compare(
            "batching",
            {
                "bucketed, padded, no mask": lambda: run.steps(bucketed),
                "random order, padded, mask": lambda: run.masked_steps(naive_batches),
            },
            arguments.runs,
        )["medians"]
        packing = bench.compare(
            "packing",
            {
                f"{PACKED} units, padded": lambda: run.steps(bucketed[:PACKED]),
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
        padding = {
            name: _padding_share(batches) for name, batches in (("bucketed", bucketed), ("random", [b for b, _ in naive_batches]))
        }
    ratios = [
        bench.Ratio(
            "tokens/s: loader's batches / random order with mask",
            batching["random order, padded, mask"] / batching["bucketed, padded, no mask"],
            at_least=BATCHING_LIMIT,
        ),
        bench.Ratio(
            "tokens/s: loader's batches / packed",
            packing[f"{PACKED} units, packed, block-diagonal"] / packing[f"{PACKED} units, padded"],
        ),
        bench.Ratio(
            "tokens/s: loader / batches in memory", loading["from memory"] / loading["from shards"], at_least=LOADER_LIMIT
        ),
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
    """Return `count` lengths with the quantiles `LENGTHS`, in a seeded order."""
    shares = (np.arange(count) + 0.5) / count
    lengths = np.interp(shares, np.linspace(0, 1, len(LENGTHS)), LENGTHS)
    return [float(length) for length in np.random.default_rng(0).permutation(lengths)]


def _nearest(turns: Turns, tokens: float, slots: int) -> Turns:
    ends = [Turns(turns.layout, turns.head, turns.responses[:end]) for end in range(1, c.WINDOW_CHUNKS + 1)]
    return min(ends, key=lambda end: abs(windows(end, c.WINDOW_CHUNKS, slots)[0].tokens - tokens))


def _loaded(run: TrainingBench) -> Generator[Batch]:
    for batch, _ in Loader(run.source, run.config):
        assert batch is not None, "a single process takes part in every unit"
        yield batch


def _timed(batches: Iterator[Batch], waits: list[float]) -> Iterator[Batch]:
    """Yield batches and append the seconds of waiting for each to `waits`."""
    while True:
        begin = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - begin)
        yield batch


def _padding_share(batches: Sequence[Batch]) -> float:
    return 1 - sum(batch.tokens for batch in batches) / sum(batch.rows.size for batch in batches)


if __name__ == "__main__":
    raise SystemExit(main())
