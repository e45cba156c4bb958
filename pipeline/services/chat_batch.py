"""Run one chat task over many items concurrently, answered from the cache where possible."""

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


def run_chat_batch(
    items: Sequence[T],
    task: Callable[[T, ChatModel], Awaitable[R]],
    config: LlmConfig,
    answers: AnswerCache,
    on_done: Callable[[int, int], None],
) -> list[R]:
    """Return `task(item, chat)` for each of `items`, in order. `on_done` receives (done, total). Raises what `task` raises."""

    async def run() -> list[R]:
        done = 0
        async with open_chat(config, answers) as chat:
            slots = asyncio.Semaphore(2 * config.server.concurrency)

            async def run_one(item: T) -> R:
                nonlocal done
                async with slots:
                    result = await task(item, chat)
                done += 1
                on_done(done, len(items))
                return result

            return await asyncio.gather(*map(run_one, items))

    return asyncio.run(run())
