"""Training, evaluation, listening, the player of the benches and the analyses, on a pretended GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soundflow.bench.experiments.analyses.continuity import continuity
from soundflow.bench.experiments.analyses.heads import head_importance
from soundflow.bench.experiments.analyses.windows import Reading
from soundflow.bench.harness.stream_player import StreamPlayer
from soundflow.model.device import Placement
from soundflow.model.seats import SeatedCache
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.base import InputError, Interrupted
from soundflow.streaming.events import ListenConfig, ResponseCreated
from soundflow.streaming.listener import Listener, drain_all, step_all
from soundflow.training.distributed import Processes
from soundflow.training.evaluate import Evaluator
from soundflow.training.trainer import Trainer
from tests.support.pretended_gpu import pretended_gpu
from tests.training.made import MadeCorpus, some_corpus
from tests.training.world import save_pico, stage

ANSWERS = ListenConfig(threshold=0.0001, longest_response=3)


@pytest.fixture(scope="module")
def source() -> MadeCorpus:
    return some_corpus(shards=2, streams=3, longest=4)


@pytest.fixture(scope="module")
def checkpoint(source: MadeCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pico(tmp_path_factory.mktemp("start") / "model", source)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_trains_stops_and_resumes(precision: str, source: MadeCorpus, checkpoint: Path, tmp_path: Path) -> None:
    config = stage(precision=precision)
    with pretended_gpu() as gpu:
        devices = {parameter.device for parameter in StreamingThinker.load(checkpoint, Placement(gpu)).parameters()}
        assert devices == {gpu}
        Trainer(config, source, checkpoint, tmp_path / "whole", Processes(gpu)).train()
        done = iter([False, False, True])
        stopped = Trainer(config, source, checkpoint, tmp_path / "run", Processes(gpu), should_stop=lambda: next(done, False))
        with pytest.raises(Interrupted):
            stopped.train()
        result = Trainer(config, source, checkpoint, tmp_path / "run", Processes(gpu)).train()
    assert result.steps == 6 and result.log is not None
    loaded = [StreamingThinker.load(tmp_path / name / "model").state_dict() for name in ("whole", "run")]
    assert all(torch.equal(value, loaded[1][name]) for name, value in loaded[0].items())


def test_evaluation(source: MadeCorpus, checkpoint: Path) -> None:
    with pretended_gpu() as gpu:
        evaluator = Evaluator(StreamingThinker.load(checkpoint, Placement(gpu)), source, threshold=-100.0, reply_tokens=2)
        there = [evaluator.evaluate(*place) for place in evaluator.streams()]
    evaluator = Evaluator(StreamingThinker.load(checkpoint), source, threshold=-100.0, reply_tokens=2)
    assert there == [evaluator.evaluate(*place) for place in evaluator.streams()]
    assert all(len(one.triggers) == one.chunks for one in there)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_listeners_share_a_pass(dtype: torch.dtype, checkpoint: Path) -> None:
    tokenizer = QwenTokenizer.load()
    with pretended_gpu() as gpu:
        model = StreamingThinker.load(checkpoint, Placement(gpu, dtype)).eval()
        assert model.lm_head.weight.dtype == dtype
        cache = SeatedCache(2)
        listeners = [Listener(model, tokenizer, "Name what you hear.", ANSWERS, cache) for _ in range(2)]
        features = np.random.default_rng(1).normal(size=(3, model.streaming.slots, 32)).astype(np.float32)
        for number in range(3):
            events = drain_all(listeners, [features[number : number + 1]] * 2, [None, None])
            assert all(isinstance(one[-1], ResponseCreated) for one in events)
            while any(listener.responding for listener in listeners):
                step_all([listener for listener in listeners if listener.responding])
        listeners[0].close()


def test_the_player_of_the_benches(checkpoint: Path) -> None:
    pieces = [np.random.default_rng(seed).normal(0, 0.05, 16_000).astype(np.float32) for seed in range(2)]
    with pretended_gpu() as gpu:
        there = StreamPlayer.load(checkpoint, Placement(gpu), threshold=0.001, longest_response=2).play(pieces, "Answer.", 0.5)
    here = StreamPlayer.load(checkpoint, threshold=0.001, longest_response=2).play(pieces, "Answer.", 0.5)
    assert there == here and any(one.responses for one in here)


def test_analyses(checkpoint: Path) -> None:
    with pretended_gpu() as gpu:
        model = StreamingThinker.load(checkpoint, Placement(gpu)).eval()
        slots = model.streaming.slots
        reading = Reading(
            task="event_description",
            rows=torch.tensor([[5, *[AUDIO_ROW] * slots, 7, *[AUDIO_ROW] * slots, 9]]),
            mel=torch.randn(2, 128, 40, generator=torch.Generator().manual_seed(1)),
            audio_at=torch.stack([torch.arange(1, 1 + slots), torch.arange(2 + slots, 2 + 2 * slots)]),
            control_at=torch.tensor([1 + slots, 2 + 2 * slots]),
            responds=torch.tensor([True, False]),
        )
        layers = continuity(model, [reading])
        assert len(layers) == 4 and head_importance(model, [reading]).base >= 0


def test_the_names_of_devices_and_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Placement.of() == Placement(torch.device("cpu"), torch.float32)
    assert Placement.of("cpu", "bf16").precision == "bf16"
    for device, dtype, why in [
        ("gpu", "auto", "unknown device"),
        ("cuda:x", "auto", "unknown device"),
        ("cuda", "auto", "PyTorch finds no GPU"),
        ("cpu", "fp16", "unknown precision"),
    ]:
        with pytest.raises(InputError, match=why):
            Placement.of(device, dtype)
    with pretended_gpu() as gpu:
        assert Placement.of() == Placement.of("cuda:0", "bf16") == Placement(gpu, torch.bfloat16)
        assert Placement.of("cpu") == Placement() and Placement.of("cuda", "fp32") == Placement(gpu)
        with pytest.raises(InputError, match="has 1 GPU"):
            Placement.of("cuda:1")
