"""Streaming evaluation: a model reads a stream chunk by chunk, decides and responds without seeing later audio.

Definitions, used everywhere:
* an event is a response of the timeline; a trigger is a chunk at which the model opens a response;
* a trigger finds an event when it opens at most k chunks before or after the event's chunk. Events in order of time take the
  nearest free trigger; each trigger finds at most one event;
* recall is found / events, precision is found / triggers, F1 their harmonic mean;
* false alarms per minute are triggers that find no event, per minute of audio;
* balanced chunk accuracy is the mean of the recall of response chunks and the recall of silent chunks (k = 0);
* text accuracy is the share of found events with an acceptable reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from soundflow.model.decoding import StreamDecoder
from soundflow.model.frontend import Mel
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas import constants as c
from soundflow.schemas.tokens import TokenLayout, layout_of
from soundflow.training.corpus import StreamSource
from soundflow.training.loader import BatchBuilder, LoaderConfig
from soundflow.training.sequences import Turns, Window

REPLY_TOKENS: Final = 64
"""Maximum text tokens of a reply; longer ones are cut."""
KEPT_CHUNKS: Final = c.WINDOW_CHUNKS // 2
"""Chunks kept when the window is full (settled): the last half."""


@dataclass(frozen=True, slots=True)
class EvaluatedStream:
    """The events and triggers of one stream."""

    events: tuple[tuple[int, tuple[int, ...]], ...]
    """Expected responses: (chunk, text ids), 0-based."""
    triggers: tuple[tuple[int, tuple[int, ...]], ...]
    """Responses of the model: (chunk, text ids), 0-based."""
    chunks: int
    seconds: float


@dataclass(slots=True)
class StreamingScore:
    """Counts over streams, and the figures derived from them."""

    events: int = 0
    triggers: int = 0
    found: int = 0
    texts: int = 0
    seconds: float = 0.0
    response_chunks: int = 0
    response_right: int = 0
    silent_chunks: int = 0
    silent_right: int = 0
    delays: list[int] = field(default_factory=list)
    """Chunks from an event to the trigger that found it."""

    @property
    def recall(self) -> float:
        """Found / events."""
        return self.found / max(self.events, 1)

    @property
    def precision(self) -> float:
        """Found / triggers; 0 without triggers."""
        return self.found / max(self.triggers, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return 2 * self.found / max(self.events + self.triggers, 1)

    @property
    def false_alarms_per_minute(self) -> float:
        """Triggers that found no event, per minute of audio."""
        return (self.triggers - self.found) / max(self.seconds / 60, 1e-9)

    @property
    def balanced_chunk_accuracy(self) -> float:
        """Mean recall of response chunks and of silent chunks."""
        return (self.response_right / max(self.response_chunks, 1) + self.silent_right / max(self.silent_chunks, 1)) / 2

    @property
    def text_accuracy(self) -> float:
        """Acceptable replies / found events."""
        return self.texts / max(self.found, 1)

    def to_json(self) -> dict[str, float]:
        """Return all figures."""
        return {
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
            "false_alarms_per_min": self.false_alarms_per_minute,
            "balanced_chunk_accuracy": self.balanced_chunk_accuracy,
            "text_accuracy": self.text_accuracy,
            "mean_delay_chunks": sum(self.delays) / max(len(self.delays), 1),
            "events": self.events,
            "triggers": self.triggers,
            "minutes": self.seconds / 60,
        }


Acceptable = Callable[[tuple[int, ...], tuple[int, ...]], bool]
"""(expected ids, ids of the reply) → whether the reply is acceptable."""


class Evaluator:
    """Evaluates a model on the streams of a source."""

    def __init__(self, model: StreamingThinker, source: StreamSource, threshold: float = 0.0, reply_tokens: int = REPLY_TOKENS):
        """A response opens when the logit of <response> exceeds that of <silent> by more than `threshold`."""
        self.model, self.source, self.threshold, self.reply_tokens = model.eval(), source, threshold, reply_tokens
        config = LoaderConfig(seed=0, micro_batch=1, window_chunks=1, streaming=model.streaming)
        self.builder = BatchBuilder(source, config)

    def streams(self) -> Iterator[tuple[int, int]]:
        """Yield (shard, index) of every stream."""
        for shard, size in enumerate(self.source.shard_sizes):
            for index in range(size):
                yield shard, index

    def evaluate(self, shard: int, index: int) -> EvaluatedStream:
        """Run the model on one stream."""
        turns = self.builder.turns(shard, index)
        mel = self.builder.mel(shard, index, Window(0, turns.chunks - 1, 0))
        triggers = tuple(self._triggers(turns, mel))
        size = self.model.streaming.chunk_samples
        return EvaluatedStream(_events(turns), triggers, turns.chunks, turns.chunks * size / c.SAMPLE_RATE)

    @torch.inference_mode()
    def _triggers(self, turns: Turns, mel: Mel) -> Iterator[tuple[int, tuple[int, ...]]]:
        layout = layout_of(turns.layout)
        features = self.model.encode_chunks(torch.from_numpy(mel).to(self.model.device))
        decoder = StreamDecoder(self.model, _instruction(turns, layout))
        window = c.WINDOW_CHUNKS * c.CHUNK_SAMPLES // self.model.streaming.chunk_samples
        for chunk in range(turns.chunks):
            if decoder.chunks >= window:
                decoder.reanchor(window * KEPT_CHUNKS // c.WINDOW_CHUNKS)
            silent, response = decoder.prefill(features[chunk : chunk + 1])[0]
            if response - silent <= self.threshold:
                decoder.stay_silent()
                continue
            yield chunk, tuple(_reply(decoder, self.reply_tokens))


def _reply(decoder: StreamDecoder, longest: int) -> list[int]:
    decoder.open_response()
    ids: list[int] = []
    while decoder.responding:
        if len(ids) == longest:
            decoder.close_response()
            break
        id_ = decoder.next_id()
        ids += [] if id_ is None else [id_]
    return ids


def _instruction(turns: Turns, layout: TokenLayout) -> tuple[int, ...]:
    return turns.head[len(layout.prefix) : len(turns.head) - len(layout.prefix_end)]


def _events(turns: Turns) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return tuple((chunk, response) for chunk, response in enumerate(turns.responses) if response is not None)


def score(
    streams: Sequence[EvaluatedStream], within: int, acceptable: Acceptable = lambda expected, reply: expected == reply
) -> StreamingScore:
    """Score streams by the definitions of this module; `within` is k."""
    total = StreamingScore()
    for stream in streams:
        pairs = _match([chunk for chunk, _ in stream.events], [chunk for chunk, _ in stream.triggers], within)
        due, opened = {chunk for chunk, _ in stream.events}, {chunk for chunk, _ in stream.triggers}
        total.events += len(stream.events)
        total.triggers += len(stream.triggers)
        total.found += len(pairs)
        total.texts += sum(acceptable(stream.events[event][1], stream.triggers[trigger][1]) for event, trigger in pairs)
        total.delays += [stream.triggers[trigger][0] - stream.events[event][0] for event, trigger in pairs]
        total.seconds += stream.seconds
        total.response_chunks += len(due)
        total.response_right += len(due & opened)
        total.silent_chunks += stream.chunks - len(due)
        total.silent_right += stream.chunks - len(due | opened)
    return total


def _match(events: Sequence[int], triggers: Sequence[int], within: int) -> list[tuple[int, int]]:
    """Return (event, trigger) index pairs: events in order take the nearest free trigger at most `within` chunks away."""
    free = set(range(len(triggers)))
    pairs = []
    for event, chunk in enumerate(events):
        near = [trigger for trigger in free if abs(triggers[trigger] - chunk) <= within]
        if near:
            best = min(near, key=lambda trigger: (abs(triggers[trigger] - chunk), trigger))
            free.remove(best)
            pairs.append((event, best))
    return pairs
