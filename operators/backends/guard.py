"""Tells a service that is broken from one request that is hard: the first ends the work, the second costs one sample.

After `SUSPICIOUS` tries in a row that brought no answer the service gets a plain request that anything that works can answer. If
that fails too, the service is broken: whoever waits for it, or asks from then on, gets `ServiceBroken`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from operators.backends.chat import ChatRequest, Completion, Message
from operators.backends.faults import PATIENCE, BackendError, ServerFault
from operators.backends.openai_chat import OpenAiChat
from schemas.llm import LlmConfig, ServiceBroken

SUSPICIOUS: Final = 6
"""Tries in a row, of whatever requests."""
PROOF_RETRIES: Final = 2
"""Of the plain request."""
PLAIN: Final = 'Answer with this JSON object and nothing else: {"ok": true}'
PLAIN_SCHEMA: Final = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}

T = TypeVar("T")


class Guard:
    """Watches what becomes of the requests to one service. Used in one event loop."""

    def __init__(self, service: str, retries: int):
        """`service`: who it is and where, for people; `retries`: of a request, before it is given up."""
        self._service, self._tries = service, 1 + retries
        self._in_a_row = 0
        self._proving, self._broke, self._why = asyncio.Lock(), asyncio.Event(), ""

    async def ask(self, role: str, request: Callable[[], Awaitable[T]], plain: Callable[[], Awaitable[object]]) -> T:
        """What `request` gives. Raises what it raises, and ServiceBroken as soon as the service turns out to be, without waiting
        for the tries of `request`. `plain` puts the plain request."""
        work, broke = asyncio.ensure_future(request()), asyncio.ensure_future(self._broke.wait())
        try:
            await asyncio.wait({work, broke}, return_when=asyncio.FIRST_COMPLETED)
            if self._why:
                raise ServiceBroken(self._why)
            got = work.result()
        except BackendError as fault:
            await self._look_into(role, fault, plain)
            raise
        finally:
            work.cancel()
            broke.cancel()
            await asyncio.gather(work, broke, return_exceptions=True)
        self._in_a_row = 0
        return got

    async def _look_into(self, role: str, fault: BackendError, plain: Callable[[], Awaitable[object]]) -> None:
        """Raises ServiceBroken when it is not the request that is at fault."""
        self._in_a_row += self._tries if isinstance(fault, ServerFault) else 1
        async with self._proving:
            if self._why:
                raise ServiceBroken(self._why)
            if isinstance(fault, ServerFault) and (fault.retry_after or 0.0) > PATIENCE:
                self._give_up(f"it wants to be left alone for {fault.retry_after:.0f} s ({role}: {fault})")
            if self._in_a_row < SUSPICIOUS:
                return
            try:
                await plain()
            except BackendError as still:
                told = f"{self._in_a_row} tries in a row brought no answer (the last for {role}: {fault})"
                self._give_up(f"{told}, nor did a plain request ({still})")
            self._in_a_row = 0

    def _give_up(self, why: str) -> NoReturn:
        self._why = f"{self._service} does not work: {why}"
        self._broke.set()
        raise ServiceBroken(self._why) from None


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
