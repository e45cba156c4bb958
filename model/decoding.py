"""Live streams' decoding: a KV cache that grows by whole chunks and, within a response, by single tokens.

What several streams hear or say at a time goes through the model together (`hear_together`, `next_ids`).
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
    """A chunk that was heard and what was said at its end, as rows: <silent>, or <response> text <eos>."""

    audio: Tensor
    """(slots, hidden)"""
    said: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Rows a stream is about to read, and the audio embeddings (slots, hidden) that go into them."""

    stream: StreamDecoder
    rows: list[int]
    audio: list[Tensor]


class StreamDecoder:
    """Hears chunks, tells their control logits, writes what was decided, speaks token by token.

    Between `open_response` and the end of the response nothing is heard. What was decided is written to the cache together with
    the next thing that is read: a decision alone costs no forward pass. Ids are the layout's, rows stay inside.
    """

    def __init__(self, model: StreamingThinker, instruction: Sequence[int], cache: SeatedCache | None = None):
        """`instruction`: text ids, without the layout's prefix and its end, which are added. Streams that are to be read
        together share a `cache`; raises IndexError when it has no free seat."""
        self.model = model
        layout = model.vocabulary.layout
        self._head = self._head_of(instruction)
        self._begin, self._end = (model.vocabulary.rows(ids).tolist() for ids in (layout.chunk_begin, layout.chunk_end))
        self._eos, self._tags = model.vocabulary.row(layout.eos), [model.vocabulary.row(tag) for tag in layout.response_tags]
        self._chunks: list[_Chunk] = []
        self._cache = SeatedCache() if cache is None else cache
        self._seat = self._cache.take()
        self._unwritten: list[int] = list(self._head)
        self.speaking = False

    def leave(self) -> None:
        """Give the seat back; nothing follows."""
        self._cache.leave(self._seat)

    @property
    def tokens(self) -> int:
        """Positions the next token will come after: what is in the cache and what waits to be written."""
        return self._cache.lengths[self._seat] + len(self._unwritten)

    @property
    def chunks(self) -> int:
        """Chunks in the context."""
        return len(self._chunks)

    def hear(self, audio: Tensor | NDArray[np.float32], *, between: bool = True) -> NDArray[np.float32]:
        """Take n chunks (n, slots, hidden); return the logits (n, 2) of <silent> and <response> at each one's end.

        `between` writes <silent> after every chunk but the last (settled; one forward pass gives all logits); without it they
        are joined as in the literal Algorithm 4, and only the last row was trained for. Decide about the last chunk next.
        """
        return hear_together([self], [audio], [between])[0]

    def stay_silent(self) -> None:
        """Decide <silent> for the last chunk heard."""
        self._decide(self.model.silent_row)

    def open_response(self) -> None:
        """Decide <response> for the last chunk heard; `next_id` follows until it gives None."""
        self._decide(self.model.response_row)
        self.speaking = True

    def next_id(self) -> int | None:
        """The most likely next id of the response; None when that is the end.

        A layout's tag is chosen among its tags and given like any other id.
        """
        return next_ids([self])[0]

    def close_response(self) -> None:
        """End the response here, whatever the model would have said (a length limit, an interruption)."""
        if not self.speaking:
            raise RuntimeError("no response is open")
        self._say(self._eos)
        self.speaking = False

    def reanchor(self, keep: int, instruction: Sequence[int] | None = None) -> None:
        """Forget all but the instruction (or take another one) and the last `keep` chunks with what was said in them.

        Not within a response. The cache is rebuilt with the next chunks heard: positions start again, as in a trained window.
        """
        if self.speaking:
            raise RuntimeError("not within a response")
        if instruction is not None:
            self._head = self._head_of(instruction)
        self._chunks = self._chunks[-keep:] if keep else []
        self._cache.clear(self._seat)
        rows = list(self._head)
        for chunk in self._chunks:
            rows += [*self._begin, *[AUDIO_ROW] * len(chunk.audio), *self._end, *chunk.said]
        self._unwritten = rows

    def tokens_of(self, last: int) -> int:
        """Positions the last so many chunks take, with what was said in them."""
        return sum(self.chunk_tokens + len(chunk.said) for chunk in self._chunks[-last:]) if last else 0

    @property
    def chunk_tokens(self) -> int:
        """Positions a chunk takes without what is said at its end."""
        return len(self._begin) + self.model.streaming.slots + len(self._end)

    def _head_of(self, instruction: Sequence[int]) -> list[int]:
        layout = self.model.vocabulary.layout
        rows: list[int] = self.model.vocabulary.rows([*layout.prefix, *instruction, *layout.prefix_end]).tolist()
        return rows

    def _decide(self, row: int) -> None:
        if self.speaking or not self._chunks or self._chunks[-1].said:
            raise RuntimeError("there is no chunk to decide about")
        self._say(row)

    def _say(self, row: int) -> None:
        self._chunks[-1].said.append(row)
        self._unwritten = [*self._unwritten, row]

    def _to_hear(self, heard: Tensor, between: bool) -> tuple[_Reading, list[int]]:
        """What hearing chunks (n, slots, hidden) reads, and where in it each chunk ends."""
        if self.speaking or (self._chunks and not self._chunks[-1].said):
            raise RuntimeError("decide about the last chunk, and finish the response, before hearing more")
        rows, ends = list(self._unwritten), []
        audio = [chunk.audio for chunk in self._chunks] if AUDIO_ROW in rows else []
        silent = [self.model.silent_row] if between else []
        for number in range(len(heard)):
            rows += [*self._begin, *[AUDIO_ROW] * heard.shape[1], *self._end]
            ends.append(len(rows) - 1)
            rows += silent if number < len(heard) - 1 else []
        self._chunks += [_Chunk(chunk, list(silent)) for chunk in heard]
        self._chunks[-1].said = []
        return _Reading(self, rows, [*audio, *heard]), ends

    def _say_best(self, scores: Tensor) -> int | None:
        """Say the most likely row of scores (rows,) that may come next; its id, None for <eos>."""
        if self._tags and len(self._chunks[-1].said) == 1:
            row = self._tags[int(scores[self._tags].argmax())]
        else:
            ends = scores[self._eos].clone()
            scores[self.model.control_rows] = -torch.inf
            if (unknown := self.model.vocabulary.unknown_row) is not None:
                scores[unknown] = -torch.inf
            scores[self._eos] = ends
            row = int(scores.argmax())
        self._say(row)
        if row == self._eos:
            self.speaking = False
            return None
        return self.model.vocabulary.ids([row])[0]


@torch.inference_mode()
def hear_together(
    streams: Sequence[StreamDecoder], audio: Sequence[Tensor | NDArray[np.float32]], between: Sequence[bool]
) -> list[NDArray[np.float32]]:
    """`StreamDecoder.hear` for several streams of one model and one cache."""
    model = streams[0].model
    heard = [torch.as_tensor(chunks, device=model.device) for chunks in audio]
    todo = [stream._to_hear(chunks, way) for stream, chunks, way in zip(streams, heard, between, strict=True)]
    states = _read([reading for reading, _ in todo])
    chosen = torch.cat([state[ends] for state, (_, ends) in zip(states, todo, strict=True)])
    logits = np.asarray(model.control_logits(chosen).float().cpu().numpy())
    return np.split(logits, np.cumsum([len(ends) for _, ends in todo])[:-1])


@torch.inference_mode()
def next_ids(streams: Sequence[StreamDecoder]) -> list[int | None]:
    """`StreamDecoder.next_id` for several streams of one model and one cache, all of which are speaking."""
    if not all(stream.speaking for stream in streams):
        raise RuntimeError("no response is open")
    states = _read([_Reading(stream, stream._unwritten, []) for stream in streams])
    scores = streams[0].model.logits(torch.stack([state[-1] for state in states])).float()
    return [stream._say_best(row) for stream, row in zip(streams, scores, strict=True)]


def _read(readings: Sequence[_Reading]) -> list[Tensor]:
    """Hidden states (L, hidden) of each reading. Those of about one length share a pass: padding is less than half of it."""
    found: dict[int, Tensor] = {}
    order = sorted(range(len(readings)), key=lambda place: len(readings[place].rows))
    for _, alike in groupby(order, key=lambda place: (len(readings[place].rows) - 1).bit_length()):
        places = list(alike)
        model, cache = readings[places[0]].stream.model, readings[places[0]].stream._cache
        counts = [len(readings[place].rows) for place in places]
        rows = torch.zeros(len(places), max(counts), dtype=torch.long)
        for line, place in enumerate(places):
            rows[line, : counts[line]] = torch.tensor(readings[place].rows)
        audio = [chunk for place in places for chunk in readings[place].audio]
        embeddings = model.embed(rows.to(model.device), torch.stack(audio) if audio else None)
        states = model.hidden(embeddings, cache.extend([readings[place].stream._seat for place in places], counts, model.device))
        for line, place in enumerate(places):
            readings[place].stream._unwritten = []
            found[place] = states[line, : counts[line]]
    return [found[place] for place in range(len(readings))]
