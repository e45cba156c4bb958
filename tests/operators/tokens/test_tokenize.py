"""Tokenization: Qwen's ids, Algorithm 2's invariants, exact inversion, strict reading."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import Decoded, StreamTokens, TokenError, cut, detokenize, from_npz, to_npz, tokenize
from soundflow.schemas.base import InputError
from soundflow.schemas.scene import nfc
from soundflow.schemas.tokens import AUTHORS, FIRST_FREE_ROW, LAYOUTS, SOUNDFLOW, TEXT_VOCABULARY, TokenLayout
from tests.support import ROOT

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40).map(nfc)
CONTROL_STRINGS = ["<silent>", "<response>", "<eos>", "<|im_start|>", "<|AUDIO|>", "<|endoftext|>", "<|im_end|>user", "ㄓ嘆"]
ANY_TEXT = st.one_of(TEXT, st.sampled_from(CONTROL_STRINGS), st.tuples(TEXT, st.sampled_from(CONTROL_STRINGS), TEXT).map("".join))
LAYOUT = st.sampled_from([SOUNDFLOW, AUTHORS])


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, int, list[tuple[int, str]], TokenLayout]:
    chunks = draw(st.integers(1, 25))
    at = sorted(draw(st.sets(st.integers(1, chunks), max_size=6)))
    return draw(ANY_TEXT), chunks, [(chunk, draw(ANY_TEXT)) for chunk in at], draw(LAYOUT)


@pytest.fixture(scope="module")
def qwen() -> QwenTokenizer:
    return QwenTokenizer.load()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello, world!", [9707, 11, 1879, 0]),
        ("你好", [108386]),
        ("ㄓ", [151602]),
        (" ", [220]),
        ("", []),
        ("2026", [17, 15, 17, 21]),
        ("I'm", [40, 2776]),
    ],
)
def test_ids_are_those_of_qwens_vocabulary(qwen: QwenTokenizer, text: str, ids: list[int]) -> None:
    assert qwen.encode(text) == ids


@given(text=ANY_TEXT)
def test_any_text_round_trips_and_never_becomes_a_control_token(qwen: QwenTokenizer, text: str) -> None:
    ids = qwen.encode(text)
    assert qwen.decode(ids) == text
    assert all(0 <= token < TEXT_VOCABULARY for token in ids)


def test_a_text_and_its_decomposed_form_are_the_same_text(qwen: QwenTokenizer) -> None:
    assert qwen.encode("e\u0301te\u0301") == qwen.encode("\u00e9t\u00e9")
    with pytest.raises(ValueError, match="surrogates"):
        qwen.encode("\ud800")


@given(stream=streams())
def test_instruction_length_timeline_and_texts_are_recovered_from_x_alone(
    qwen: QwenTokenizer, stream: tuple[str, int, list[tuple[int, str]], TokenLayout]
) -> None:
    instruction, chunks, timeline, layout = stream
    tokens = tokenize(instruction, chunks, timeline, qwen, layout)
    assert detokenize(tokens, qwen) == Decoded(instruction, chunks, timeline)


@given(stream=streams())
def test_labels_keep_every_invariant_of_algorithm_2(
    qwen: QwenTokenizer, stream: tuple[str, int, list[tuple[int, str]], TokenLayout]
) -> None:
    instruction, chunks, timeline, layout = stream
    tokens = tokenize(instruction, chunks, timeline, qwen, layout)
    x, y_stream, y_lm = tokens.x, tokens.y_stream, tokens.y_lm
    assert x.shape == y_stream.shape == y_lm.shape and x.dtype == y_stream.dtype == y_lm.dtype == np.int32
    control = y_stream != -100
    assert control.sum() == chunks
    assert (y_stream[control] == layout.response).sum() == len(timeline)
    assert set(y_stream[control].tolist()) <= {layout.silent, layout.response}
    assert not (control & (y_lm != -100)).any()
    assert (x[control] == y_stream[control]).all() and (x[y_lm != -100] == y_lm[y_lm != -100]).all()
    expected = [token for _, text in timeline for token in [*layout.response_tags[:1], *qwen.encode(text), layout.eos]]
    assert y_lm[y_lm != -100].tolist() == expected
    assert (x == layout.audio).sum() >= chunks * layout.slots
    head = len(layout.prefix) + len(qwen.encode(instruction)) + len(layout.prefix_end)
    assert not control[:head].any() and (y_lm[:head] == -100).all()


@given(stream=streams(), data=st.data())
def test_tokenizing_a_cut_stream_equals_cutting_its_tokens(
    qwen: QwenTokenizer, stream: tuple[str, int, list[tuple[int, str]], TokenLayout], data: st.DataObject
) -> None:
    instruction, chunks, timeline, layout = stream
    first = data.draw(st.integers(1, chunks))
    last = data.draw(st.integers(first, chunks))
    kept = [(chunk - first + 1, text) for chunk, text in timeline if first <= chunk <= last]
    whole = tokenize(instruction, chunks, timeline, qwen, layout)
    assert to_npz(cut(whole, first, last)) == to_npz(tokenize(instruction, last - first + 1, kept, qwen, layout))


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 1), (1, 4)])
def test_a_cut_outside_the_stream_is_refused(qwen: QwenTokenizer, first: int, last: int) -> None:
    with pytest.raises(ValueError, match="chunks"):
        cut(tokenize("x", 3, [], qwen, SOUNDFLOW), first, last)


@pytest.mark.parametrize("timeline", [[(0, "a")], [(4, "a")], [(2, "a"), (2, "b")], [(3, "a"), (1, "b")]])
def test_an_impossible_timeline_is_refused(qwen: QwenTokenizer, timeline: list[tuple[int, str]]) -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        tokenize("x", 3, timeline, qwen, SOUNDFLOW)


@pytest.mark.parametrize("layout", [SOUNDFLOW, AUTHORS])
def test_every_change_of_x_raises_an_error_or_changes_the_text(qwen: QwenTokenizer, layout: TokenLayout) -> None:
    tokens = tokenize("Listen.", 4, [(2, "Yes?")], qwen, layout)
    meant = detokenize(tokens, qwen)
    for place in range(tokens.x.size):
        changed = tokens.x.copy()
        changed[place] = 151_900
        with pytest.raises(TokenError, match="index"):
            detokenize(StreamTokens(changed, tokens.y_stream, tokens.y_lm, tokens.layout), qwen)
        shorter = StreamTokens(np.delete(tokens.x, place), tokens.y_stream, tokens.y_lm, tokens.layout)
        with contextlib.suppress(TokenError):
            assert detokenize(shorter, qwen) != meant


@given(stream=streams())
def test_an_npz_holds_the_arrays_and_its_bytes_depend_on_nothing_else(
    qwen: QwenTokenizer, stream: tuple[str, int, list[tuple[int, str]], TokenLayout]
) -> None:
    tokens = tokenize(*stream[:3], qwen, stream[3])
    data = to_npz(tokens)
    assert data == to_npz(tokenize(*stream[:3], qwen, stream[3]))
    again = from_npz(data)
    assert again.layout == tokens.layout and all(
        (getattr(again, name) == getattr(tokens, name)).all() for name in ("x", "y_stream", "y_lm")
    )
    stock = np.load(io.BytesIO(data), allow_pickle=False)
    assert (stock["x"] == tokens.x).all() and str(stock["layout"]) == tokens.layout


def test_data_that_is_not_a_token_archive_is_rejected(qwen: QwenTokenizer) -> None:
    good = to_npz(tokenize("x", 2, [], qwen, SOUNDFLOW))
    with pytest.raises(TokenError):
        from_npz(b"")
    with pytest.raises(TokenError):
        from_npz(good[: len(good) // 2])
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3, np.int32), y_stream=np.zeros(4, np.int32), y_lm=np.zeros(3, np.int32), layout="soundflow/1")
    with pytest.raises(TokenError, match="shape"):
        from_npz(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez(buffer, **dict.fromkeys(("x", "y_stream", "y_lm"), np.zeros(3, np.int32)), layout="martian/9")
    with pytest.raises(TokenError, match="unknown token layout"):
        from_npz(buffer.getvalue())


def test_every_flipped_bit_and_truncation_of_an_archive_raises_an_error_or_changes_nothing(qwen: QwenTokenizer) -> None:
    tokens = tokenize("x", 1, [(1, "y")], qwen, SOUNDFLOW)
    good = to_npz(tokens)
    for place in range(len(good)):
        for damaged in (good[:place], *(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :] for bit in (0, 3, 6))):
            with contextlib.suppress(TokenError):
                read = from_npz(damaged)  # bits that carry nothing: a member's time, its attributes
                assert to_npz(read) == good
    loose = io.BytesIO()
    np.save(loose, tokens.x)
    with pytest.raises(TokenError, match="no"):
        from_npz(loose.getvalue())


AUTHORS_STREAM = [
    *(151_609, 151_611, 151_644, 151_644, 9707, 151_643),  # ONLINE ENGLISH SYSTEM TEXT_BEGIN "Hello" TEXT_END
    *(151_647, *[151_608] * 10, 151_602, 151_605),  # AUDIO_BEGIN PAD x 10 ASSISTANT KEEP_SILENCE
    *(151_647, *[151_608] * 10, 151_602, 151_644, 151_618, 9707, 151_643),  # ... TEXT_BEGIN NORMAL "Hello" TEXT_END
]


def test_the_authors_layout_writes_the_ids_and_labels_of_their_release(qwen: QwenTokenizer) -> None:
    tokens = tokenize("Hello", 2, [(2, "Hello")], qwen, AUTHORS)
    assert tokens.x.tolist() == AUTHORS_STREAM
    assert tokens.y_stream[tokens.y_stream != -100].tolist() == [151_605, 151_644]
    assert tokens.y_lm[-4:].tolist() == [-100, 151_618, 9707, 151_643] and (tokens.y_lm[:-4] == -100).all()


def test_only_the_authors_layout_tags_responses_with_their_emotion(qwen: QwenTokenizer) -> None:
    timeline, emotions = [(1, "Hello"), (2, "Hello"), (3, "Hello")], {1: "urgent", 3: "bored"}
    tagged = tokenize("Hello", 3, timeline, qwen, AUTHORS, emotions)
    assert [token for token in tagged.x.tolist() if token in AUTHORS.response_tags] == [151_619, 151_618, 151_618]
    assert detokenize(tagged, qwen).timeline == timeline
    plain = tokenize("Hello", 3, timeline, qwen, SOUNDFLOW, emotions)
    assert to_npz(plain) == to_npz(tokenize("Hello", 3, timeline, qwen, SOUNDFLOW))


@pytest.mark.parametrize("emotion", range(151_614, 151_620))
def test_every_emotion_of_the_authors_is_read_and_no_other_id_in_its_place(qwen: QwenTokenizer, emotion: int) -> None:
    tokens = tokenize("Hello", 2, [(2, "Hello")], qwen, AUTHORS)
    tokens.x[-3] = emotion
    assert detokenize(tokens, qwen) == Decoded("Hello", 2, [(2, "Hello")])
    tokens.x[-3] = 9707
    with pytest.raises(TokenError, match="tag"):
        detokenize(tokens, qwen)


def test_control_ids_are_free_rows_and_text_ids_are_not() -> None:
    ours = {SOUNDFLOW.silent, SOUNDFLOW.response, SOUNDFLOW.eos, *SOUNDFLOW.prefix, *SOUNDFLOW.prefix_end}
    assert len(ours) == 5 and all(FIRST_FREE_ROW <= token <= 151_935 for token in ours)
    assert set(LAYOUTS) == {"soundflow/1", "authors/1"}


def test_another_vocabulary_is_rejected_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "qwen.tiktoken").write_bytes(b"IQ== 0\n")
    with pytest.raises(InputError, match="not the vocabulary of Qwen"):
        QwenTokenizer.load(tmp_path / "qwen.tiktoken")
    with pytest.raises(InputError, match="cannot be read"):
        QwenTokenizer.load(tmp_path / "nowhere")


def test_the_vocabulary_is_looked_for_by_variable_then_asset_then_package(
    qwen: QwenTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path))
    assert QwenTokenizer.load().encode("Hello") == [9707]  # the package
    asset = tmp_path / "qwen-bpe" / "qwen.tiktoken"
    asset.parent.mkdir()
    asset.write_bytes(b"IQ== 0\n")
    with pytest.raises(InputError, match="assets fetch qwen-bpe") as caught:
        QwenTokenizer.load()
    assert str(asset) in str(caught.value)
    monkeypatch.setenv("SOUNDFLOW_QWEN_BPE", str(tmp_path / "mine"))
    with pytest.raises(InputError, match="mine"):
        QwenTokenizer.load()


def test_the_error_for_a_missing_vocabulary_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path))
    monkeypatch.delenv("SOUNDFLOW_QWEN_BPE", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="soundflow assets fetch qwen-bpe"):
        QwenTokenizer.load()


def test_loading_reaches_no_network_writes_nothing_and_costs_less_than_a_second_and_a_half(tmp_path: Path) -> None:
    script = (
        "import socket, time\nsocket.socket.connect = None\nbegun = time.process_time()\n"
        "from soundflow.operators.tokens.qwen_bpe import QwenTokenizer\nassert QwenTokenizer.load().encode('Hello') == [9707]\n"
        "assert time.process_time() - begun < 1.5\n"
    )
    places = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "SOUNDFLOW_ASSETS")}
    root = ROOT
    subprocess.run([sys.executable, "-B", "-c", script], cwd=root, env=os.environ | places, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
