"""A chat model that stops using a broken server."""

from __future__ import annotations

from typing import Final

from soundflow.backends.calls.guard import PROBE_RETRIES, Guard
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.protocols.chat import ChatRequest, Completion, Message
from soundflow.schemas.llm import LlmConfig

PROBE: Final = 'Answer with this JSON object and nothing else: {"ok": true}'
PROBE_SCHEMA: Final = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


class GuardedChat:
    """A chat model that raises ServiceBroken once its server no longer works."""

    def __init__(self, inner: OpenAiChat):
        self.inner = inner
        self._guard = Guard(inner.calls.service.label(), inner.config.server.retries)
        self._probes = 0

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self.inner.config

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the completion; raises what `OpenAiChat.complete` raises, and ServiceBroken."""
        return await self._guard.run(request.role, lambda: self.inner.complete(request), lambda: self._probe(request))

    async def _probe(self, request: ChatRequest) -> Completion:
        """A small request in the same configuration as `request`."""
        self._probes += 1
        probe = ChatRequest(
            request.role, request.answering, (Message("user", PROBE),), "Ready", PROBE_SCHEMA, "", seed=self._probes
        )
        return await self.inner.complete(probe, retries=PROBE_RETRIES)
