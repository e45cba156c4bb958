"""One stream's decoder loop (paper, Algorithm 4) without a clock: features in at interruption points, events out.

Settled, from measurement: a drain of several chunks reads the control logits at EVERY drained chunk's end (one forward pass gives
them) and responds at the drain's end if any crosses the threshold, so that a trigger is never lost, only delayed by its drain.
The context never outgrows the trained window: at an interruption point it is rebuilt from the instruction and the last half. What
several streams hear or say at a time goes through the model together (`hear_all`, `step_all`).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from soundflow.model.decoding import StreamDecoder, hear_together, next_ids
from soundflow.model.seats import SeatedCache
from soundflow.model.thinker import StreamingThinker
from soundflow.schemas import constants as c
from soundflow.schemas.tokens import TEXT_VOCABULARY
from soundflow.streaming.events import Event, ListenConfig


class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ...

    def bytes_of(self, ids: list[int]) -> bytes:
        """UTF-8, possibly in mid-character."""
        ...


Features = Tensor | NDArray[np.float32]


class Listener:
    """Decides about chunks and speaks, one token a step. What it returns depends on features and drains alone."""

    def __init__(
        self,
        model: StreamingThinker,
        tokenizer: Tokenizer,
        instruction: str,
        config: ListenConfig = ListenConfig(),  # noqa: B008 (frozen)
        cache: SeatedCache | None = None,
    ):
        """Listeners that are to hear together share a model and a `cache`."""
        self.config, self.tokenizer, self.instruction = config, tokenizer, instruction
        self.decoder = StreamDecoder(model, tokenizer.encode(instruction), cache)
        self.heard = 0
        """Chunks since the session began."""
        self._opened, self._spoken = 0, 0
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._words = ""
        self._said: list[tuple[int, str]] = []
        """(chunk, text) of responses, as far back as they are remembered."""

    @property
    def speaking(self) -> bool:
        """In mid-response: `step` is next, `hear` is not allowed."""
        return self.decoder.speaking

    def hear(self, features: Features) -> list[Event]:
        """Drain n >= 1 chunks, (n, slots, hidden), at an interruption point; one decision event a chunk."""
        return hear_all([self], [features])[0]

    def step(self) -> list[Event]:
        """One autoregressive step of the response: a token, or its end."""
        return step_all([self])[0]

    def stop(self) -> list[Event]:
        """End the response that is being spoken, if any, here and now."""
        if not self.speaking:
            return []
        self.decoder.close_response()
        return self._end(cut=True)

    def leave(self) -> None:
        """Give the seat in the cache back; nothing follows."""
        self.decoder.leave()

    def _judge(self, logits: NDArray[np.float32]) -> list[Event]:
        """Decide about drained chunks from their control logits (n, 2)."""
        count = len(logits)
        chances = 1.0 / (1.0 + np.exp(logits[:, 0].astype(np.float64) - logits[:, 1]))
        crossed = np.flatnonzero(chances >= self.config.threshold)
        called = [int(at) for at in crossed if at == count - 1 or not self.config.literal]
        respond = bool(called)
        kinds = ["silent"] * (count - 1) + ["response" if respond else "silent"]
        first = self.heard + 1
        self.heard += count
        if respond:
            self.decoder.open_response()
            self._opened, self._spoken, self._words = self.heard, 0, ""
            self._text.reset()
        else:
            self.decoder.stay_silent()
        events = [
            Event.model_validate({"kind": kind, "chunk": chunk, "probability": float(chance)})
            for chunk, (kind, chance) in enumerate(zip(kinds, chances, strict=True), first)
        ]
        if respond:
            by = {"called_by": first + called[0], "called_with": float(chances[called[0]])}
            events[-1] = events[-1].model_copy(update=by)
        return events

    def _spoke(self, id_: int | None) -> list[Event]:
        """A token, or None for <eos>, was said."""
        if id_ is None:
            return self._end(cut=False)
        text = self._text.decode(self.tokenizer.bytes_of([id_])) if id_ < TEXT_VOCABULARY and self._is_text(id_) else ""
        self._spoken += 1
        self._words += text
        events = [Event(kind="token", chunk=self._opened, text=text)]
        return events + (self.stop() if self._spoken == self.config.longest_response else [])

    def _is_text(self, id_: int) -> bool:
        """A layout's tag (an emotion) is no text, though its id is an ordinary one."""
        return not (self._spoken == 0 and id_ in self.decoder.model.vocabulary.layout.response_tags)

    def _end(self, cut: bool) -> list[Event]:
        rest = self._text.decode(b"", final=True)
        self._said.append((self._opened, self._words + rest))
        return [Event(kind="eos", chunk=self._opened, text=rest, cut=cut)]

    def _make_room(self, count: int) -> list[Event]:
        """Re-anchor when `count` more chunks would outgrow the window, in chunks or in tokens."""
        config, decoder = self.config, self.decoder
        tokens = decoder.tokens + count * (decoder.chunk_tokens + 1)
        if not decoder.chunks or (decoder.chunks + count <= config.window_chunks and tokens <= config.window_tokens):
            return []
        keep = min(config.keep_chunks, max(config.window_chunks - count, 0), decoder.chunks)
        while keep and decoder.tokens_of(keep) > config.window_tokens // 2:
            keep -= 1
        oldest = self.heard - keep + 1
        left = [(chunk, text) for chunk, text in self._said if chunk < oldest]
        decoder.reanchor(keep, self.tokenizer.encode(self._instruction_and(left)))
        self._said = self._said if config.remember_tokens else self._said[len(left) :]
        return [Event(kind="reanchored", chunk=max(oldest, 1))]

    def _instruction_and(self, left: Sequence[tuple[int, str]]) -> str:
        """The instruction with a line for each thing said before the window; the oldest that no longer fit are forgotten."""
        text, room = "", self.config.remember_tokens
        for chunk, words in reversed(left):
            seconds = chunk * self.decoder.model.streaming.chunk_samples / c.SAMPLE_RATE
            line = f"\n{seconds:.1f} s: {words}"
            room -= len(self.tokenizer.encode(line))
            if room < 0:
                break
            text = line + text
        return f"{self.instruction}\nSaid before:{text}" if text else self.instruction


def hear_all(listeners: Sequence[Listener], features: Sequence[Features]) -> list[list[Event]]:
    """`Listener.hear` for several, of one model and one cache, in one pass."""
    before = [listener._make_room(len(chunks)) for listener, chunks in zip(listeners, features, strict=True)]
    between = [not listener.config.literal for listener in listeners]
    logits = hear_together([listener.decoder for listener in listeners], features, between)
    return [told + listener._judge(one) for told, listener, one in zip(before, listeners, logits, strict=True)]


def step_all(listeners: Sequence[Listener]) -> list[list[Event]]:
    """`Listener.step` for several, of one model and one cache, in one pass."""
    ids = next_ids([listener.decoder for listener in listeners])
    return [listener._spoke(id_) for listener, id_ in zip(listeners, ids, strict=True)]
