"""The decoder loop of one stream (paper, Algorithm 4) without a clock: features in at interruption points, events out.

A drain reads all waiting chunks. Settled by measurement: the control logits are read at the end of EVERY drained chunk (one
forward pass gives them all), and a response opens at the drain's end if any of them reaches the threshold. A trigger is never
lost, only delayed by its drain. The context never outgrows the trained window: at an interruption point it is rebuilt from the
instruction and the last half. Several streams share forward passes (`drain_all`, `step_all`).
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from soundflow.model.decoding import StreamDecoder, next_ids, prefill_batch
from soundflow.model.seats import SeatedCache
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas import constants as c
from soundflow.schemas.tokens import TEXT_VOCABULARY
from soundflow.streaming.events import (
    ChunkSilent,
    DecoderEvent,
    ListenConfig,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    TextDelta,
)


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ...

    def bytes_of(self, ids: list[int]) -> bytes:
        """Return the UTF-8 bytes of ids; they may end within a character."""
        ...


Features = Tensor | NDArray[np.float32]
"""Audio embeddings of n chunks, (n, slots, hidden)."""


class Listener:
    """Decides about chunks and generates responses. Its events depend only on the features and on how they are drained."""

    def __init__(
        self,
        model: StreamingThinker,
        tokenizer: Tokenizer,
        instruction: str,
        config: ListenConfig = ListenConfig(),  # noqa: B008 (frozen)
        cache: SeatedCache | None = None,
    ):
        """Open a stream. Listeners that share forward passes share a model and a `cache`."""
        self.config, self.tokenizer, self.instruction = config, tokenizer, instruction
        self.decoder = StreamDecoder(model, tokenizer.encode(instruction), cache)
        self.number = 0
        """Number of the newest chunk."""
        self._numbers: deque[int] = deque()
        """Numbers of the chunks in the context."""
        self._opened, self._generated = 0, 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._responses: list[tuple[int, str]] = []
        """(chunk, text) of earlier responses, as far back as they are remembered."""

    @property
    def responding(self) -> bool:
        """Whether a response is open: `step` is next, `drain` is not allowed."""
        return self.decoder.responding

    def drain(self, features: Features, numbers: Sequence[int] | None = None) -> list[DecoderEvent]:
        """Read n >= 1 chunks (n, slots, hidden) at an interruption point; return one decision per chunk.

        `numbers` are the chunks' numbers in the session; by default they follow the last one.
        """
        return drain_all([self], [features], [numbers])[0]

    def step(self) -> list[DecoderEvent]:
        """Generate one token of the open response."""
        return step_all([self])[0]

    def cancel(self) -> list[DecoderEvent]:
        """End the open response, if any."""
        if not self.responding:
            return []
        self.decoder.close_response()
        return [self._finish(cut=True)]

    def close(self) -> None:
        """Release the seat in the cache. The listener cannot be used afterwards."""
        self.decoder.close()

    def _decide(self, logits: NDArray[np.float32], numbers: Sequence[int]) -> list[DecoderEvent]:
        """Decide about drained chunks from their control logits (n, 2)."""
        last = len(logits) - 1
        probabilities = 1.0 / (1.0 + np.exp(logits[:, 0].astype(np.float64) - logits[:, 1]))
        crossed = np.flatnonzero(probabilities >= self.config.threshold)
        calls = [int(place) for place in crossed if place == last or not self.config.literal]
        silent = [
            ChunkSilent(chunk=number, probability=float(probability))
            for number, probability in zip(numbers, probabilities, strict=True)
        ]
        self.number = numbers[-1]
        self._numbers.extend(numbers)
        if not calls:
            self.decoder.stay_silent()
            return [*silent]
        self.decoder.open_response()
        self._opened, self._generated, self._text = self.number, 0, ""
        self._utf8.reset()
        created = ResponseCreated(
            chunk=self.number,
            probability=float(probabilities[-1]),
            called_by=numbers[calls[0]],
            called_with=float(probabilities[calls[0]]),
        )
        return [*silent[:-1], created]

    def _generate(self, id_: int | None) -> list[DecoderEvent]:
        """Add a generated token to the response; None is <eos>."""
        if id_ is None:
            return [self._finish(cut=False)]
        text = self._utf8.decode(self.tokenizer.bytes_of([id_])) if id_ < TEXT_VOCABULARY and self._is_text(id_) else ""
        self._generated += 1
        self._text += text
        delta = TextDelta(chunk=self._opened, delta=text)
        return [delta, *self.cancel()] if self._generated == self.config.longest_response else [delta]

    def _is_text(self, id_: int) -> bool:
        """False for a layout's response tag (an emotion), whose id is an ordinary text id."""
        return not (self._generated == 0 and id_ in self.decoder.model.vocabulary.layout.response_tags)

    def _finish(self, cut: bool) -> ResponseDone:
        text = self._text + self._utf8.decode(b"", final=True)
        self._responses.append((self._opened, text))
        return ResponseDone(chunk=self._opened, text=text, cut=cut)

    def _make_room(self, count: int) -> list[DecoderEvent]:
        """Re-anchor if `count` more chunks would outgrow the window, in chunks or in tokens."""
        config, decoder = self.config, self.decoder
        tokens = decoder.tokens + count * (decoder.chunk_tokens + 1)
        if not decoder.chunks or (decoder.chunks + count <= config.window_chunks and tokens <= config.window_tokens):
            return []
        keep = min(config.keep_chunks, max(config.window_chunks - count, 0), decoder.chunks)
        while keep and decoder.tokens_of(keep) > config.window_tokens // 2:
            keep -= 1
        while len(self._numbers) > keep:
            self._numbers.popleft()
        oldest = self._numbers[0] if keep else self.number + 1
        forgotten = [(chunk, text) for chunk, text in self._responses if chunk < oldest]
        decoder.reanchor(keep, self.tokenizer.encode(self._instruction_with(forgotten)))
        self._responses = self._responses if config.remember_tokens else self._responses[len(forgotten) :]
        return [Reanchored(chunk=oldest)]

    def _instruction_with(self, responses: Sequence[tuple[int, str]]) -> str:
        """Return the instruction followed by one line per response, the newest that fit into `remember_tokens`."""
        lines, room = "", self.config.remember_tokens
        for chunk, text in reversed(responses):
            seconds = chunk * self.decoder.model.streaming.chunk_samples / c.SAMPLE_RATE
            line = f"\n{seconds:.1f} s: {text}"
            room -= len(self.tokenizer.encode(line))
            if room < 0:
                break
            lines = line + lines
        return f"{self.instruction}\nSaid before:{lines}" if lines else self.instruction


def drain_all(
    listeners: Sequence[Listener], features: Sequence[Features], numbers: Sequence[Sequence[int] | None]
) -> list[list[DecoderEvent]]:
    """Run `Listener.drain` for several listeners of one model and one cache in one pass."""
    events = [listener._make_room(len(chunks)) for listener, chunks in zip(listeners, features, strict=True)]
    between = [not listener.config.literal for listener in listeners]
    logits = prefill_batch([listener.decoder for listener in listeners], features, between)
    for listener, drained, chunks, given in zip(listeners, events, logits, numbers, strict=True):
        following = range(listener.number + 1, listener.number + 1 + len(chunks))
        drained += listener._decide(chunks, following if given is None else given)
    return events


def step_all(listeners: Sequence[Listener]) -> list[list[DecoderEvent]]:
    """Run `Listener.step` for several listeners of one model and one cache in one pass."""
    ids = next_ids([listener.decoder for listener in listeners])
    return [listener._generate(id_) for listener, id_ in zip(listeners, ids, strict=True)]
