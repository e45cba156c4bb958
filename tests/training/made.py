"""Synthetic streams without torch, since loader processes import this too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import to_npz, tokenize
from soundflow.schemas import constants as c
from soundflow.schemas.identity import rng_for
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.tokens import SOUNDFLOW
from soundflow.training.sequences import Turns, parse_turns


@dataclass
class MadeCorpus:
    """A `StreamSource` without files: streams of some lengths with responses at some chunks, and noise as audio."""

    shards: list[list[tuple[int, list[int]]]]
    """Per shard: (chunks, chunks that respond, 1-based)."""
    id: str = "made"
    read: list[tuple[int, int]] = field(default_factory=list)
    """Streams whose turns were read."""
    made: dict[tuple[int, int], Turns] = field(default_factory=dict)

    @property
    def shard_sizes(self) -> list[int]:
        return [len(shard) for shard in self.shards]

    def name(self, shard: int, index: int) -> str:
        return f"sf-{0:012x}-{shard:06d}-{index:05d}"

    def turns(self, shard: int, index: int) -> Turns:
        self.read.append((shard, index))
        if (shard, index) not in self.made:
            self.made[shard, index] = self._turns(*self.shards[shard][index])
        return self.made[shard, index]

    def _turns(self, chunks: int, responses: list[int]) -> Turns:
        texts = [(chunk, f"I hear number {chunk}.") for chunk in responses]
        tokens = tokenize("Tell me what you hear.", chunks, texts, QwenTokenizer.load(), SOUNDFLOW)
        return parse_turns(to_npz(tokens), "made")

    def plan(self, shard: int, index: int) -> StreamPlan:
        raise NotImplementedError

    def audio(self, shard: int, index: int, start: int, stop: int) -> np.ndarray:
        chunks, _ = self.shards[shard][index]
        rng = rng_for(self.id, shard, index, "audio")
        whole = 0.05 * rng.standard_normal(chunks * c.CHUNK_SAMPLES, dtype=np.float32)
        return np.pad(whole, (0, max(stop - len(whole), 0)))[start:stop]


def some_corpus(shards: int = 3, streams: int = 4, longest: int = 9) -> MadeCorpus:
    """Streams of mixed lengths."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(shards):
        shard = []
        for _ in range(streams):
            chunks = int(rng.integers(2, longest + 1))
            shard.append((chunks, sorted(rng.choice(np.arange(1, chunks + 1), int(rng.integers(0, 3)), replace=False).tolist())))
        made.append(shard)
    return MadeCorpus(made)
