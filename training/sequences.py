"""From the tokens of a stored stream to model inputs and labels (paper, Algorithm 2), as vocabulary rows.

A stored stream is parsed once into `Turns`: its instruction and the response of each chunk. Windows, drain-aware samples and
other chunk sizes are derived from them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundflow.model.vocabulary import Rows, Vocabulary
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.tokens import TokenLayout, layout_of
from soundflow.training.config import DrainConfig


@dataclass(frozen=True, slots=True)
class Turns:
    """A stream without its audio. Ids are those of the layout."""

    layout: str
    head: tuple[int, ...]
    """Ids of prefix, instruction and end of prefix."""
    responses: tuple[tuple[int, ...] | None, ...]
    """Per chunk: None for <silent>, else the ids between <response> and <eos>."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.responses)


@dataclass(frozen=True, slots=True)
class Window:
    """Chunks `first`...`last` of a stream, 0-based and inclusive, and their number of tokens."""

    first: int
    last: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Example:
    """A training window: int64 arrays (L,). A label stands at the index of its own token, IGNORE_LABEL elsewhere."""

    rows: Rows
    """Inputs; AUDIO_ROW for audio."""
    y_stream: Rows
    """Control tokens."""
    y_lm: Rows
    """Text and <eos> of responses."""
    drained: tuple[tuple[int, int], ...] = ()
    """Runs of chunks (first, last) read in one drain, 0-based in the window and inclusive."""
    masked: int = 0
    """Text labels without a row in the vocabulary: inputs read `unknown_row`, labels are ignored."""


def parse_turns(npz: bytes, where: str) -> Turns:
    """Parse a KEY.tokens.npz. Raises InputError naming `where` unless it is what `soundflow build` writes."""
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            x, y_stream, layout = arrays["x"], arrays["y_stream"], layout_of(str(arrays["layout"][()]))
            y_lm = arrays["y_lm"]
        turns = _turns(x.tolist(), np.flatnonzero(y_stream != c.IGNORE_LABEL).tolist(), layout)
        pairs = zip((x, y_stream, y_lm), _encode(turns, layout), strict=True)
        equal = all(np.array_equal(stored, expected) for stored, expected in pairs)
    except Exception as error:  # on other bytes zipfile and numpy raise a dozen types
        raise InputError(f"is not a token archive: {error}", file=where, remedy="Run `soundflow verify` on the corpus") from None
    if not equal:
        why = "its tokens and labels do not form a stream of Algorithm 2"
        raise InputError(why, file=where, remedy="Run `soundflow verify` on the corpus")
    return turns


def _turns(x: Sequence[int], controls: Sequence[int], layout: TokenLayout) -> Turns:
    frame = len(layout.chunk_begin) + layout.slots + len(layout.chunk_end)
    ends = [*(at - frame for at in controls[1:]), len(x)]
    spans = zip(controls, ends, strict=True)
    responses = tuple(None if x[at] == layout.silent else tuple(x[at + 1 : end - 1]) for at, end in spans)
    return Turns(layout.id, tuple(x[: controls[0] - frame]), responses)


def _encode(turns: Turns, layout: TokenLayout) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return x, y_stream and y_lm (L,) of Algorithm 2."""
    frame = [*layout.chunk_begin, *[layout.audio] * layout.slots, *layout.chunk_end]
    x = list(turns.head)
    y_stream, y_lm = ([c.IGNORE_LABEL] * len(x) for _ in range(2))
    for response in turns.responses:
        control = [layout.silent] if response is None else [layout.response]
        text = [] if response is None else [*response, layout.eos]
        x += frame + control + text
        y_stream += [c.IGNORE_LABEL] * len(frame) + control + [c.IGNORE_LABEL] * len(text)
        y_lm += [c.IGNORE_LABEL] * (len(frame) + 1) + text
    return np.array(x), np.array(y_stream), np.array(y_lm)


def windows(turns: Turns, longest: int, slots: int) -> list[Window]:
    """Cut a stream into windows of at most `longest` chunks, if possible after the last response in a window's second half."""
    layout = layout_of(turns.layout)
    frame = len(layout.chunk_begin) + slots + len(layout.chunk_end)
    found, first = [], 0
    while first < turns.chunks:
        last = min(first + longest, turns.chunks) - 1
        if last < turns.chunks - 1:
            responses = [chunk for chunk in range(first + longest // 2, last + 1) if turns.responses[chunk] is not None]
            last = responses[-1] if responses else last
        text = sum(len(response) + 1 for response in turns.responses[first : last + 1] if response is not None)
        found.append(Window(first, last, len(turns.head) + (last + 1 - first) * (frame + 1) + text))
        first = last + 1
    return found


def draw_drains(
    responses: Sequence[tuple[int, ...] | None], drain: DrainConfig, rng: np.random.Generator
) -> tuple[tuple[int, int], ...]:
    """Draw runs of chunks (first, last) that wait while a response is generated, each with `drain.probability`."""
    runs: list[tuple[int, int]] = []
    chunk = 0
    while chunk < len(responses):
        responded = responses[chunk] is not None
        chunk += 1
        while responded and chunk < len(responses) and rng.random() < drain.probability:
            last = min(chunk + int(rng.integers(1, drain.longest + 1)), len(responses)) - 1
            if last > chunk:
                runs.append((chunk, last))
            responded = any(text is not None for text in responses[chunk : last + 1])  # then the run ends with a response
            chunk = last + 1
    return tuple(runs)


def encode_window(
    turns: Turns, window: Window, vocabulary: Vocabulary, slots: int, drained: Sequence[tuple[int, int]] = ()
) -> Example:
    """Encode a window as inputs and labels.

    In a drained run the inner chunks are followed by <silent> in the input, their true decision stays the label, and their
    responses are joined at the end of the run.
    """
    layout = vocabulary.layout
    frame_ids = [*layout.chunk_begin, *[layout.audio] * slots, *layout.chunk_end]
    responses = turns.responses[window.first : window.last + 1]
    ends = {chunk: last for first, last in drained for chunk in range(first, last + 1)}
    ids, stream, text = list(turns.head), list[tuple[int, int]](), list[int]()
    waiting: list[int] = []
    waits = False
    for chunk, response in enumerate(responses):
        ids += frame_ids
        due = response is not None
        last = ends.get(chunk, chunk)
        if due:
            waiting, waits = [*waiting, *(response or ())], True
        stream.append((len(ids), layout.response if due or (waits and chunk == last) else layout.silent))
        if chunk < last or not waits:
            ids.append(layout.silent)
            continue
        ids.append(layout.response)
        text += range(len(ids), len(ids) + len(waiting) + 1)
        ids += [*waiting, layout.eos]
        waiting, waits = [], False
    rows = vocabulary.rows(ids)
    y_stream, y_lm = np.full_like(rows, c.IGNORE_LABEL), np.full_like(rows, c.IGNORE_LABEL)
    y_stream[[at for at, _ in stream]] = vocabulary.rows([control for _, control in stream])
    y_lm[text] = rows[text]
    unknown = y_lm == vocabulary.unknown_row if vocabulary.unknown_row is not None else np.zeros_like(rows, dtype=bool)
    y_lm[unknown] = c.IGNORE_LABEL
    return Example(rows, y_stream, y_lm, tuple(drained), int(unknown.sum()))


def rechunk(turns: Turns, evidence: Sequence[int], samples: int, chunk_samples: int) -> Turns:
    """Return the stream with another decision period: response k opens in the chunk in which `evidence[k]` (samples) ends.

    Of two responses due in one chunk the later moves to the next, as in composition. Those due past the end join the last chunk.
    """
    texts = [response for response in turns.responses if response is not None]
    chunks = -(-samples // chunk_samples)
    responses: list[tuple[int, ...] | None] = [None] * chunks
    free = 0
    for due, text in zip(evidence, texts, strict=True):
        free = min(max(-(-due // chunk_samples) - 1, free), chunks - 1)
        responses[free] = (*(responses[free] or ()), *text)
        free += 1
    return Turns(turns.layout, turns.head, tuple(responses))
