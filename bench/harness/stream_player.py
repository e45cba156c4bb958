"""Player of checkpoints: processes recordings chunk by chunk with the front end, encoder and `streaming.listener` of the runtime.

The recordings of a stream follow one another, each with a pause of quiet room tone after it. A response belongs to the recording
in whose span (recording and pause, in whole chunks) it opens. There is no clock: every chunk is drained on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from soundflow.bench.harness.sounds import Audio, append_room_tone
from soundflow.model.device import Placement
from soundflow.model.frontend import CausalLogMel, chunked
from soundflow.model.thinker import StreamingThinker
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas import constants as c
from soundflow.streaming.events import ChunkSilent, ListenConfig, ResponseCreated, ResponseDone
from soundflow.streaming.listener import Listener

ENCODED_AT_A_TIME = 64
"""Chunks per batch of the encoder. It bounds memory for recordings of an hour."""


@dataclass(frozen=True, slots=True)
class TimedResponse:
    """A response and the chunk at which it opened."""

    chunk: int
    """Index of the chunk in the recording's span, from 0."""
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Playback:
    """Decisions and responses of a model during one recording and the pause after it."""

    probabilities: tuple[float, ...]
    """Probability of <response> at the end of each chunk."""
    responses: tuple[TimedResponse, ...]
    seconds: float
    """Length of the span."""

    @property
    def text(self) -> str:
        """Text of all responses, in order."""
        return " ".join(one.text.strip() for one in self.responses if one.text.strip())


class StreamPlayer:
    """Plays streams to a checkpoint."""

    def __init__(self, model: StreamingThinker, threshold: float = 0.5, longest_response: int = 64):
        self.model, self.tokenizer = model.eval(), QwenTokenizer.load()
        chunks = c.WINDOW_CHUNKS * c.CHUNK_SAMPLES // model.streaming.chunk_samples
        self.config = ListenConfig(
            threshold=threshold, window_chunks=chunks, keep_chunks=chunks // 2, longest_response=longest_response
        )

    @classmethod
    def load(
        cls, checkpoint: Path, placement: Placement | None = None, threshold: float = 0.5, longest_response: int = 64
    ) -> StreamPlayer:
        """Load a checkpoint written by `soundflow train` (default: fp32 on the CPU); raises InputError if it is not one."""
        return cls(StreamingThinker.load(checkpoint, placement or Placement()), threshold, longest_response)

    def play(self, recordings: Sequence[Audio], instruction: str, pause_seconds: float = 1.0) -> list[Playback]:
        """Play `recordings` (16 kHz) as one stream, with a common context; return one entry per recording."""
        size = self.model.streaming.chunk_samples
        spans = [append_room_tone(one, round(pause_seconds * c.SAMPLE_RATE), size) for one in recordings]
        listener = Listener(self.model, self.tokenizer, instruction, self.config)
        chunks = self._features(np.concatenate(spans)) if spans else iter(())
        return [self._listen(listener, chunks, len(span) // size) for span in spans]

    def _listen(self, listener: Listener, chunks: Iterator[torch.Tensor], count: int) -> Playback:
        probabilities, responses = [], []
        for number in range(count):
            events = listener.drain(next(chunks)[None])
            decision = next(event for event in events if isinstance(event, ChunkSilent | ResponseCreated))
            probabilities.append(decision.probability)
            while listener.responding:
                events += listener.step()
            texts = [event.text for event in events if isinstance(event, ResponseDone)]
            responses += [TimedResponse(number, text, decision.probability) for text in texts]
        return Playback(tuple(probabilities), tuple(responses), count * self.model.streaming.chunk_samples / c.SAMPLE_RATE)

    @torch.inference_mode()
    def _features(self, samples: Audio) -> Iterator[torch.Tensor]:
        """Yield the audio embeddings (slots, hidden) of each chunk."""
        size, front_end = self.model.streaming.chunk_samples, CausalLogMel()
        for start in range(0, len(samples), ENCODED_AT_A_TIME * size):
            mel = front_end.push(samples[start : start + ENCODED_AT_A_TIME * size])
            frames = torch.from_numpy(chunked(mel, size // 160)).to(self.model.device)
            yield from self.model.encode_chunks(frames)
