"""Shared by tests of the chat model: a request, a client of the hostile server, and an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.protocols.asking import answer_schema
from soundflow.operators.protocols.chat import ChatRequest, Message
from soundflow.schemas.llm import LlmConfig, Price
from soundflow.schemas.scenario import SpokenText
from tests.support.hostile_llm import HostileLlm

T = TypeVar("T")
KEY = "sk-proj-d34db33fd34db33fd34db33f"
PRICES = {"m": Price(input=1.0, output=2.0)}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment, and nothing else that would name a server."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


def config(server: HostileLlm, settings: dict[str, Any] | None = None, **changes: Any) -> LlmConfig:
    """A client's configuration; every model call costs 0.0002 at this server."""
    return LlmConfig.model_validate(
        {"model": "m", "prices": PRICES, "max_tokens": 64, "server": server.settings(**(settings or {})), **changes}
    )


def request_for(chat_config: LlmConfig, text: str = "3 kg & more", seed: int = 0, **changes: Any) -> ChatRequest:
    """Return a request to the rewriter."""
    from soundflow import prompts

    system, user = prompts.messages("spoken_rewriter", text=text)
    fields: dict[str, Any] = {
        "role": "spoken_rewriter",
        "answering": chat_config.answering("spoken_rewriter"),
        "messages": (Message("system", system["content"]), Message("user", user["content"])),
        "answer_name": "SpokenText",
        "answer_schema": answer_schema(SpokenText),
        "prompt_hash": "p",
        "seed": seed,
    }
    return ChatRequest(**fields | changes)


def with_chat(chat: OpenAiChat, use: Callable[[OpenAiChat], Awaitable[T]]) -> T:
    """Open a chat model, use it, close it."""

    async def run() -> T:
        async with chat:
            return await use(chat)

    return asyncio.run(run())


def complete(chat: OpenAiChat, request: ChatRequest) -> Any:
    """One answer, or the exception instead of one."""

    async def run(opened: OpenAiChat) -> Any:
        return await opened.complete(request)

    try:
        return with_chat(chat, run)
    except Exception as error:
        return error
