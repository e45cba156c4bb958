"""Thoughts of reasoning models, from the response to the answer of a role: kept in the text, left out of the answer, counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from soundflow.backends.calls.answers import CachedChat
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.protocols.asking import ask
from soundflow.operators.protocols.chat import Completion
from soundflow.operators.protocols.faults import EmptyAnswer
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.llm import LlmConfig, LlmServer, RoleCost
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.scenario import SpokenText
from tests.bench.audio_server import AudioServer
from tests.operators.curate.chats import complete, key, request_for

__all__ = ["key"]
ANSWER = json.dumps({"spoken": "three kilograms"})


class ReasoningServer(AudioServer):
    """Sends `messages` one after the other, and the last one again and again."""

    def __init__(self, *messages: dict[str, Any], finish: str = "stop"):
        super().__init__(lambda request, before: "")
        self.sent, self.finish = messages, finish

    def respond(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        self.bodies.append(body)
        message = self.sent[min(len(self.bodies), len(self.sent)) - 1]
        choice = {"index": 0, "finish_reason": self.finish, "message": {"role": "assistant", **message}}
        return 200, json.dumps({"model": "r", "choices": [choice]}).encode()

    def config(self) -> LlmConfig:
        return LlmConfig(model="r", server=LlmServer(base_url=self.url, retries=0))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": f"<think>Hm.</think>{ANSWER}"}, f"<think>Hm.</think>{ANSWER}"),
        ({"content": ANSWER, "reasoning_content": "Hm."}, f"<think>Hm.</think>{ANSWER}"),
        ({"content": ANSWER, "reasoning": "Hm."}, f"<think>Hm.</think>{ANSWER}"),
        ({"content": ANSWER, "reasoning_content": "", "reasoning": {"effort": "low"}}, ANSWER),
        ({"content": ANSWER, "reasoning_content": None}, ANSWER),
    ],
)
def test_the_whole_text_is_kept_and_answers_with_thoughts_are_counted(message: dict[str, Any], text: str, tmp_path: Path) -> None:
    with ReasoningServer(message) as server:
        config = server.config()

        async def twice() -> tuple[Completion, Completion, OpenAiChat]:
            async with OpenAiChat(config) as model:
                chat = CachedChat(model, AnswerCache(tmp_path), model.ledger)
                return await chat.complete(request_for(config)), await chat.complete(request_for(config)), model

        first, second, model = asyncio.run(twice())
    assert first.text == second.text == text and second.cached and len(server.bodies) == 1
    assert model.ledger.roles["spoken_rewriter"].thoughts == (2 if "<think>" in text else 0)


def test_nothing_but_separated_thoughts_is_an_empty_answer() -> None:
    with ReasoningServer({"content": None, "reasoning_content": "Hm."}) as server:
        assert isinstance(complete(OpenAiChat(server.config()), request_for(server.config())), EmptyAnswer)
    with ReasoningServer({"content": "", "reasoning_content": "Hm."}, finish="length") as server:
        answer = complete(OpenAiChat(server.config()), request_for(server.config()))
    assert (answer.text, answer.finish) == ("<think>Hm.", "length")


def answer_of(server: ReasoningServer) -> Any:
    async def run() -> Any:
        async with OpenAiChat(server.config()) as chat:
            return await ask(chat, "spoken_rewriter", {"text": "3 kg"}, SpokenText, seed=0)

    return asyncio.run(run())


def test_a_role_reads_what_stands_behind_the_thoughts() -> None:
    thoughts = 'Is it {"spoken": "three kilos"}? {"spoken": "no"}'
    with ReasoningServer({"content": f"<think>{thoughts}</think>\n{ANSWER}"}) as server:
        outcome = answer_of(server)
    assert isinstance(outcome, Ok) and outcome.value.value.spoken == "three kilograms"


def test_thoughts_without_an_end_are_rejected_with_a_reason_and_not_sent_back() -> None:
    with ReasoningServer({"content": f"<think>Maybe {ANSWER}"}) as server:
        outcome = answer_of(server)
    assert isinstance(outcome, Rejected) and outcome.reason == "llm_unclosed_thoughts"
    sent = server.bodies[1]["messages"]
    assert sent[2]["content"] == "(no answer)" and "thoughts do not end" in str(sent[3]["content"])


def test_a_correction_quotes_the_answer_without_its_thoughts() -> None:
    with ReasoningServer({"content": "<think>Hm.</think>No."}, {"content": ANSWER}) as server:
        assert isinstance(answer_of(server), Ok)
    assert server.bodies[1]["messages"][2]["content"] == "No."


def test_a_cost_without_thoughts_keeps_its_bytes() -> None:
    assert b"thoughts" not in RoleCost(faults=1).canonical_json()
    assert RoleCost.from_json((RoleCost(thoughts=1) + RoleCost(thoughts=2)).canonical_json()).thoughts == 3
