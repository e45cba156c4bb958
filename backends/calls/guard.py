"""Tell a broken service from a single request that fails: the first ends the work, the second costs one sample.

After `SUSPICIOUS` failed tries in a row the guard sends a probe: a small request that any working service can answer. If it fails
as well, the service is broken, and every caller gets `ServiceBroken`, those that are still waiting included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from soundflow.backends.calls.metered_call import LONGEST_RETRY_AFTER
from soundflow.operators.protocols.faults import BackendError, ServerFault
from soundflow.schemas.llm import ServiceBroken

SUSPICIOUS: Final = 6
"""Failed tries in a row, of any requests."""
PROBE_RETRIES: Final = 2

T = TypeVar("T")


class Guard:
    """Watches the outcomes of all requests to one service. Used in one event loop."""

    def __init__(self, service: str, retries: int):
        """`service`: name and address for messages; `retries`: of one request."""
        self._service, self._tries = service, 1 + retries
        self._failures = 0
        self._probing, self._is_broken, self._why = asyncio.Lock(), asyncio.Event(), ""

    async def run(self, role: str, request: Callable[[], Awaitable[T]], probe: Callable[[], Awaitable[object]]) -> T:
        """Return the result of `request`.

        Raises what `request` raises. Raises ServiceBroken as soon as the service is known to be broken, without waiting for the
        retries of `request`. `probe` sends the probe.
        """
        work, broken = asyncio.ensure_future(request()), asyncio.ensure_future(self._is_broken.wait())
        try:
            await asyncio.wait({work, broken}, return_when=asyncio.FIRST_COMPLETED)
            if self._why:
                raise ServiceBroken(self._why)
            result = work.result()
        except BackendError as fault:
            await self._examine(role, fault, probe)
            raise
        finally:
            work.cancel()
            broken.cancel()
            await asyncio.gather(work, broken, return_exceptions=True)
        self._failures = 0
        return result

    async def _examine(self, role: str, fault: BackendError, probe: Callable[[], Awaitable[object]]) -> None:
        """Raise ServiceBroken if the service, not the request, is at fault."""
        self._failures += self._tries if isinstance(fault, ServerFault) else 1
        async with self._probing:
            if self._why:
                raise ServiceBroken(self._why)
            if isinstance(fault, ServerFault) and (fault.retry_after or 0.0) > LONGEST_RETRY_AFTER:
                self._give_up(f"it requests a pause of {fault.retry_after:.0f} s (Retry-After). {role}: {fault}")
            if self._failures < SUSPICIOUS:
                return
            try:
                await probe()
            except BackendError as error:
                last = f"{self._failures} tries in a row failed, the last for {role}: {fault}"
                self._give_up(f"{last}. A minimal test request failed as well: {error}")
            self._failures = 0

    def _give_up(self, why: str) -> NoReturn:
        self._why = f"{self._service} does not work: {why}"
        self._is_broken.set()
        raise ServiceBroken(self._why) from None
