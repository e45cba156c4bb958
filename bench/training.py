"""The chosen batching against naive padding with a mask, and the loader against batches that lie in memory.

`python -m bench.training [--json OUT] [--runs N]`. The corpus is built by the pipeline and has streams of 2 to 24 seconds. All
candidates train the same windows with the same model, loss and optimizer step. Naive: windows in random order, padded, a mask
that hides the padding. Packed: one sequence with block-diagonal attention, which pays off only with varlen kernels. The loader
decodes FLAC, computes features and makes batches in its thread while the model works; its peer iterates over batches made before.
Where no core is free for that thread its work (a tenth of such a small model's) is what is missing: `waited_for_shards`
tells how much of the time the model had nothing to do.
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

from bench import _common as bench
from bench.learning.corpora import DESCRIBE, MANY, Spec, make_corpus, make_index
from model.thinker import StreamingThinker
from model.vocabulary import StreamingConfig
from training.batches import Batch, pack, pad
from training.corpus import StoredCorpus, text_ids
from training.freezing import freeze
from training.loader import Loader, LoaderConfig
from training.objective import DeviceBatch, DualLoss, Weights

MICRO_BATCH: Final = 8
UNITS: Final = 6
"""Micro-batches per timed call: 48 windows."""
STREAMS: Final = 60
BATCHING_LIMIT: Final = 1.5
LOADER_LIMIT: Final = 0.95
CPU: Final = torch.device("cpu")


class Bench:
    """A model, an optimizer and a corpus of mixed lengths."""

    def __init__(self, root: Path):
        make_index(root)
        scene = {"events": [1, 9], "max_seconds": 24}
        self.source = StoredCorpus(make_corpus(root, "mixed", Spec("train", STREAMS, DESCRIBE, MANY), seed=5, scene=scene))
        streaming = StreamingConfig(layout="soundflow/1", text_ids=text_ids(self.source))
        self.model = StreamingThinker.from_scratch("nano", streaming).train()
        self.optimizer = torch.optim.AdamW(freeze(self.model, ("adapter", "lm", "audio_encoder")), lr=1e-4)
        self.objective = DualLoss(self.model)
        self.config = LoaderConfig(seed=0, micro_batch=MICRO_BATCH, window_chunks=60, streaming=streaming)

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
    arguments = bench.arguments("training", argv, runs=3)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = Bench(Path(folder))
        maker = Loader(run.source, run.config).maker
        units = run.units()
        made = [[maker.example(place, 0) for place in unit] for unit in units]
        flat = [example for unit in made for example in unit]
        order = np.random.default_rng(0).permutation(len(flat))
        naive = [[flat[number] for number in order[at : at + MICRO_BATCH]] for at in range(0, len(flat), MICRO_BATCH)]
        naive_batches = [(pad(examples), [len(example.rows) for example, _ in examples]) for examples in naive]
        chosen, packed = [pad(examples) for examples in made], [pack(examples) for examples in made]
        tokens = sum(batch.tokens for batch in chosen)
        batching = bench.compare(
            "batching",
            {
                "bucketed, padded, no mask": lambda: run.steps(chosen),
                "random order, padded, mask": lambda: run.masked_steps(naive_batches),
                "packed, block-diagonal": lambda: run.steps(packed),
            },
            arguments.runs,
        )["medians"]
        series = list(islice(_loaded(run), UNITS * (arguments.runs + 1)))  # with the call that warms up
        from_shards, from_memory, waits = _loaded(run), iter(series), list[float]()
        loading = bench.compare(
            "loading",
            {
                "from shards": lambda: run.steps(islice(_timed(from_shards, waits), UNITS)),
                "from memory": lambda: run.steps(islice(from_memory, UNITS)),
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
        bench.Ratio("tokens/s: chosen / packed", batching["packed, block-diagonal"] / batching["bucketed, padded, no mask"]),
        bench.Ratio("loader: shards / memory", loading["from memory"] / loading["from shards"], at_least=LOADER_LIMIT),
    ]
    notes = {
        "tokens_per_second": round(tokens / batching["bucketed, padded, no mask"]),
        "padding_share": {name: round(share, 3) for name, share in padding.items()},
        "windows": len(flat),
        "waited_for_shards": round(sum(waits[UNITS:]) / arguments.runs / loading["from shards"], 3),
    }
    medians = {**batching, **loading}
    return bench.finish("training", ratios, medians, versions=["torch", "transformers"], json_path=arguments.json, notes=notes)


def _loaded(run: Bench) -> Generator[Batch]:
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
