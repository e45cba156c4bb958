"""The learning proof's corpora: what is held out is held out, and what a reply may be is what the sub-task says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.bench.experiments.learning.__main__ import FIGURES, summarise
from soundflow.bench.experiments.learning.corpora import BOTH, LONG, MANY, Spec, make_corpus, make_index, replies
from soundflow.bench.experiments.learning.proof import WITHIN, trivial
from soundflow.bench.experiments.learning.recordings import SOUNDS, write_recordings
from soundflow.bench.experiments.learning.statistics import interval
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.taxonomy import Urgency, urgency
from soundflow.training.corpus import StoredCorpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredCorpus]:
    root = tmp_path_factory.mktemp("learning")
    make_index(root, per_class={"train": 2, "test": 2})
    specs = {"interleaved": Spec("train", 6, BOTH, MANY), "heldout": Spec("test", 6, BOTH, LONG)}
    return {name: StoredCorpus(make_corpus(root, name, spec, seed=1)) for name, spec in specs.items()}


def audible_hashes(corpus: StoredCorpus) -> set[str]:
    """What is audible in a corpus, noise included."""
    found = set()
    for shard, size in enumerate(corpus.shard_sizes):
        for index in range(size):
            plan = corpus.plan(shard, index)
            found |= {clip.content_sha256 for clip in plan.clips}
            found |= {noise.content_sha256 or str(noise.procedural) for noise in plan.noises}
    return found


def test_no_sound_of_a_held_out_stream_is_in_a_training_stream(corpora: dict[str, StoredCorpus]) -> None:
    train, test = audible_hashes(corpora["interleaved"]), audible_hashes(corpora["heldout"])
    assert train and test and not train & test


def test_half_the_classes_call_for_a_response_and_no_clip_is_like_another(tmp_path: Path) -> None:
    verdicts = [urgency(label, caption) for label, (_, caption) in SOUNDS.items()]
    assert verdicts == [Urgency.RESPOND] * 6 + [Urgency.IGNORE] * 6
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        write_recordings(folder, seed=0, per_class={"train": 2, "test": 1})
    names = sorted(path.name for path in first.glob("*.wav"))
    takes = [soundfile.read(first / name, dtype="float32")[0] for name in names]
    assert len(names) == 45 and len({take.tobytes() for take in takes}) == 45
    for name, take in zip(names, takes, strict=True):
        assert np.isfinite(take).all() and 0.05 < np.abs(take).max() < 1, name
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_replies_are_those_the_sub_task_allows(corpora: dict[str, StoredCorpus]) -> None:
    allowed, tokenizer = replies(corpora["heldout"]), QwenTokenizer.load()
    assert allowed
    for expected, texts in allowed.items():
        assert expected in texts and len(texts) >= 3
        text = tokenizer.decode(expected)
        caption = next(caption for _, caption in SOUNDS.values() if caption in text)
        assert all(caption in tokenizer.decode(text) for text in texts)


def test_listeners_without_a_model_get_what_they_deserve(corpora: dict[str, StoredCorpus]) -> None:
    found = trivial(corpora["heldout"])
    silent, always = found["always_silent"]["k=2"], found["always_respond"]["k=2"]
    assert silent["f1"] == 0 and always["recall"] == 1 and always["f1"] < 0.4 and always["text_accuracy"] == 0


@pytest.mark.parametrize(
    ("f1", "false_alarms", "ok"),
    [((0.84, 0.87), (1.0, 2.5), True), ((0.83, 0.86), (0.0, 0.0), False), ((0.9, 0.9), (1.9, 2.2), False)],
)
def test_the_summary_says_whether_the_limits_are_kept(
    f1: tuple[float, float], false_alarms: tuple[float, float], ok: bool
) -> None:
    def at(value: float, alarms: float) -> dict[str, dict[str, float]]:
        return {f"k={k}": dict.fromkeys(FIGURES, value) | {"false_alarms_per_min": alarms} for k in WITHIN}

    results = [{"seed": seed, "trained": at(*figures)} for seed, figures in enumerate(zip(f1, false_alarms, strict=True))]
    found = summarise(results, {"always_silent": at(0.0, 0.0)}, cpu=7.0)
    expected = {"f1", "recall", "precision", "false_alarms_per_min", "baselines", "seeds", "cpu_seconds"}
    assert expected <= found.keys() and (found["ok"], found["seeds"], found["cpu_seconds"]) == (ok, 2, 7.0)
    assert found["f1"] == pytest.approx(sum(f1) / 2) and found["baselines"]["always_silent"]["f1"] == 0.0
    low, high = found["intervals"]["f1"]
    if f1[0] == f1[1]:
        assert low == pytest.approx(f1[0]) and high == pytest.approx(f1[0])
    else:
        assert low < found["f1"] < high


def test_intervals_by_hand() -> None:
    assert interval([0.5]) is None
    low, high = interval([0.8, 0.9]) or (0.0, 0.0)
    assert low == pytest.approx(0.85 - 12.706 * 0.05, abs=1e-3) and high == pytest.approx(0.85 + 12.706 * 0.05, abs=1e-3)
