"""Streaming tokenization and labels (paper, Algorithm 2), exactly invertible.

X is the instruction, then per chunk ten audio slots and one control token: <silent>, or <response> + text + <eos>. A label has
the index of its own token (the loss of the trainer shifts). y_stream has the control token of each chunk; y_lm has the text,
preceded by the tag if the layout has tags, and <eos>. All other labels are MASK = -100.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.tokens import TEXT_VOCABULARY, TokenLayout, layout_of

TOKENIZE_VERSION: Final = "3"
Timeline = Sequence[tuple[int, str]]
"""(chunk, text) pairs with 1-based, strictly increasing chunks."""
Ids = NDArray[np.int32]
NO_EMOTIONS: Final[Mapping[int, str]] = MappingProxyType({})


class TokenError(ValueError):
    """Raised for an invalid token sequence. The message names the index."""


@dataclass(frozen=True, slots=True)
class StreamTokens:
    """One stream as arrays of equal shape (L,)."""

    x: Ids
    y_stream: Ids
    y_lm: Ids
    layout: str
    """`name/version`."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The content of a token sequence."""

    instruction: str
    chunks: int
    timeline: list[tuple[int, str]]


def tokenize(
    instruction: str,
    chunks: int,
    timeline: Timeline,
    tokenizer: QwenTokenizer,
    layout: TokenLayout,
    emotions: Mapping[int, str] = NO_EMOTIONS,
) -> StreamTokens:
    """Build X, y_stream and y_lm for a stream of `chunks` chunks (paper, Algorithm 2).

    `emotions`: emotion of the response in a chunk, for layouts with tags. Raises ValueError if the chunks of the timeline do not
    increase strictly within 1...chunks.
    """
    numbers = [0, *(chunk for chunk, _ in timeline)]
    if any(later <= earlier for earlier, later in pairwise(numbers)) or numbers[-1] > chunks:
        raise ValueError(f"the chunks of responses must increase strictly within 1...{chunks}, got {numbers[1:]}")
    head = [*layout.prefix, *tokenizer.encode(instruction), *layout.prefix_end]
    frame = [*layout.chunk_begin, *[layout.audio] * layout.slots, *layout.chunk_end]
    responses = dict(timeline)
    x = list(head)
    stream_at: list[int] = []
    lm_at: list[int] = []
    for chunk in range(1, chunks + 1):
        x += frame
        stream_at.append(len(x))
        if chunk not in responses:
            x.append(layout.silent)
            continue
        x.append(layout.response)
        start = len(x)
        x += [*layout.tag(emotions.get(chunk, "")), *tokenizer.encode(responses[chunk]), layout.eos]
        lm_at += range(start, len(x))
    ids = np.array(x, dtype=np.int32)
    return StreamTokens(ids, _labels(ids, stream_at), _labels(ids, lm_at), layout.id)


def _labels(ids: Ids, at: Sequence[int]) -> Ids:
    labels = np.full(ids.shape, c.IGNORE_LABEL, dtype=np.int32)
    labels[np.asarray(at, dtype=np.intp)] = ids[np.asarray(at, dtype=np.intp)]
    return labels


def detokenize(tokens: StreamTokens, tokenizer: QwenTokenizer) -> Decoded:
    """Recover instruction, number of chunks and timeline from X. Raises TokenError if X is malformed."""
    reader = _Reader(tokens)

    def text(ids: Sequence[int]) -> str:
        try:
            return tokenizer.decode(ids)
        except UnicodeDecodeError:
            raise TokenError(f"index {reader.at}: the text that ends here is not UTF-8") from None

    instruction = text(reader.instruction())
    timeline = []
    chunk = 0
    while not reader.is_done():
        chunk += 1
        response = reader.chunk()
        if response is not None:
            timeline.append((chunk, text(response)))
    return Decoded(instruction, chunk, timeline)


def cut(tokens: StreamTokens, first: int, last: int) -> StreamTokens:
    """Return the instruction and chunks `first`...`last` (1-based, inclusive) with their labels.

    The result equals the tokens of the stream cut at these chunks. Raises ValueError if the stream has no such chunks, TokenError
    if X is malformed.
    """
    reader = _Reader(tokens)
    reader.instruction()
    edges = [reader.at]
    while not reader.is_done():
        reader.chunk()
        edges.append(reader.at)
    if not 1 <= first <= last < len(edges):
        raise ValueError(f"chunks {first}...{last} are not within the {len(edges) - 1} chunks of the stream")
    keep = np.r_[0 : edges[0], edges[first - 1] : edges[last]]
    return StreamTokens(tokens.x[keep], tokens.y_stream[keep], tokens.y_lm[keep], tokens.layout)


class _Reader:
    """Reads X from left to right: the instruction, then chunk by chunk. Texts are returned as ids."""

    def __init__(self, tokens: StreamTokens):
        self.ids: list[int] = tokens.x.tolist()
        self.layout, self.at = layout_of(tokens.layout), 0

    def is_done(self) -> bool:
        return self.at >= len(self.ids)

    def instruction(self) -> list[int]:
        self._expect(self.layout.prefix, "the prefix")
        return self._text(self.layout.prefix_end, "the instruction")

    def chunk(self) -> list[int] | None:
        layout = self.layout
        self._expect((*layout.chunk_begin, *[layout.audio] * layout.slots, *layout.chunk_end), "the audio slots of a chunk")
        if self._one_of((layout.silent, layout.response), "a control token") == layout.silent:
            return None
        if layout.response_tags:
            self._one_of(layout.response_tags, "the tag of a response")
        return self._text((layout.eos,), "a response")

    def _one_of(self, expected: Sequence[int], what: str) -> int:
        found = None if self.is_done() else self.ids[self.at]
        if found is None or found not in expected:
            raise TokenError(f"index {self.at}: expected {what}, one of {list(expected)}, found {found}")
        self.at += 1
        return found

    def _expect(self, expected: Sequence[int], what: str) -> None:
        found = self.ids[self.at : self.at + len(expected)]
        if found != list(expected):
            raise TokenError(f"index {self.at}: expected {what} {list(expected)}, found {found}")
        self.at += len(expected)

    def _text(self, closing: Sequence[int], what: str) -> list[int]:
        try:
            stop = self.ids.index(closing[0], self.at)
        except ValueError:
            raise TokenError(f"index {self.at}: {what} is not terminated") from None
        ids = self.ids[self.at : stop]
        if any(not 0 <= token < TEXT_VOCABULARY for token in ids):
            raise TokenError(f"index {self.at}: {what} contains ids that are not text")
        self.at = stop
        self._expect(closing, f"the end of {what}")
        return ids


def to_npz(tokens: StreamTokens) -> bytes:
    """Return the arrays as an .npz file whose bytes depend on nothing else.

    numpy's writer would store the time of day, and compressed bytes would depend on the version of zlib.
    """
    buffer = io.BytesIO()
    arrays = {"x": tokens.x, "y_stream": tokens.y_stream, "y_lm": tokens.y_lm, "layout": np.array(tokens.layout)}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()


def from_npz(data: bytes) -> StreamTokens:
    """Return the tokens of an .npz file by `to_npz`. Raises TokenError for any other data."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y_stream", "y_lm")}
            layout = str(archive["layout"][()])
    except Exception as error:  # zipfile and numpy raise many types for arbitrary bytes
        raise TokenError(f"is not a token archive: {error}") from None
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or any(array.dtype != np.int32 for array in arrays.values()):
        raise TokenError(f"x, y_stream and y_lm must be int32 of equal shape (L,), found {shapes}")
    try:
        layout_of(layout)
    except InputError as error:
        raise TokenError(str(error)) from None
    return StreamTokens(**arrays, layout=layout)
