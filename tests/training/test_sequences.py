"""Streams are parsed, cut and encoded as in Algorithm 2."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.model.vocabulary import Vocabulary
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import cut, to_npz, tokenize
from soundflow.schemas.base import InputError
from soundflow.schemas.tokens import AUTHORS, LAYOUTS, SOUNDFLOW, TokenLayout
from soundflow.training.config import DrainConfig
from soundflow.training.sequences import Turns, Window, draw_drains, encode_window, parse_turns, rechunk, windows

TOKENIZER = QwenTokenizer.load()
TEXTS = st.sampled_from(["A dog.", "你好", "", "<|im_start|> no", "I hear rain, and a siren."])
LAYOUT = st.sampled_from(list(LAYOUTS.values()))


@st.composite
def timelines(draw: st.DrawFn, longest: int = 25) -> tuple[int, list[tuple[int, str]]]:
    chunks = draw(st.integers(1, longest))
    at = draw(st.sets(st.integers(1, chunks), max_size=6))
    return chunks, [(chunk, draw(TEXTS)) for chunk in sorted(at)]


def turns_of(chunks: int, timeline: list[tuple[int, str]], layout: TokenLayout = SOUNDFLOW) -> Turns:
    return parse_turns(to_npz(tokenize("Listen.", chunks, timeline, TOKENIZER, layout)), "here")


def whole(turns: Turns) -> Window:
    return Window(0, turns.chunks - 1, 0)


@given(stream=timelines(), layout=LAYOUT)
def test_parsing_a_stream_and_encoding_it_gives_its_tokens(
    stream: tuple[int, list[tuple[int, str]]], layout: TokenLayout
) -> None:
    chunks, timeline = stream
    tokens = tokenize("Listen.", chunks, timeline, TOKENIZER, layout)
    turns = parse_turns(to_npz(tokens), "here")
    vocabulary = Vocabulary(layout, None)
    example = encode_window(turns, whole(turns), vocabulary, layout.slots)
    assert turns.chunks == chunks
    assert np.array_equal(example.rows, vocabulary.rows(tokens.x))
    assert np.array_equal(example.y_stream, tokens.y_stream) and np.array_equal(example.y_lm, tokens.y_lm)


@given(stream=timelines(), longest=st.integers(1, 12))
def test_windows_cover_the_stream_in_order_and_equal_the_tokenizers_cuts(
    stream: tuple[int, list[tuple[int, str]]], longest: int
) -> None:
    chunks, timeline = stream
    tokens = tokenize("Listen.", chunks, timeline, TOKENIZER, SOUNDFLOW)
    turns = parse_turns(to_npz(tokens), "here")
    found = windows(turns, longest, SOUNDFLOW.slots)
    assert [chunk for window in found for chunk in range(window.first, window.last + 1)] == list(range(chunks))
    vocabulary = Vocabulary(SOUNDFLOW, None)
    for window in found:
        example = encode_window(turns, window, vocabulary, SOUNDFLOW.slots)
        expected = cut(tokens, window.first + 1, window.last + 1)
        assert window.last - window.first < longest and window.tokens == len(example.rows)
        assert np.array_equal(example.rows, vocabulary.rows(expected.x)) and np.array_equal(example.y_lm, expected.y_lm)


def test_a_window_ends_with_a_turn_when_one_ends_in_its_second_half() -> None:
    turns = turns_of(25, [(3, "early"), (8, "late"), (9, "later"), (22, "last")])
    assert [(window.first, window.last) for window in windows(turns, 10, 10)] == [(0, 8), (9, 18), (19, 24)]


@given(stream=timelines(), probability=st.sampled_from([0.0, 0.7, 1.0]), longest=st.integers(1, 4), seed=st.integers(0, 99))
def test_drained_runs_respect_their_maximum_and_do_not_overlap(
    stream: tuple[int, list[tuple[int, str]]], probability: float, longest: int, seed: int
) -> None:
    turns = turns_of(*stream)
    runs = draw_drains(turns.responses, DrainConfig(probability=probability, longest=longest), np.random.default_rng(seed))
    assert not runs or probability > 0
    assert all(1 <= last - first < longest for first, last in runs)
    assert all(second[0] > first[1] for first, second in pairwise(runs))


@given(stream=timelines(), seed=st.integers(0, 99), layout=LAYOUT)
def test_in_a_drained_sample_decisions_stay_true_and_texts_move_to_the_end_of_the_run(
    stream: tuple[int, list[tuple[int, str]]], seed: int, layout: TokenLayout
) -> None:
    turns = turns_of(*stream, layout)
    runs = draw_drains(turns.responses, DrainConfig(probability=1.0), np.random.default_rng(seed))
    vocabulary = Vocabulary(layout, None)
    example = encode_window(turns, whole(turns), vocabulary, layout.slots, runs)
    controls = np.flatnonzero(example.y_stream != -100)
    assert len(controls) == turns.chunks
    assert all(example.rows[controls[first - 1]] == layout.response for first, _ in runs), "a run follows a response"
    inner = {chunk for first, last in runs for chunk in range(first, last)}
    spoken: list[int] = []
    for chunk, at in enumerate(controls):
        label, read = example.y_stream[at], example.rows[at]
        if turns.responses[chunk] is not None:
            assert label == layout.response
        if chunk in inner:
            assert read == layout.silent
        else:
            assert read == label
        if read == layout.response:
            end = at + 1 + int(np.flatnonzero(example.rows[at + 1 :] == layout.eos)[0])
            spoken += example.rows[at + 1 : end].tolist()
            assert np.array_equal(example.y_lm[at + 1 : end + 1], example.rows[at + 1 : end + 1])
    assert spoken == [id_ for response in turns.responses if response is not None for id_ in response]


def test_text_without_a_row_is_read_and_never_asked_for() -> None:
    turns = turns_of(2, [(1, "A wild dog")])
    known = tuple(sorted(set(turns.head) | set(TOKENIZER.encode("A"))))
    vocabulary = Vocabulary(SOUNDFLOW, known)
    example = encode_window(turns, whole(turns), vocabulary, 10)
    unknown = example.rows == vocabulary.unknown_row
    assert example.masked == unknown.sum() == len(TOKENIZER.encode("A wild dog")) - 1
    assert (example.y_lm[unknown] == -100).all()


def test_another_chunk_size_moves_decisions_to_the_chunk_in_whose_end_their_evidence_lies() -> None:
    turns = turns_of(6, [(2, "A dog."), (3, "Rain.")])
    dog, rain = turns.responses[1], turns.responses[2]
    evidence = [2 * 6400, 3 * 6400 - 100]
    assert rechunk(turns, evidence, 6 * 6400, 3200).responses == (None, None, None, dog, None, rain, *[None] * 6)
    assert rechunk(turns, evidence, 6 * 6400, 12800).responses == (dog, rain, None)
    assert rechunk(turns, [6 * 6400, 6 * 6400], 6 * 6400, 12800).responses == (None, None, (*dog, *rain))


def test_a_file_that_is_no_token_archive_is_reported_by_name() -> None:
    with pytest.raises(InputError, match=r"shard: KEY: is not a token archive"):
        parse_turns(b"nonsense", "shard: KEY")


def test_labels_that_contradict_the_tokens_are_reported() -> None:
    tokens = tokenize("Listen.", 3, [(2, "A dog.")], TOKENIZER, AUTHORS)
    tokens.y_lm[:] = -100
    with pytest.raises(InputError, match="do not form a stream of Algorithm 2"):
        parse_turns(to_npz(tokens), "here")
