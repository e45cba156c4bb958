"""The same audio gives the same tokens however it comes, and they are what the forward pass of training would choose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aiohttp.test_utils import TestServer
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from soundflow.model.thinker import StreamingThinker
from soundflow.streaming.client import Client, play
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    ChunkSilent,
    Event,
    ListenConfig,
    ResponseCreated,
    ResponseDone,
)
from soundflow.streaming.listener import Listener
from soundflow.streaming.server import Server
from soundflow.training.sequences import Turns, Window, encode_window
from tests.streaming.conftest import INSTRUCTION, TOKENIZER, clear_threshold, decisions, features_of
from tests.streaming.conftest import play as play_drains

CHUNKS, LONGEST = 20, 8
Outcome = list[tuple[str, int, str]]
"""(decision or `text`, chunk, text of a response)."""


@pytest.fixture(scope="module")
def pcm(real_audio: dict[str, np.ndarray]) -> np.ndarray:
    """Eight seconds of speech, int16."""
    return (np.concatenate(list(real_audio.values()))[: CHUNKS * 6400] * 20_000).astype(np.int16)


@pytest.fixture(scope="module")
def features(model: StreamingThinker, pcm: np.ndarray) -> np.ndarray:
    return features_of(model, pcm)


@pytest.fixture(scope="module")
def threshold(model: StreamingThinker, features: np.ndarray) -> float:
    return clear_threshold(model, features, LONGEST)


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=4)
    started.start()
    yield started
    started.close()


def outcome(events: Sequence[Event]) -> Outcome:
    """Decisions and texts without their times."""
    names = {ChunkSilent: "silent", ResponseCreated: "response", ResponseDone: "text"}
    return [(names[type(event)], event.chunk, getattr(event, "text", "")) for event in events if type(event) in names]


def expected(model: StreamingThinker, features: np.ndarray, threshold: float) -> Outcome:
    """The outcome of one loop, chunk by chunk."""
    config = ListenConfig(threshold=threshold, longest_response=LONGEST)
    return outcome(play_drains(Listener(model, TOKENIZER, INSTRUCTION, config), features, [1] * len(features)))


def serving(engine: Engine, visit: Callable[[str], Any]) -> Any:
    async def run() -> Any:
        server = TestServer(Server(engine).application())
        await server.start_server()
        try:
            return await visit(str(server.make_url("/")))
        finally:
            await server.close()

    return asyncio.run(asyncio.wait_for(run(), 600))


async def in_pieces(url: str, pcm: np.ndarray, ends: Sequence[int], threshold: float) -> Outcome:
    async with Client.connect(url, instruction=INSTRUCTION, threshold=threshold, drain=1, longest=LONGEST) as client:
        for begin, end in zip([0, *ends], [*ends, len(pcm)], strict=True):
            await client.send(pcm[begin:end])
        events, left, open_ = [], len(pcm) // 6400, False
        async for event in client:
            events.append(event)
            left -= isinstance(event, ChunkSilent | ResponseCreated)
            open_ = isinstance(event, ResponseCreated) or (open_ and not isinstance(event, ResponseDone))
            if not left and not open_:
                await client.finish()
                break
    return outcome(events)


def test_at_once_in_chunks_in_random_pieces_and_four_at_a_time_the_outcome_is_the_same(
    engine: Engine, model: StreamingThinker, pcm: np.ndarray, features: np.ndarray, threshold: float
) -> None:
    rng = np.random.default_rng(1)
    cuts = [[], [*range(6400, len(pcm), 6400)], *(sorted(rng.integers(1, len(pcm), 40).tolist()) for _ in range(2))]
    once = expected(model, features, threshold)
    assert 2 < sum(kind == "text" for kind, *_ in once) < CHUNKS and any(text for *_, text in once)

    async def visit(url: str) -> None:
        for ends in cuts:
            assert await in_pieces(url, pcm, ends, threshold) == once
        assert await asyncio.gather(*(in_pieces(url, pcm, ends, threshold) for ends in cuts)) == [once] * len(cuts)

    serving(engine, visit)


@pytest.mark.parametrize(("chunks", "pace"), [(8, 1.0), (CHUNKS, 8.0)])
def test_at_the_pace_of_time_the_outcome_is_the_same(
    engine: Engine, model: StreamingThinker, pcm: np.ndarray, features: np.ndarray, threshold: float, chunks: int, pace: float
) -> None:
    async def visit(url: str) -> Outcome:
        async with Client.connect(url, instruction=INSTRUCTION, threshold=threshold, drain=1, longest=LONGEST) as client:
            return outcome([event async for event in play(client, pcm[: chunks * 6400], pace=pace)])

    assert serving(engine, visit) == expected(model, features[:chunks], threshold)


@settings(max_examples=8, phases=[Phase.generate])
@given(data=st.data())
def test_in_any_drains_decisions_and_texts_are_those_of_the_forward_pass_of_training(
    model: StreamingThinker, features: np.ndarray, data: st.DataObject
) -> None:
    drains: list[int] = []
    while sum(drains) < CHUNKS:
        drains.append(min(data.draw(st.integers(1, 5)), CHUNKS - sum(drains)))
    config = ListenConfig(threshold=data.draw(st.floats(0.3, 0.7)), longest_response=LONGEST)
    listener = Listener(model, TOKENIZER, INSTRUCTION, config)
    events = play_drains(listener, features, drains)

    vocabulary, layout = model.vocabulary, model.vocabulary.layout
    rows_written = [chunk.written for chunk in listener.decoder._chunks]
    texts = tuple(tuple(vocabulary.ids(rows[1:-1])) if len(rows) > 1 else None for rows in rows_written)
    head = (*layout.prefix, *TOKENIZER.encode(INSTRUCTION), *layout.prefix_end)
    ends = np.cumsum(drains).tolist()
    runs = [(begin, end - 1) for begin, end in zip([0, *ends[:-1]], ends, strict=True) if end - begin > 1]
    turns = Turns(layout.id, head, texts)
    example = encode_window(turns, Window(0, CHUNKS - 1, 0), vocabulary, model.streaming.slots, runs)
    with torch.inference_mode():
        hidden = model.hidden(model.embed(torch.from_numpy(example.rows)[None], torch.from_numpy(features)))[0]
        controls = model.control_logits(hidden[np.flatnonzero(example.y_stream != -100) - 1]).double()
        scores = model.logits(hidden)
    scores = scores.clone()
    chances = [event.probability for event in decisions(events)]
    assert torch.softmax(controls, -1)[:, 1].tolist() == pytest.approx(chances, abs=1e-4)
    cuts = {event.chunk for event in events if isinstance(event, ResponseDone) and event.cut}
    forbidden = [row for row in [*model.control_rows.tolist(), vocabulary.unknown_row] if row != vocabulary.row(layout.eos)]
    scores[:, forbidden] = -torch.inf
    spoken = np.flatnonzero(example.y_lm != -100)
    chosen = scores[spoken - 1].max(dim=-1).values
    generated = scores[spoken - 1, example.rows[spoken]]
    free = example.rows[spoken] != vocabulary.row(layout.eos) if cuts else np.ones(len(spoken), dtype=bool)
    assert generated[free].tolist() == pytest.approx(chosen[free].tolist(), abs=1e-3)
    assert _responses(events) == [chunk for chunk, text in enumerate(texts, 1) if text is not None]


def _responses(events: Sequence[Event]) -> list[int]:
    return [event.chunk for event in events if isinstance(event, ResponseCreated)]
