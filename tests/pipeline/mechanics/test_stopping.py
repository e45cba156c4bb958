"""A second Ctrl-C does not interrupt the cleanup that the first one started."""

from __future__ import annotations

import os
import signal

import pytest

from soundflow.pipeline.mechanics.stopping import SIGNALS, raise_interrupted, signal_handler
from soundflow.schemas.base import Interrupted


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_does_not_interrupt_the_cleanup_of_the_first(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    finished = False
    with pytest.raises(Interrupted), signal_handler(raise_interrupted):
        try:
            os.kill(os.getpid(), number)
        finally:
            for second in SIGNALS:
                os.kill(os.getpid(), second)
            finished = True
    assert finished
    assert signal.getsignal(number) == before
