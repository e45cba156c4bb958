"""Rate limits: token buckets for the messages of a connection and for failed attempts by address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

ATTEMPTS: Final = 10
"""Wrong tokens an address may send at once."""
ATTEMPT_SECONDS: Final = 6.0
"""Time after which an address may try once more."""
MOST_ADDRESSES: Final = 4096
"""Maximum addresses whose failed attempts are kept; the one that failed least recently is forgotten first."""


class RateLimit:
    """A token bucket: `rate` events per second on average, `burst` at once. `clock` returns seconds."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    def take(self) -> float:
        """Count one event; return the seconds to wait before the next one, 0 within the limit."""
        self._refill()
        self._left -= 1
        return max(0.0, -self._left / self._rate)

    def wait(self) -> float:
        """Return the seconds until one more event is within the limit, 0 if it is now."""
        self._refill()
        return max(0.0, (1 - self._left) / self._rate)

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class FailedAttempts:
    """Counts failed attempts by address, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._limits: OrderedDict[Hashable, RateLimit] = OrderedDict()

    def add(self, address: Hashable) -> None:
        """Count a failed attempt."""
        limit = self._limits.setdefault(address, RateLimit(1 / ATTEMPT_SECONDS, ATTEMPTS, self._clock))
        limit.take()
        self._limits.move_to_end(address)
        if len(self._limits) > MOST_ADDRESSES:
            self._limits.popitem(last=False)

    def wait(self, address: Hashable) -> float:
        """Return the seconds until an address may try again, 0 if it may now."""
        limit = self._limits.get(address)
        return 0.0 if limit is None else limit.wait()
