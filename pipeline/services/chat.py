"""The chat model of a build: the real one behind the answer cache, with one meter for all workers of the build."""

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
    """A chat model that asks nothing twice, and raises ServiceBroken when its server is.

    `spent`: the file all workers of a build count in; None counts this process alone.

    Needs no key and no server for what was asked before.
    """
    answers.sweep()
    limits, ledger = Limits.of(config.budget, config.server), ledger or CostLedger()
    meter: Meter = SharedMeter(spent, limits) if spent else ProcessMeter(limits)
    async with OpenAiChat(config, meter=meter, ledger=ledger) as model:
        yield CachedChat(GuardedChat(model), answers, ledger)
