"""Tells a service that is broken from one request that is hard: the first ends the work, the second costs one sample.

After `SUSPICIOUS` tries in a row that brought no answer the service gets a plain request that anything that works can answer. If
that fails too, the service is broken: whoever waits for it, or asks from then on, gets `ServiceBroken`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from soundflow.backends.calls.faults import PATIENCE
from soundflow.operators.protocols.faults import BackendError, ServerFault
from soundflow.schemas.llm import ServiceBroken

SUSPICIOUS: Final = 6
"""Tries in a row, of whatever requests."""
PROOF_RETRIES: Final = 2
"""Of the plain request."""

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
