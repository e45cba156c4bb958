"""The same question about many things: bounded, in order, answered from the cache where it was asked before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from soundflow.operators.protocols.chat import ChatModel
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.schemas.llm import LlmConfig

T = TypeVar("T")
R = TypeVar("R")


def ask_many(
    things: Sequence[T],
    ask_one: Callable[[T, ChatModel], Awaitable[R]],
    config: LlmConfig,
    answers: AnswerCache,
    on_done: Callable[[int, int], None],
) -> list[R]:
    """What `ask_one` finds out about each of `things`. `on_done` is told (done, total). Raises what `ask_one` raises."""

    async def asked() -> list[R]:
        done: list[None] = []
        async with open_chat(config, answers) as chat:
            room = asyncio.Semaphore(2 * config.server.concurrency)

            async def one(thing: T) -> R:
                async with room:
                    found = await ask_one(thing, chat)
                done.append(None)
                on_done(len(done), len(things))
                return found

            return await asyncio.gather(*map(one, things))

    return asyncio.run(asked())
