"""Stored answers: no task, process or run sends the same request twice.

An `AnswerStore` maps content addresses to bytes (`pipeline.services.answer_cache` is the one on disk). `answered_once` is the
protocol around it for any backend; `CachedChat` applies it to a chat model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from soundflow.backends.calls.metering import CostLedger
from soundflow.operators.protocols.chat import ChatModel, ChatRequest, Completion
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.llm import LlmConfig, Usage
from soundflow.schemas.text import without_thoughts


class AnswerStore(Protocol):
    """Answers by content address. Safe for concurrent tasks and processes."""

    def get(self, key: str) -> bytes | None:
        """Return the answer; None if there is none or it is damaged."""

    def put(self, key: str, answer: bytes) -> bytes:
        """Store `answer` unless there is one already; return the stored one. The first wins."""

    def claimed(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold the only claim to request `key` within the block. A claim ends with its process, however the process ends."""


async def answered_once(store: AnswerStore, key: str, request: Callable[[], Awaitable[bytes]]) -> tuple[bytes, bool]:
    """Return (answer, whether it was stored already). Only successes are stored: what `request` raises passes through."""
    stored = store.get(key)
    if stored is not None:
        return stored, True
    async with store.claimed(key):
        stored = store.get(key)
        if stored is not None:
            return stored, True
        return store.put(key, await request()), False


class StoredCompletion(Schema):
    """A completion as it is stored, with its cost."""

    text: str
    """The whole text, thoughts of the model included."""
    finish: Literal["stop", "length", "refused"]
    model: str
    usage: Usage


class CachedChat:
    """A chat model that takes answers from `store` if they are there."""

    def __init__(self, inner: ChatModel, store: AnswerStore, ledger: CostLedger):
        self.inner, self.store, self.ledger = inner, store, ledger

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self.inner.config

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the completion; raises what the inner model raises."""

        async def send() -> bytes:
            answer = await self.inner.complete(request)
            stored = StoredCompletion(text=answer.text, finish=answer.finish, model=answer.model, usage=answer.usage)
            return stored.canonical_json()

        key = request.key()
        data, is_cached = await answered_once(self.store, key, send)
        try:
            stored = StoredCompletion.from_json(data)
        except InputError as error:
            why = f"the answer stored under {key} is not a chat completion"
            raise InputError(why, field="answer cache", remedy="Use another cache directory ($SOUNDFLOW_ANSWERS)") from error
        if is_cached:
            self.ledger.replayed(request.role, stored.usage)
            if without_thoughts(stored.text).has_thoughts:
                self.ledger.had_thoughts(request.role)
        return Completion(stored.text, stored.finish, stored.model, stored.usage, is_cached)
