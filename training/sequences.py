"""From the tokens of a stored stream to what the model reads and is asked for (paper, Algorithm 2), as rows.

A stream is taken apart once: its instruction and what is said at each chunk's end. Windows, drain-aware samples and other chunk
sizes are put together from that.
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
    """A stream without its audio. Ids are the layout's."""

    layout: str
    head: tuple[int, ...]
    """Prefix, instruction, end of prefix."""
    said: tuple[tuple[int, ...] | None, ...]
    """Per chunk: None for <silent>, else the ids between <response> and <eos>."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.said)


@dataclass(frozen=True, slots=True)
class Window:
    """Chunks `first`...`last` of a stream, 0-based and inclusive, and how many tokens they are."""

    first: int
    last: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Example:
    """A window as the model sees it: arrays (L,), labels at the token's own index."""

    rows: Rows
    """AUDIO_ROW where audio stands."""
    y_stream: Rows
    y_lm: Rows
    drained: tuple[tuple[int, int], ...] = ()
    """Runs of chunks (first, last), 0-based in the window, that were heard as one."""
    masked: int = 0
    """Text the model has no row for: read as unknown, never asked for."""


def take_apart(npz: bytes, where: str) -> Turns:
    """The turns of a KEY.tokens.npz; InputError naming `where` when it is not what `soundflow build` writes."""
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            x, y_stream, layout = arrays["x"], arrays["y_stream"], layout_of(str(arrays["layout"][()]))
            y_lm = arrays["y_lm"]
        turns = _turns(x.tolist(), np.flatnonzero(y_stream != c.IGNORE_LABEL).tolist(), layout)
        whole = zip((x, y_stream, y_lm), _spell(turns, layout), strict=True)
        sound = all(np.array_equal(stored, expected) for stored, expected in whole)
    except Exception as error:  # on foreign bytes zipfile and numpy raise a dozen types
        raise InputError(f"is not a token archive: {error}", file=where, remedy="`soundflow verify` tells more") from None
    if not sound:
        raise InputError("its tokens are no stream of Algorithm 2", file=where, remedy="`soundflow verify` tells more")
    return turns


def _turns(x: Sequence[int], controls: Sequence[int], layout: TokenLayout) -> Turns:
    frame = len(layout.chunk_begin) + layout.slots + len(layout.chunk_end)
    ends = [*(at - frame for at in controls[1:]), len(x)]
    said = tuple(None if x[at] == layout.silent else tuple(x[at + 1 : end - 1]) for at, end in zip(controls, ends, strict=True))
    return Turns(layout.id, tuple(x[: controls[0] - frame]), said)


def _spell(turns: Turns, layout: TokenLayout) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """x, y_stream, y_lm of Algorithm 2."""
    frame = [*layout.chunk_begin, *[layout.audio] * layout.slots, *layout.chunk_end]
    x = list(turns.head)
    y_stream, y_lm = ([c.IGNORE_LABEL] * len(x) for _ in range(2))
    for said in turns.said:
        control = [layout.silent] if said is None else [layout.response]
        text = [] if said is None else [*said, layout.eos]
        x += frame + control + text
        y_stream += [c.IGNORE_LABEL] * len(frame) + control + [c.IGNORE_LABEL] * len(text)
        y_lm += [c.IGNORE_LABEL] * (len(frame) + 1) + text
    return np.array(x), np.array(y_stream), np.array(y_lm)


def windows(turns: Turns, longest: int, slots: int) -> list[Window]:
    """Cut into windows of at most `longest` chunks, after a response where one lies in the second half of the window."""
    layout = layout_of(turns.layout)
    frame = len(layout.chunk_begin) + slots + len(layout.chunk_end)
    found, first = [], 0
    while first < turns.chunks:
        last = min(first + longest, turns.chunks) - 1
        if last < turns.chunks - 1:
            responses = [chunk for chunk in range(first + longest // 2, last + 1) if turns.said[chunk] is not None]
            last = responses[-1] if responses else last
        text = sum(len(said) + 1 for said in turns.said[first : last + 1] if said is not None)
        found.append(Window(first, last, len(turns.head) + (last + 1 - first) * (frame + 1) + text))
        first = last + 1
    return found


def draw_drains(
    said: Sequence[tuple[int, ...] | None], drain: DrainConfig, rng: np.random.Generator
) -> tuple[tuple[int, int], ...]:
    """Runs of chunks (first, last) that wait while a response is spoken: after each response with some probability."""
    runs: list[tuple[int, int]] = []
    chunk = 0
    while chunk < len(said):
        responded = said[chunk] is not None
        chunk += 1
        while responded and chunk < len(said) and rng.random() < drain.probability:
            last = min(chunk + int(rng.integers(1, drain.longest + 1)), len(said)) - 1
            if last > chunk:
                runs.append((chunk, last))
            responded = any(text is not None for text in said[chunk : last + 1])  # then the run ends with a response
            chunk = last + 1
    return tuple(runs)


def spell(turns: Turns, window: Window, vocabulary: Vocabulary, slots: int, drained: Sequence[tuple[int, int]] = ()) -> Example:
    """A window as rows and labels.

    In a drained run the inner chunks are read as silent whatever happens in them, their true decision stays the label, and what
    they call for is said at the run's end, one text after the other.
    """
    layout = vocabulary.layout
    frame_ids = [*layout.chunk_begin, *[layout.audio] * slots, *layout.chunk_end]
    said = turns.said[window.first : window.last + 1]
    ends = {chunk: last for first, last in drained for chunk in range(first, last + 1)}
    ids, stream, text = list(turns.head), list[tuple[int, int]](), list[int]()
    waiting: list[int] = []
    waits = False
    for chunk, words in enumerate(said):
        ids += frame_ids
        due = words is not None
        last = ends.get(chunk, chunk)
        if due:
            waiting, waits = [*waiting, *(words or ())], True
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


def at_chunk_size(turns: Turns, evidence: Sequence[int], samples: int, chunk_samples: int) -> Turns:
    """The same stream decided every `chunk_samples`: response k opens in the chunk in whose end `evidence[k]` (samples) lies.

    Of two due in one chunk the later goes to the next, as in composition; what falls past the end is said in the last.
    """
    texts = [said for said in turns.said if said is not None]
    chunks = -(-samples // chunk_samples)
    said: list[tuple[int, ...] | None] = [None] * chunks
    free = 0
    for due, words in zip(evidence, texts, strict=True):
        free = min(max(-(-due // chunk_samples) - 1, free), chunks - 1)
        said[free] = (*(said[free] or ()), *words)
        free += 1
    return Turns(turns.layout, turns.head, tuple(said))
