"""Corpora of the learning proof, made by the pipeline: recordings, clip index and builds. Splits are by clip.

Held-out streams use no foreground or background clip of training streams; noise tracks are procedural, with a seed per stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from soundflow.bench.experiments.learning.recordings import write_recordings
from soundflow.operators.tasks import POLICIES
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.pipeline.build.run import build
from soundflow.pipeline.clips.index import index_clips
from soundflow.schemas.clip import TfjpConfig
from soundflow.schemas.documents import to_yaml
from soundflow.training.corpus import StoredCorpus

CLIPS_PER_CLASS: Final[Mapping[str, int]] = {"train": 48, "test": 16}
STREAMS_PER_SHARD: Final = 50
Scene = Mapping[str, object]
ONE: Final[Scene] = {"planner": "random", "events": [1, 1], "max_seconds": 8, "background": [0, 0], "ambient": [0, 0]}
"""Single sounds, drawn uniformly from all clips, so that no class is rare in the first stages."""
MANY: Final[Scene] = {"events": [5, 9], "gap_seconds": [0.2, 1.6], "max_seconds": 24, "background": [0, 1]}
LONG: Final[Scene] = {"events": [8, 14], "gap_seconds": [0.2, 1.6], "max_seconds": 45, "background": [0, 1]}
DESCRIBE: Final = {"event_description": 1.0}
BOTH: Final = {"event_description": 0.5, "proactive_respond": 0.5}


@dataclass(frozen=True, slots=True)
class Spec:
    """A corpus of the proof."""

    split: str
    streams: int
    tasks: Mapping[str, float]
    scene: Scene


CORPORA: Final = {
    "single": Spec("train", 360, DESCRIBE, ONE),
    "streaming": Spec("train", 500, DESCRIBE, MANY),
    "interleaved": Spec("train", 400, BOTH, MANY),
    "heldout": Spec("test", 48, BOTH, LONG),
}
"""Corpora of stages 0 to 2, stage 3, stage 4 and the evaluation."""


def make_index(
    root: Path,
    tfjp: TfjpConfig = TfjpConfig(),  # noqa: B008 (frozen)
    name: str = "clips",
    per_class: Mapping[str, int] = CLIPS_PER_CLASS,
) -> Path:
    """Synthesize the recordings and index them; existing ones are reused."""
    recordings = root / "recordings"
    if not (recordings / "manifest.csv").is_file():
        write_recordings(recordings, seed=0, per_class=per_class)
    index_clips([recordings / "manifest.csv"], root / name, tfjp=tfjp, workers=1)
    return root / name


def make_corpus(root: Path, name: str, spec: Spec, seed: int, clips: str = "clips", scene: Scene = MappingProxyType({})) -> Path:
    """Build or resume a corpus inline; `scene` updates the scene of the recipe."""
    recipe = {
        "name": name,
        "clips": clips,
        "split": spec.split,
        "seed": seed,
        "streams": spec.streams,
        "shards": -(-spec.streams // STREAMS_PER_SHARD),
        "tasks": dict(spec.tasks),
        "scene": dict(spec.scene) | dict(scene),
    }
    path = root / f"{name}.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    build(path, root / name, executor="inline")
    return root / name


def replies(corpus: StoredCorpus) -> dict[tuple[int, ...], frozenset[tuple[int, ...]]]:
    """Return the token ids of each response → ids of all texts that the policy of its sub-task allows for the same event.

    Templates give the same answer in several wordings drawn at random, which a model cannot predict.
    """
    tokenizer = QwenTokenizer.load()
    found: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for shard, size in enumerate(corpus.shard_sizes):
        for index in range(size):
            plan = corpus.plan(shard, index)
            for response in plan.responses:
                texts = POLICIES[plan.task].response_texts(plan.clips[response.event])
                expected = tuple(tokenizer.encode(response.text))  # a piece of a running text has no alternative
                ids = {tuple(tokenizer.encode(text)) for text in texts} if response.text in texts else {expected}
                found.setdefault(expected, set()).update(ids)
    return {expected: frozenset(allowed) for expected, allowed in found.items()}
