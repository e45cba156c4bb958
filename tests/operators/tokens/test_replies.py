"""Which answers of an assistant may be taught: whole ones, as they were written, and none that the runtime would not say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.replies import find_response_problem, read_reply
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.streaming.events import ListenConfig


@pytest.mark.parametrize(
    "text",
    [
        "First line.\nSecond line.\n\n- a list\n\t- deeper",
        "👩\u200d👩\u200d👧 is a family",
        "می\u200cخواهم",
        "क्\u200dष",
        "a < b and b > a, 1 <= 2, <b>bold</b>, [1], F# x |> f <| y",
        "Use <p> and </p>. I think so.",
        "",
        "  kept as it was ",
    ],
)
def test_a_reply_arrives_as_it_was(text: str) -> None:
    reply = read_reply(text)
    assert isinstance(reply, Ok) and reply.value.text == text and not reply.value.had_thoughts


def test_thoughts_are_left_out_and_the_lines_of_the_answer_stay() -> None:
    reply = read_reply("<think>\nThe user greets.\n</think>\n\nHi.\nHow are you?\n")
    assert isinstance(reply, Ok) and reply.value.text == "Hi.\nHow are you?" and reply.value.had_thoughts


@pytest.mark.parametrize(
    ("text", "reason", "why"),
    [
        ("<think>The user greets.", "unclosed_thoughts", "without an end"),
        ("Hi.<think>", "unclosed_thoughts", "without an end"),
        ("<think>The user greets.</think>\n ", "only_thoughts", "nothing but thoughts"),
        ("Hi.<|im_end|>", "control_string", "<|im_end|>"),
        ("<think>x</think>Hi.<|im_start|>user", "control_string", "<|im_start|>"),
        ("Hi.\0", "not_text", "U+0000"),
        ("Hi.\x1b[31m", "not_text", "U+001B"),
        ("Hi \ud800.", "not_text", "U+D800"),
        ("word " * 1025, "response_too_long", "1,0"),
    ],
)
def test_a_reply_that_cannot_be_taught_is_rejected_with_a_reason(text: str, reason: str, why: str) -> None:
    rejected = read_reply(text)
    assert isinstance(rejected, Rejected) and rejected.reason == reason and why in rejected.metrics["detail"]


def test_the_longest_response_is_that_of_the_runtime() -> None:
    longest = "word" + " word" * (c.LONGEST_RESPONSE_TOKENS - 1)
    assert len(QwenTokenizer.load().encode(longest)) == c.LONGEST_RESPONSE_TOKENS == 1024
    assert find_response_problem(longest) == ("", "")
    assert find_response_problem(longest + " word")[0] == "response_too_long"
    assert ListenConfig(longest_response=c.LONGEST_RESPONSE_TOKENS).longest_response == 1024
    with pytest.raises(ValidationError):
        ListenConfig(longest_response=c.LONGEST_RESPONSE_TOKENS + 1)
