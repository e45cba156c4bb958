"""Incremental decoding equals one forward pass over the full sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from soundflow.model.decoding import StreamDecoder, next_ids, prefill_batch
from soundflow.model.seats import SeatedCache
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW

INSTRUCTION = [2, 40, 6]


@pytest.fixture(scope="module")
def audio(thinker: StreamingThinker) -> torch.Tensor:
    chunks = torch.randn(8, 128, 40, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return thinker.encode_chunks(chunks)


@torch.no_grad()
def reference(thinker: StreamingThinker, audio: torch.Tensor, written: list[list[int]]) -> np.ndarray:
    """Control logits (n, 2) of one forward pass over the whole sequence; `written` are the rows after each chunk."""
    layout = thinker.vocabulary.layout
    rows = thinker.vocabulary.rows([*layout.prefix, *INSTRUCTION, *layout.prefix_end]).tolist()
    ends = []
    for chunk in written:
        rows += [AUDIO_ROW] * 10
        ends.append(len(rows) - 1)
        rows += chunk
    hidden = thinker.hidden(thinker.embed(torch.tensor([rows]), audio[: len(written)]))
    return thinker.control_logits(hidden[0, ends]).numpy()


def speak(decoder: StreamDecoder, tokens: int) -> list[int]:
    """Ids of a response cut after `tokens` tokens."""
    decoder.open_response()
    ids: list[int] = []
    while decoder.responding and len(ids) < tokens:
        id_ = decoder.next_id()
        ids += [] if id_ is None else [id_]
    if decoder.responding:
        decoder.close_response()
    return ids


@pytest.mark.parametrize("drains", [[1] * 8, [8], [3, 1, 4], [2, 2, 2, 2]])
def test_silent_chunks_in_any_drains_give_the_logits_of_the_whole(
    thinker: StreamingThinker, audio: torch.Tensor, drains: list[int]
) -> None:
    decoder, logits, at = StreamDecoder(thinker, INSTRUCTION), [], 0
    for drained in drains:
        logits.append(decoder.prefill(audio[at : at + drained]))
        decoder.stay_silent()
        at += drained
    expected = reference(thinker, audio, [[thinker.silent_row]] * 8)
    np.testing.assert_allclose(np.concatenate(logits), expected, atol=1e-4)
    assert decoder.chunks == 8


def test_a_response_stays_in_the_context(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    first = decoder.prefill(audio[:2])
    ids = speak(decoder, 4)
    second = decoder.prefill(audio[2:3].numpy())
    vocabulary = thinker.vocabulary
    response = [thinker.response_row, *vocabulary.rows(ids).tolist(), vocabulary.row(vocabulary.layout.eos)]
    expected = reference(thinker, audio, [[thinker.silent_row], response, []])
    np.testing.assert_allclose(np.concatenate([first, second]), expected, atol=1e-4)
    assert ids and all(id_ % 2 == 0 and id_ < 600 for id_ in ids)


def test_the_response_is_the_most_likely_text(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    decoder.prefill(audio[:1])
    ids = speak(decoder, 3)
    vocabulary = thinker.vocabulary
    rows = vocabulary.rows([*vocabulary.layout.prefix, *INSTRUCTION, *vocabulary.layout.prefix_end]).tolist()
    rows += [*[AUDIO_ROW] * 10, thinker.response_row]
    texts = torch.arange(len(vocabulary.rows(range(0, 600, 2))))
    eos = vocabulary.row(vocabulary.layout.eos)
    allowed = torch.cat([texts, torch.tensor([eos])])
    for id_ in ids:
        with torch.no_grad():
            scores = thinker.logits(thinker.hidden(thinker.embed(torch.tensor([rows]), audio[:1]))[0, -1])
        best = int(allowed[scores[allowed].argmax()])
        assert vocabulary.ids([best]) == [id_]
        rows.append(best)


def test_a_reanchored_stream_equals_one_that_began_there(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    decoder.prefill(audio[:3])
    ids = speak(decoder, 2)
    decoder.prefill(audio[3:5])
    decoder.stay_silent()
    decoder.reanchor(keep=3)
    again = decoder.prefill(audio[5:6])
    vocabulary = thinker.vocabulary
    response = [thinker.response_row, *vocabulary.rows(ids).tolist(), vocabulary.row(vocabulary.layout.eos)]
    silent = [thinker.silent_row]
    expected = reference(thinker, audio[2:6], [response, silent, silent, []])
    np.testing.assert_allclose(again[0], expected[-1], atol=1e-4)
    assert decoder.chunks == 4


def test_the_literal_drain_reads_chunks_without_tokens_between(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    logits = decoder.prefill(audio[:3], between=False)
    np.testing.assert_allclose(logits, reference(thinker, audio, [[], [], []]), atol=1e-4)


def test_a_chunk_must_be_decided_before_the_next_prefill(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    with pytest.raises(RuntimeError):
        decoder.stay_silent()
    decoder.prefill(audio[:1])
    with pytest.raises(RuntimeError):
        decoder.prefill(audio[1:2])
    decoder.open_response()
    for forbidden in (decoder.stay_silent, lambda: decoder.prefill(audio[:1]), lambda: decoder.reanchor(1)):
        with pytest.raises(RuntimeError):
            forbidden()
    decoder.close_response()
    with pytest.raises(RuntimeError):
        decoder.next_id()


def test_tokens_include_those_still_to_be_written(thinker: StreamingThinker, audio: torch.Tensor) -> None:
    decoder = StreamDecoder(thinker, INSTRUCTION)
    assert decoder.tokens == 5
    decoder.prefill(audio[:2])
    assert decoder.tokens == 5 + 10 + 1 + 10
    decoder.stay_silent()
    assert decoder.tokens == 27
    decoder.reanchor(1)
    assert decoder.tokens == 5 + 11


def alone_and_together(thinker: StreamingThinker, seats: int) -> tuple[list[StreamDecoder], list[StreamDecoder]]:
    cache = SeatedCache(seats)
    instructions = [INSTRUCTION[: 1 + number % 3] for number in range(seats)]
    return [StreamDecoder(thinker, ids) for ids in instructions], [StreamDecoder(thinker, ids, cache) for ids in instructions]


def test_streams_that_share_passes_have_the_results_each_has_alone(thinker: StreamingThinker) -> None:
    alone, together = alone_and_together(thinker, 4)
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(2)
    for turn in range(12):
        prefilling = [seat for seat in range(4) if not alone[seat].responding and rng.random() < 0.7]
        audio = [torch.randn(int(rng.integers(1, 5)), 10, 128, generator=generator) for _ in prefilling]
        if prefilling:
            ways = [bool(rng.random() < 0.8) for _ in prefilling]
            expected = [
                alone[seat].prefill(chunks, between=way) for seat, chunks, way in zip(prefilling, audio, ways, strict=True)
            ]
            found = prefill_batch([together[seat] for seat in prefilling], audio, ways)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)
            for seat in prefilling:
                decide = "open_response" if rng.random() < 0.5 else "stay_silent"
                getattr(alone[seat], decide)(), getattr(together[seat], decide)()
        responding = [seat for seat in range(4) if alone[seat].responding]
        if responding:
            assert next_ids([together[seat] for seat in responding]) == [alone[seat].next_id() for seat in responding]
        for seat in responding:
            if alone[seat].responding and rng.random() < 0.3:
                alone[seat].close_response(), together[seat].close_response()
        if turn == 7 and not alone[0].responding:
            alone[0].reanchor(2), together[0].reanchor(2)
    assert [stream.tokens for stream in alone] == [stream.tokens for stream in together]


def test_a_stream_of_nan_harms_neither_its_neighbour_nor_the_next_stream_in_its_seat(thinker: StreamingThinker) -> None:
    (_, quiet), (broken, neighbour) = alone_and_together(thinker, 2)
    fine = torch.randn(2, 10, 128, generator=torch.Generator().manual_seed(3))
    found = prefill_batch([broken, neighbour], [torch.full((4, 10, 128), torch.nan), fine], [True, True])
    expected = quiet.prefill(fine)
    assert np.isnan(found[0]).any()
    np.testing.assert_allclose(found[1], expected, atol=1e-4)
    broken.close()
    heir = StreamDecoder(thinker, INSTRUCTION[:2], neighbour._cache)
    with pytest.raises(IndexError):
        StreamDecoder(thinker, INSTRUCTION, neighbour._cache)
    neighbour.stay_silent()
    found = prefill_batch([heir, neighbour], [fine, fine], [True, True])
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    assert np.isfinite(found[1]).all()
