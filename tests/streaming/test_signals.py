"""SIGINT and SIGTERM stop an event loop whatever it is doing."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from soundflow.schemas.base import Interrupted
from soundflow.streaming.signals import run_until_stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_callback_is_not_lost(number: signal.Signals) -> None:
    """An Interrupted raised by an ordinary handler within a callback is logged by asyncio, and the loop goes on."""
    cleaned: list[bool] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.05, lambda: (os.kill(os.getpid(), number), time.sleep(0.05)))
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted):
        run_until_stopped(main())
    assert cleaned and handlers == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]


def test_results_errors_and_cancellation_pass_through() -> None:
    async def value() -> int:
        return 3

    async def failing() -> None:
        raise ValueError("wrong")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert run_until_stopped(value()) == 3
    with pytest.raises(ValueError, match="wrong"):
        run_until_stopped(failing())
    with pytest.raises(asyncio.CancelledError):
        run_until_stopped(cancelled())
