"""The chat model of a build: an OpenAI-compatible server behind the answer cache, with one budget for all workers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from soundflow.backends.calls.answers import CachedChat
from soundflow.backends.calls.metering import CostLedger, Limits, Meter, ProcessMeter
from soundflow.backends.llm.guarded_chat import GuardedChat
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.llm import LlmConfig


@contextlib.asynccontextmanager
async def open_chat(
    config: LlmConfig, answers: AnswerCache, *, spent: Path | None = None, ledger: CostLedger | None = None
) -> AsyncIterator[CachedChat]:
    """Open the chat model. Cached requests need neither a key nor a server.

    `spent`: the file in which all workers of a build meter their calls (None: meter only this process). `ledger`: receives the
    cost of every call.

    Its calls raise ServiceBroken once the server has stopped answering.
    """
    answers.sweep()
    limits, ledger = Limits.of(config.budget, config.server), ledger or CostLedger()
    meter: Meter = SharedMeter(spent, limits) if spent else ProcessMeter(limits)
    async with OpenAiChat(config, meter=meter, ledger=ledger) as model:
        yield CachedChat(GuardedChat(model), answers, ledger)
