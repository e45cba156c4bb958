"""What each of two gloo processes does in `test_distributed`; run by torchrun."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from soundflow.model.frontend import Mel
from soundflow.schemas.base import Interrupted
from soundflow.training.config import StageConfig
from soundflow.training.distributed import process_group
from soundflow.training.loader import BatchBuilder, Place
from soundflow.training.sequences import Example
from soundflow.training.trainer import Trainer
from tests.training.made import MadeCorpus, some_corpus
from tests.training.world import ALL, stage

SOURCE = some_corpus(shards=2, streams=3, longest=4)
ODD = MadeCorpus([[(2, [1]), (3, []), (2, [2])], [(3, [1, 2]), (2, [])]])
EPOCH = stage(micro_batch=1, effective_batch=2, steps=4)
"""An epoch, whose last step has nothing for the second process, and a step of the next."""
STAGES = {
    "all": stage(micro_batch=2, effective_batch=4, steps=4),
    "head": stage(micro_batch=2, effective_batch=4, steps=2, trainable=("lm_head", "new_tokens")),
    "adapter": stage(micro_batch=1, effective_batch=4, steps=2, trainable=("adapter",)),
    "bf16": stage(micro_batch=2, effective_batch=4, steps=1, trainable=ALL, precision="bf16", checkpointing=True),
}


def record_samples() -> list[list[int]]:
    """(shard, index, window, epoch) of every sample built in this process from now on."""
    made: list[list[int]] = []
    plain = BatchBuilder.example

    def example(builder: BatchBuilder, place: Place, epoch: int) -> tuple[Example, Mel]:
        made.append([*place, epoch])
        return plain(builder, place, epoch)

    BatchBuilder.example = example  # type: ignore[method-assign]
    return made


def main(start: Path, out: Path) -> None:
    with process_group(torch.device("cpu")) as processes:
        made = record_samples()
        Trainer(EPOCH, ODD, start, out / "epoch", processes, seed=3).train()
        (out / f"made-{processes.rank}.json").write_text(json.dumps(made))
        for name, config in STAGES.items():
            Trainer(config, SOURCE, start, out / name, processes, seed=3).train()
        cut: StageConfig = STAGES["all"]
        calls = iter([False, processes.rank == 1])  # one process is asked to stop: both do
        try:
            Trainer(cut, SOURCE, start, out / "cut", processes, seed=3, should_stop=lambda: next(calls)).train()
        except Interrupted:
            Trainer(cut, SOURCE, start, out / "cut", processes, seed=3).train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
