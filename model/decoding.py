"""Incremental decoding of live streams: a KV cache that grows by whole chunks and, within a response, by single tokens.

Chunks or tokens of several streams share one forward pass (`prefill_batch`, `next_ids`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundflow.model.seats import SeatedCache
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW


@dataclass(slots=True)
class _Chunk:
    """A chunk of the context."""

    audio: Tensor
    """Audio embeddings (slots, hidden)."""
    written: list[int] = field(default_factory=list)
    """Rows that follow the chunk: <silent>, or <response> text <eos>. Empty until the chunk is decided."""


@dataclass(frozen=True, slots=True)
class _Input:
    """What one stream contributes to a forward pass."""

    stream: StreamDecoder
    rows: list[int]
    audio: list[Tensor]
    """Audio embeddings (slots, hidden) for the AUDIO_ROW positions of `rows`, in order."""


class StreamDecoder:
    """The decoder state of one stream: prefill chunks, decide after the last one, generate a response token by token.

    Nothing can be prefilled while a response is open. A decision costs no forward pass: its row is written to the cache with
    the next input. Arguments and results are token ids of the layout; vocabulary rows stay internal.
    """

    def __init__(self, model: StreamingThinker, instruction: Sequence[int], cache: SeatedCache | None = None):
        """Open a stream.

        `instruction` holds text ids without the layout's prefix, which is added. Streams that share forward passes share a
        `cache`. Raises IndexError when the cache has no free seat.
        """
        self.model = model
        layout = model.vocabulary.layout
        self._head = self._head_of(instruction)
        self._begin, self._end = (model.vocabulary.rows(ids).tolist() for ids in (layout.chunk_begin, layout.chunk_end))
        self._eos, self._tags = model.vocabulary.row(layout.eos), [model.vocabulary.row(tag) for tag in layout.response_tags]
        self._chunks: list[_Chunk] = []
        self._cache = SeatedCache() if cache is None else cache
        self._seat = self._cache.acquire()
        self._unwritten: list[int] = list(self._head)
        self.responding = False
        """Whether a response is open."""

    def close(self) -> None:
        """Release the seat in the cache. The decoder cannot be used afterwards."""
        self._cache.release(self._seat)

    @property
    def tokens(self) -> int:
        """Positions of the context: those in the cache and those still to be written."""
        return self._cache.lengths[self._seat] + len(self._unwritten)

    @property
    def chunks(self) -> int:
        """Chunks of the context."""
        return len(self._chunks)

    def prefill(self, audio: Tensor | NDArray[np.float32], *, between: bool = True) -> NDArray[np.float32]:
        """Append n chunks (n, slots, hidden); return the logits (n, 2) of <silent> and <response> at the end of each.

        `between` writes <silent> after every chunk but the last. Without it the chunks are joined as in the literal Algorithm 4;
        only the last row of logits was trained for that. The last chunk must be decided next.

        Raises RuntimeError when a response is open or the chunk before is not decided.
        """
        return prefill_batch([self], [audio], [between])[0]

    def stay_silent(self) -> None:
        """Decide <silent> for the last chunk."""
        self._decide(self.model.silent_row)

    def open_response(self) -> None:
        """Decide <response> for the last chunk. Call `next_id` until it returns None."""
        self._decide(self.model.response_row)
        self.responding = True

    def next_id(self) -> int | None:
        """Generate one token greedily; return its id, or None for <eos>, which ends the response.

        The first token is one of the layout's response tags where it has any.
        """
        return next_ids([self])[0]

    def close_response(self) -> None:
        """End the open response with <eos> regardless of the model. Raises RuntimeError when none is open."""
        if not self.responding:
            raise RuntimeError("no response is open")
        self._write(self._eos)
        self.responding = False

    def reanchor(self, keep: int, instruction: Sequence[int] | None = None) -> None:
        """Reduce the context to the instruction and the last `keep` chunks with their responses.

        `instruction` replaces the current one. The cache is rebuilt with the next prefill, and positions start at 0 again, as in
        a training window. Raises RuntimeError when a response is open.
        """
        if self.responding:
            raise RuntimeError("a response is open")
        if instruction is not None:
            self._head = self._head_of(instruction)
        self._chunks = self._chunks[-keep:] if keep else []
        self._cache.clear(self._seat)
        rows = list(self._head)
        for chunk in self._chunks:
            rows += [*self._begin, *[AUDIO_ROW] * len(chunk.audio), *self._end, *chunk.written]
        self._unwritten = rows

    def tokens_of(self, last: int) -> int:
        """Return the number of positions of the last `last` chunks with their responses."""
        return sum(self.chunk_tokens + len(chunk.written) for chunk in self._chunks[-last:]) if last else 0

    @property
    def chunk_tokens(self) -> int:
        """Positions of one chunk without what follows it."""
        return len(self._begin) + self.model.streaming.slots + len(self._end)

    def _head_of(self, instruction: Sequence[int]) -> list[int]:
        layout = self.model.vocabulary.layout
        rows: list[int] = self.model.vocabulary.rows([*layout.prefix, *instruction, *layout.prefix_end]).tolist()
        return rows

    def _decide(self, row: int) -> None:
        if self.responding or not self._chunks or self._chunks[-1].written:
            raise RuntimeError("no chunk waits for a decision")
        self._write(row)

    def _write(self, row: int) -> None:
        self._chunks[-1].written.append(row)
        self._unwritten = [*self._unwritten, row]

    def _append(self, audio: Tensor, between: bool) -> tuple[_Input, list[int]]:
        """Append chunks (n, slots, hidden); return the input of their forward pass and the position of each chunk's end."""
        if self.responding or (self._chunks and not self._chunks[-1].written):
            raise RuntimeError("decide about the last chunk and finish the response before the next prefill")
        rows, ends = list(self._unwritten), []
        context = [chunk.audio for chunk in self._chunks] if AUDIO_ROW in rows else []
        silent = [self.model.silent_row] if between else []
        for number in range(len(audio)):
            rows += [*self._begin, *[AUDIO_ROW] * audio.shape[1], *self._end]
            ends.append(len(rows) - 1)
            rows += silent if number < len(audio) - 1 else []
        self._chunks += [_Chunk(chunk, list(silent)) for chunk in audio]
        self._chunks[-1].written = []
        return _Input(self, rows, [*context, *audio]), ends

    def _write_best(self, scores: Tensor) -> int | None:
        """Write the most likely row of `scores` (rows,) that may come next; return its id, or None for <eos>."""
        if self._tags and len(self._chunks[-1].written) == 1:
            row = self._tags[int(scores[self._tags].argmax())]
        else:
            eos = scores[self._eos].clone()
            scores[self.model.control_rows] = -torch.inf
            if (unknown := self.model.vocabulary.unknown_row) is not None:
                scores[unknown] = -torch.inf
            scores[self._eos] = eos
            row = int(scores.argmax())
        self._write(row)
        if row == self._eos:
            self.responding = False
            return None
        return self.model.vocabulary.ids([row])[0]


@torch.inference_mode()
def prefill_batch(
    streams: Sequence[StreamDecoder], audio: Sequence[Tensor | NDArray[np.float32]], between: Sequence[bool]
) -> list[NDArray[np.float32]]:
    """Run `StreamDecoder.prefill` for several streams of one model and one cache."""
    model = streams[0].model
    features = [torch.as_tensor(chunks, device=model.device) for chunks in audio]
    todo = [stream._append(chunks, silent) for stream, chunks, silent in zip(streams, features, between, strict=True)]
    states = _forward([inputs for inputs, _ in todo])
    chosen = torch.cat([state[ends] for state, (_, ends) in zip(states, todo, strict=True)])
    logits = np.asarray(model.control_logits(chosen).float().cpu().numpy())
    return np.split(logits, np.cumsum([len(ends) for _, ends in todo])[:-1])


@torch.inference_mode()
def next_ids(streams: Sequence[StreamDecoder]) -> list[int | None]:
    """Run `StreamDecoder.next_id` for several streams of one model and one cache, each with an open response."""
    if not all(stream.responding for stream in streams):
        raise RuntimeError("no response is open")
    states = _forward([_Input(stream, stream._unwritten, []) for stream in streams])
    scores = streams[0].model.logits(torch.stack([state[-1] for state in states])).float()
    return [stream._write_best(row) for stream, row in zip(streams, scores, strict=True)]


def _forward(inputs: Sequence[_Input]) -> list[Tensor]:
    """Return hidden states (L, hidden) of each input. Inputs of similar length share a pass, so less than half is padding."""
    found: dict[int, Tensor] = {}
    order = sorted(range(len(inputs)), key=lambda place: len(inputs[place].rows))
    for _, alike in groupby(order, key=lambda place: (len(inputs[place].rows) - 1).bit_length()):
        places = list(alike)
        model, cache = inputs[places[0]].stream.model, inputs[places[0]].stream._cache
        counts = [len(inputs[place].rows) for place in places]
        rows = np.zeros((len(places), max(counts)), dtype=np.int64)
        for line, place in enumerate(places):
            rows[line, : counts[line]] = inputs[place].rows
        audio = [chunk for place in places for chunk in inputs[place].audio]
        embeddings = model.embed(torch.as_tensor(rows, device=model.device), torch.stack(audio) if audio else None)
        states = model.hidden(embeddings, cache.extend([inputs[place].stream._seat for place in places], counts, model.device))
        for line, place in enumerate(places):
            inputs[place].stream._unwritten = []
            found[place] = states[line, : counts[line]]
    return [found[place] for place in range(len(inputs))]
