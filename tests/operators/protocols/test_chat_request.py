"""The key of a request is a hash of everything that shapes its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.protocols.chat import AUDIO_BYTES_PER_TOKEN, AudioAttachment, ChatRequest, Message
from soundflow.schemas.llm import Answering

HOW = Answering(model="m")
BASE = ChatRequest("r", HOW, (Message("user", "x"),), "A", {"type": "object"}, "p", 0)

OTHER = {
    "model": "n",
    "temperature": 0.0,
    "top_p": 0.5,
    "max_tokens": 64,
    "json_mode": "none",
    "send_seed": True,
    "audio": True,
}


@pytest.mark.parametrize(
    "change",
    [{"answering": HOW.model_copy(update={field: value})} for field, value in OTHER.items()]
    + [
        {"messages": (Message("system", "x"),)},
        {"messages": (Message("user", "y"),)},
        {"messages": (Message("user", "x"), Message("user", ""))},
        {"messages": (Message("user", "x", (AudioAttachment(b"1"),)),)},
        {"messages": (Message("user", "x", (AudioAttachment(b"1", "mp3"),)),)},
        {"answer_name": "B"},
        {"answer_schema": {"type": "array"}},
        {"prompt_hash": "q"},
        {"seed": 1},
    ],
)
def test_everything_that_shapes_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(BASE, **change).key() != BASE.key()


def test_every_field_of_the_configuration_was_tried() -> None:
    assert set(Answering.model_fields) == set(OTHER)


def test_the_role_does_not_change_the_key() -> None:
    assert replace(BASE, role="other").key() == BASE.key()
    assert len(BASE.key()) == 64


def test_the_seed_is_sent_only_with_send_seed() -> None:
    assert "seed" not in BASE.wire()
    assert replace(BASE, answering=HOW.model_copy(update={"send_seed": True}), seed=2**63).wire()["seed"] < 2**31


@given(st.text(), st.binary(max_size=2000))
def test_the_token_bound_is_never_below_the_count_of_a_tokenizer(text: str, sound: bytes) -> None:
    from soundflow.operators.tokens.qwen_bpe import QwenTokenizer

    worst = replace(BASE, messages=(Message("user", text, (AudioAttachment(sound),)),)).worst()
    assert worst.input_tokens >= len(QwenTokenizer.load().encode(text)) + len(sound) // AUDIO_BYTES_PER_TOKEN
    assert (worst.calls, worst.output_tokens) == (1, HOW.max_tokens)
