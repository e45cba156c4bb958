"""The order of the loader: every window once per epoch, no overlap between processes, resumable anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundflow.model.frontend import log_mel
from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas.base import InputError
from soundflow.training.batches import Batch
from soundflow.training.config import DrainConfig
from soundflow.training.corpus import text_ids
from soundflow.training.loader import BatchBuilder, Loader, LoaderConfig, Place, Position
from soundflow.training.sequences import windows
from tests.training.made import MadeCorpus, some_corpus


def config(source: MadeCorpus, **changes: object) -> LoaderConfig:
    streaming = StreamingConfig(layout="soundflow/1", text_ids=text_ids(source))
    return LoaderConfig(**({"seed": 1, "micro_batch": 2, "window_chunks": 4, "streaming": streaming} | changes))  # type: ignore[arg-type]


def epoch(loader: Loader) -> list[list[Place]]:
    """Units of this process until the epoch ends."""
    taken = []
    for places, number, _ in loader.units():
        if number != loader.position.epoch:
            break
        taken.append(places)
    return taken


def all_windows(source: MadeCorpus) -> Counter[Place]:
    found: Counter[Place] = Counter()
    for shard, size in enumerate(source.shard_sizes):
        for index in range(size):
            found.update((shard, index, number) for number in range(len(windows(source.turns(shard, index), 4, 10))))
    return found


@given(
    shards=st.integers(1, 40),
    streams=st.integers(1, 4),
    micro_batch=st.integers(1, 5),
    processes=st.integers(1, 3),
    seed=st.integers(0, 5),
)
@settings(max_examples=15)
def test_every_window_comes_once_an_epoch_for_any_number_of_processes(
    shards: int, streams: int, micro_batch: int, processes: int, seed: int
) -> None:
    source = some_corpus(shards, streams)
    loaders = [
        Loader(source, config(source, micro_batch=micro_batch, processes=processes, rank=rank, seed=seed))
        for rank in range(processes)
    ]
    units = [epoch(loader) for loader in loaders]
    assert len({len(mine) for mine in units}) == 1, "all take part in every step"
    assert Counter(place for mine in units for unit in mine for place in unit) == all_windows(source)
    sizes = [sum(len(mine[number]) for mine in units) for number in range(len(units[0]))]
    assert sum(size < micro_batch * processes for size in sizes) <= 1, "only one unit of an epoch is short"


def test_epochs_and_seeds_have_other_orders_and_the_same_seed_the_same() -> None:
    source = some_corpus()
    first = epoch(Loader(source, config(source)))
    assert first == epoch(Loader(source, config(source)))
    assert first != epoch(Loader(source, config(source, seed=2)))
    assert first != epoch(Loader(source, config(source), Position(epoch=1)))


@given(at=st.integers(0, 60), micro_batch=st.integers(1, 4))
@settings(max_examples=20)
def test_a_loader_resumed_at_any_position_continues_the_series(at: int, micro_batch: int) -> None:
    source = some_corpus(shards=35, streams=2)
    series = list(islice(Loader(source, config(source, micro_batch=micro_batch)).units(), at + 12))
    position = series[at - 1][2] if at else Position()
    position = Position.from_json(position.canonical_json())
    resumed = list(islice(Loader(source, config(source, micro_batch=micro_batch), position).units(), 12))
    assert resumed == series[at:]


def test_resuming_reads_one_group_and_nothing_before_it() -> None:
    source = some_corpus(shards=64, streams=2)
    settings_ = config(source)
    position = next(after for _, _, after in Loader(source, settings_).units() if (after.group, after.unit) == (2, 3))
    source.read.clear()
    next(Loader(source, settings_, position).units())
    assert len({shard for shard, _ in source.read}) <= 16 + len({shard for shard, _, _ in position.carried})


def same(left: Batch, right: Batch) -> bool:
    names = ("rows", "mel", "stream_at", "stream_rows", "lm_at", "lm_rows")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@pytest.mark.parametrize("workers", [0, 2])
def test_prefetched_batches_are_those_of_the_series_in_order(workers: int) -> None:
    source = some_corpus()
    settings_ = config(source, workers=workers, drain=DrainConfig())
    builder = BatchBuilder(source, settings_)
    series = islice(Loader(source, settings_).units(), 5)
    batches = iter(Loader(source, settings_))
    for places, number, after in series:
        batch, position = next(batches)
        expected = builder.batch(places, number)
        assert batch is not None and expected is not None and same(batch, expected) and position == after
    batches.close()


KILLED = """
import time
from tests.training.made import some_corpus
from tests.training.test_loader import config
from soundflow.training.loader import Loader
if __name__ == "__main__":
    source = some_corpus()
    batches = iter(Loader(source, config(source, workers=1)))
    next(batches)
    print("at work", flush=True)
    time.sleep(600)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, str(tmp_path / "killed.py")], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stdout.readline()
    process.kill()
    process.communicate(timeout=120)  # the worker has the same stdout, which ends when nobody holds it any more


def test_windows_of_a_unit_have_similar_lengths() -> None:
    source = some_corpus(shards=8, streams=8, longest=4)
    loader = Loader(source, config(source, micro_batch=4))
    waste = []
    for unit in epoch(loader):
        lengths = [source.turns(shard, index).chunks for shard, index, _ in unit]
        waste.append(1 - sum(lengths) / (max(lengths) * len(lengths)))
    assert np.mean(waste) < 0.1


def test_the_front_end_of_a_window_covers_the_audio_before_it() -> None:
    source = MadeCorpus([[(9, [4, 8])]])
    builder = BatchBuilder(source, config(source))
    pieces = [builder.example((0, 0, number), epoch=0)[1] for number in range(3)]
    whole = log_mel(source.audio(0, 0, 0, 9 * 6400))
    assert np.array_equal(np.concatenate([np.concatenate(list(piece), axis=1) for piece in pieces], axis=1), whole)


def test_a_window_has_a_placeholder_for_every_audio_embedding() -> None:
    source = MadeCorpus([[(6, [])]])
    builder = BatchBuilder(source, config(source))
    example, mel = builder.example((0, 0, 0), epoch=0)
    assert mel.shape == (4, 128, 40) and (example.rows == -1).sum() == 40


def test_a_corpus_of_another_layout_is_refused() -> None:
    source = some_corpus()
    streaming = StreamingConfig(layout="authors/1", text_ids=())
    with pytest.raises(InputError, match=r"another token layout than the model, authors/1 \(got 'soundflow/1'\)"):
        BatchBuilder(source, config(source, streaming=streaming)).batch([(0, 0, 0)], 0)


def test_drained_samples_differ_by_epoch_and_not_by_process() -> None:
    source = MadeCorpus([[(4, [1, 2])]])
    drain = DrainConfig(probability=0.9)
    builders = [BatchBuilder(source, config(source, drain=drain, rank=rank, processes=2)) for rank in range(2)]
    runs = [[builder.example((0, 0, 0), epoch)[0].drained for epoch in range(12)] for builder in builders]
    assert runs[0] == runs[1] and len(set(runs[0])) > 1
