"""One live stream's decoding: a KV cache that grows by whole chunks and, within a response, by single tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from model.thinker import StreamingThinker
from model.vocabulary import AUDIO_ROW


@dataclass(slots=True)
class _Chunk:
    """A chunk that was heard and what was said at its end, as rows: <silent>, or <response> text <eos>."""

    audio: Tensor
    """(slots, hidden)"""
    said: list[int] = field(default_factory=list)


class StreamDecoder:
    """Hears chunks, tells their control logits, writes what was decided, speaks token by token.

    Between `open_response` and the end of the response nothing is heard. What was decided is written to the cache together with
    the next thing that is read: a decision alone costs no forward pass. Ids are the layout's, rows stay inside.
    """

    def __init__(self, model: StreamingThinker, instruction: Sequence[int]):
        """`instruction`: text ids, without the layout's prefix and its end, which are added."""
        self.model = model
        layout = model.vocabulary.layout
        head = [*layout.prefix, *instruction, *layout.prefix_end]
        self._head = model.vocabulary.rows(head).tolist()
        self._begin, self._end = (model.vocabulary.rows(ids).tolist() for ids in (layout.chunk_begin, layout.chunk_end))
        self._eos, self._tags = model.vocabulary.row(layout.eos), [model.vocabulary.row(tag) for tag in layout.response_tags]
        self._chunks: list[_Chunk] = []
        self._cache = DynamicCache(config=model.config.text_config)
        self._unwritten: list[int] = list(self._head)
        self.speaking = False

    @property
    def tokens(self) -> int:
        """Positions the next token will come after: what is in the cache and what waits to be written."""
        return int(self._cache.get_seq_length()) + len(self._unwritten)

    @property
    def chunks(self) -> int:
        """Chunks in the context."""
        return len(self._chunks)

    @torch.inference_mode()
    def hear(self, audio: Tensor | NDArray[np.float32], *, between: bool = True) -> NDArray[np.float32]:
        """Take n chunks (n, slots, hidden); return the logits (n, 2) of <silent> and <response> at each one's end.

        `between` writes <silent> after every chunk but the last (settled; one forward pass gives all logits); without it they
        are joined as in the literal Algorithm 4, and only the last row was trained for. Decide about the last chunk next.
        """
        if self.speaking or (self._chunks and not self._chunks[-1].said):
            raise RuntimeError("decide about the last chunk, and finish the response, before hearing more")
        heard = torch.as_tensor(audio, device=self.model.device)
        rows, ends = list(self._unwritten), []
        silent = [self.model.silent_row] if between else []
        for number in range(len(heard)):
            rows += [*self._begin, *[AUDIO_ROW] * heard.shape[1], *self._end]
            ends.append(len(rows) - 1)
            rows += silent if number < len(heard) - 1 else []
        states = self._read(rows, heard)
        self._chunks += [_Chunk(chunk, list(silent)) for chunk in heard]
        self._chunks[-1].said = []
        return np.asarray(self.model.control_logits(states[0, ends]).float().cpu().numpy())

    def stay_silent(self) -> None:
        """Decide <silent> for the last chunk heard."""
        self._decide(self.model.silent_row)

    def open_response(self) -> None:
        """Decide <response> for the last chunk heard; `next_id` follows until it gives None."""
        self._decide(self.model.response_row)
        self.speaking = True

    @torch.inference_mode()
    def next_id(self) -> int | None:
        """The most likely next id of the response; None when that is the end.

        A layout's tag is chosen among its tags and given like any other id.
        """
        if not self.speaking:
            raise RuntimeError("no response is open")
        scores = self.model.logits(self._read(self._unwritten)[0, -1]).float()
        if self._tags and len(self._chunks[-1].said) == 1:
            row = self._tags[int(scores[self._tags].argmax())]
        else:
            controls = self.model.control_rows
            ends = scores[self._eos].clone()
            scores[controls] = -torch.inf
            if (unknown := self.model.vocabulary.unknown_row) is not None:
                scores[unknown] = -torch.inf
            scores[self._eos] = ends
            row = int(scores.argmax())
        self._say(row)
        if row == self._eos:
            self.speaking = False
            return None
        return self.model.vocabulary.ids([row])[0]

    def close_response(self) -> None:
        """End the response here, whatever the model would have said (a length limit, an interruption)."""
        if not self.speaking:
            raise RuntimeError("no response is open")
        self._say(self._eos)
        self.speaking = False

    def reanchor(self, keep: int) -> None:
        """Forget all but the instruction and the last `keep` chunks with what was said in them; not within a response.

        The cache is rebuilt with the next chunks heard: positions start again, as in a trained window.
        """
        if self.speaking:
            raise RuntimeError("not within a response")
        self._chunks = self._chunks[-keep:] if keep else []
        self._cache = DynamicCache(config=self.model.config.text_config)
        rows = list(self._head)
        for chunk in self._chunks:
            rows += [*self._begin, *[AUDIO_ROW] * len(chunk.audio), *self._end, *chunk.said]
        self._unwritten = rows

    def _decide(self, row: int) -> None:
        if self.speaking or not self._chunks or self._chunks[-1].said:
            raise RuntimeError("there is no chunk to decide about")
        self._say(row)

    def _say(self, row: int) -> None:
        self._chunks[-1].said.append(row)
        self._unwritten = [*self._unwritten, row]

    def _read(self, rows: list[int], heard: Tensor | None = None) -> Tensor:
        """Hidden states (1, L, hidden) of rows, whose audio is what was kept of unwritten chunks and then `heard`."""
        written = torch.tensor([rows], device=self.model.device)
        slots = int((written == AUDIO_ROW).sum())
        new = 0 if heard is None else heard.shape[0] * heard.shape[1]
        kept = [chunk.audio for chunk in self._chunks] if slots > new else []
        audio = [*kept, *([] if heard is None else heard)]
        embeddings = self.model.embed(written, torch.stack(list(audio)) if audio else None)
        self._unwritten = []
        return self.model.hidden(embeddings, self._cache)
