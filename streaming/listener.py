"""One stream's decoder loop (paper, Algorithm 4) without a clock: features in at interruption points, events out.

Settled, from measurement: a drain of several chunks reads the control logits at EVERY drained chunk's end (one forward pass gives
them) and responds at the drain's end if any crosses the threshold, so that a trigger is never lost, only delayed by its drain.
The context never outgrows the trained window: at an interruption point it is rebuilt from the instruction and the last half.
"""

from __future__ import annotations

import codecs
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.decoding import StreamDecoder
from model.thinker import StreamingThinker
from schemas.tokens import TEXT_VOCABULARY
from streaming.events import Event, ListenConfig


class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ...

    def bytes_of(self, ids: list[int]) -> bytes:
        """UTF-8, possibly in mid-character."""
        ...


class Listener:
    """Decides about chunks and speaks, one token a step. What it returns depends on features and drains alone."""

    def __init__(self, model: StreamingThinker, tokenizer: Tokenizer, instruction: str, config: ListenConfig = ListenConfig()):  # noqa: B008 (frozen)
        self.config, self.tokenizer = config, tokenizer
        self.decoder = StreamDecoder(model, tokenizer.encode(instruction))
        self.heard = 0
        """Chunks since the session began."""
        self._opened, self._spoken = 0, 0
        self._text = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def speaking(self) -> bool:
        """In mid-response: `step` is next, `hear` is not allowed."""
        return self.decoder.speaking

    def hear(self, features: Tensor | NDArray[np.float32]) -> list[Event]:
        """Drain n >= 1 chunks, (n, slots, hidden), at an interruption point; one decision event a chunk."""
        count = len(features)
        events = self._make_room(count)
        logits = self.decoder.hear(features, between=not self.config.literal)
        chances = 1.0 / (1.0 + np.exp(logits[:, 0].astype(np.float64) - logits[:, 1]))
        judged = chances[-1:] if self.config.literal else chances
        respond = bool((judged >= self.config.threshold).any())
        kinds = ["silent"] * (count - 1) + ["response" if respond else "silent"]
        first = self.heard + 1
        self.heard += count
        events += [
            Event.model_validate({"kind": kind, "chunk": chunk, "probability": float(chance)})
            for chunk, (kind, chance) in enumerate(zip(kinds, chances, strict=True), first)
        ]
        if respond:
            self.decoder.open_response()
            self._opened, self._spoken = self.heard, 0
            self._text.reset()
        else:
            self.decoder.stay_silent()
        return events

    def step(self) -> list[Event]:
        """One autoregressive step of the response: a token, or its end."""
        id_ = self.decoder.next_id()
        if id_ is None:
            return self._end(cut=False)
        text = self._text.decode(self.tokenizer.bytes_of([id_])) if id_ < TEXT_VOCABULARY and self._is_text(id_) else ""
        self._spoken += 1
        events = [Event(kind="token", chunk=self._opened, text=text)]
        if self._spoken == self.config.longest_response:
            self.decoder.close_response()
            events += self._end(cut=True)
        return events

    def _is_text(self, id_: int) -> bool:
        """A layout's tag (an emotion) is no text, though its id is an ordinary one."""
        return not (self._spoken == 0 and id_ in self.decoder.model.vocabulary.layout.response_tags)

    def _end(self, cut: bool) -> list[Event]:
        return [Event(kind="eos", chunk=self._opened, text=self._text.decode(b"", final=True), cut=cut)]

    def _make_room(self, count: int) -> list[Event]:
        """Re-anchor when `count` more chunks would outgrow the window."""
        if self.decoder.chunks + count <= self.config.window_chunks or not self.decoder.chunks:
            return []
        keep = min(self.config.keep_chunks, max(self.config.window_chunks - count, 0))
        self.decoder.reanchor(keep)
        return [Event(kind="reanchored", chunk=max(self.heard - self.decoder.chunks + 1, 1))]
