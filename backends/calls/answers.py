"""Answers that are kept: nothing is asked twice for the same content, by any task, process or run.

An `AnswerStore` keeps bytes under a content address (pipeline.services.answer_cache is the one on disk). `answered_once` is the
whole protocol around it, for any backend; `CachedChat` applies it to a chat model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from soundflow.backends.calls.metering import CostLedger
from soundflow.operators.protocols.chat import ChatModel, ChatRequest, Completion
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.llm import LlmConfig, Usage


class AnswerStore(Protocol):
    """Answers by content address. Safe for many tasks and processes at once."""

    def get(self, key: str) -> bytes | None:
        """The whole answer, or None when there is none or it is damaged."""

    def put(self, key: str, answer: bytes) -> bytes:
        """Keep `answer` unless there is one; returns the one that is kept: the first wins."""

    def claimed(self, key: str) -> AbstractAsyncContextManager[None]:
        """Within the block nobody else is asking for `key`. The claim goes with its process, however that ends."""


async def answered_once(store: AnswerStore, key: str, ask: Callable[[], Awaitable[bytes]]) -> tuple[bytes, bool]:
    """(answer, whether it was kept already). Only successes are kept: what `ask` raises passes through, and is asked anew."""
    kept = store.get(key)
    if kept is not None:
        return kept, True
    async with store.claimed(key):
        kept = store.get(key)
        if kept is not None:
            return kept, True
        return store.put(key, await ask()), False


class KeptCompletion(Schema):
    """A completion as it is kept: whole, with what it cost."""

    text: str
    finish: Literal["stop", "length", "refused"]
    model: str
    usage: Usage


class CachedChat:
    """A chat model that answers from `store` what was answered before."""

    def __init__(self, inner: ChatModel, store: AnswerStore, ledger: CostLedger):
        self.inner, self.store, self.ledger = inner, store, ledger

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self.inner.config

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer; raises what the inner model raises."""

        async def ask() -> bytes:
            answer = await self.inner.complete(request)
            kept = KeptCompletion(text=answer.text, finish=answer.finish, model=answer.model, usage=answer.usage)
            return kept.canonical_json()

        key = request.key()
        data, cached = await answered_once(self.store, key, ask)
        try:
            kept = KeptCompletion.from_json(data)
        except InputError as error:
            raise InputError("holds an answer of another kind", field=key, remedy="Use another cache directory") from error
        if cached:
            self.ledger.replayed(request.role, kept.usage)
        return Completion(kept.text, kept.finish, kept.model, kept.usage, cached)
