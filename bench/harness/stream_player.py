"""A checkpoint listens to recordings as the runtime would: the same front end, encoder and `streaming.listener`, chunk by chunk.

Several recordings in one stream come one after the other, each with a pause behind it in which a quiet room is heard; what opens
in a recording's span (it and its pause, in whole chunks) belongs to it. There is no clock: every chunk is drained as it
comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from soundflow.bench.harness.sounds import Audio, followed
from soundflow.model.frontend import CausalLogMel, chunked
from soundflow.model.thinker import StreamingThinker
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas import constants as c
from soundflow.streaming.events import ChunkSilent, ListenConfig, ResponseCreated, ResponseDone
from soundflow.streaming.listener import Listener

ENCODED_AT_A_TIME = 64
"""Chunks in one batch of the encoder: an hour of audio never stands in memory as features."""


@dataclass(frozen=True, slots=True)
class Said:
    """One response."""

    chunk: int
    """Where it opened, from 0, in its recording's span."""
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Played:
    """What a model did while it heard one recording and the pause behind it."""

    probabilities: tuple[float, ...]
    """Of <response>, at each chunk's end."""
    said: tuple[Said, ...]
    seconds: float
    """Of the span."""

    @property
    def text(self) -> str:
        """All that was said, in order."""
        return " ".join(one.text.strip() for one in self.said if one.text.strip())


class StreamPlayer:
    """Plays streams to one checkpoint."""

    def __init__(self, model: StreamingThinker, threshold: float = 0.5, longest_response: int = 64):
        self.model, self.tokenizer = model.eval(), QwenTokenizer.load()
        chunks = c.WINDOW_CHUNKS * c.CHUNK_SAMPLES // model.streaming.chunk_samples
        self.config = ListenConfig(
            threshold=threshold, window_chunks=chunks, keep_chunks=chunks // 2, longest_response=longest_response
        )

    @classmethod
    def load(cls, checkpoint: Path, threshold: float = 0.5, longest_response: int = 64) -> StreamPlayer:
        """Of a checkpoint `soundflow train` made; InputError when it is none."""
        return cls(StreamingThinker.load(checkpoint), threshold, longest_response)

    def play(self, recordings: Sequence[Audio], instruction: str, pause_seconds: float = 1.0) -> list[Played]:
        """One stream of all `recordings` (16 kHz); an entry each. The context carries over from one to the next."""
        size = self.model.streaming.chunk_samples
        spans = [followed(one, round(pause_seconds * c.SAMPLE_RATE), size) for one in recordings]
        listener = Listener(self.model, self.tokenizer, instruction, self.config)
        chunks = self._features(np.concatenate(spans)) if spans else iter(())
        return [self._hear(listener, chunks, len(span) // size) for span in spans]

    def _hear(self, listener: Listener, chunks: Iterator[torch.Tensor], count: int) -> Played:
        probabilities, said = [], []
        for number in range(count):
            events = listener.drain(next(chunks)[None])
            decision = next(event for event in events if isinstance(event, ChunkSilent | ResponseCreated))
            probabilities.append(decision.probability)
            while listener.responding:
                events += listener.step()
            said += [Said(number, event.text, decision.probability) for event in events if isinstance(event, ResponseDone)]
        return Played(tuple(probabilities), tuple(said), count * self.model.streaming.chunk_samples / c.SAMPLE_RATE)

    @torch.inference_mode()
    def _features(self, samples: Audio) -> Iterator[torch.Tensor]:
        """Audio embeddings (slots, hidden) of one chunk after the other."""
        size, front_end = self.model.streaming.chunk_samples, CausalLogMel()
        for start in range(0, len(samples), ENCODED_AT_A_TIME * size):
            mel = front_end.push(samples[start : start + ENCODED_AT_A_TIME * size])
            frames = torch.from_numpy(chunked(mel, size // 160)).to(self.model.device)
            yield from self.model.encode_chunks(frames)
