"""A chat model whose server is given up when it is broken."""

from __future__ import annotations

from typing import Final

from soundflow.backends.calls.guard import PROOF_RETRIES, Guard
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.protocols.chat import ChatRequest, Completion, Message
from soundflow.schemas.llm import LlmConfig

PLAIN: Final = 'Answer with this JSON object and nothing else: {"ok": true}'
PLAIN_SCHEMA: Final = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


class GuardedChat:
    """A chat model whose server is given up when it is broken."""

    def __init__(self, inner: OpenAiChat):
        self.inner = inner
        server = inner.config.server
        self._guard = Guard(f"the language model at {inner.address}", server.retries)
        self._proofs = 0

    @property
    def config(self) -> LlmConfig:
        """How each role is answered."""
        return self.inner.config

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer; raises what `OpenAiChat.complete` raises, and ServiceBroken."""
        return await self._guard.ask(request.role, lambda: self.inner.complete(request), lambda: self._plain(request))

    async def _plain(self, request: ChatRequest) -> Completion:
        """A small question that is put as `request` is."""
        self._proofs += 1
        question = ChatRequest(
            request.role, request.answering, (Message("user", PLAIN),), "Ready", PLAIN_SCHEMA, "", seed=self._proofs
        )
        return await self.inner.complete(question, retries=PROOF_RETRIES)
