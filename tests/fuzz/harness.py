"""Throw malformed inputs at a part of the product and count what becomes of them."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from soundflow.schemas.base import InputError
from tests.support.commandline import soundflow

SECONDS = float(os.environ.get("SOUNDFLOW_FUZZ_SECONDS", "60"))
"""Limit of an input: many times what the slowest takes, so that a busy machine does not matter. 10 on a quiet one."""
MEMORY = 1 << 30
TIMES = int(os.environ.get("SOUNDFLOW_FUZZ", "1"))
TABLE: dict[str, Counter[str]] = {}
"""Surface → outcome → number of inputs, filled by `throw`."""


class Hang(BaseException):
    """An input was not done with within the limit of time."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Raise Hang after `SECONDS`, and let allocations of more than 1 GiB beyond what is in use raise MemoryError."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    previous = signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def throw(surface: str, count: int, attempt: Callable[[random.Random], str]) -> Counter[str]:
    """Call `attempt` with generators of `count` seeds and count the outcomes that it returns, or the InputErrors that it raises.

    Fails with seeds and tracebacks if any other exception, a hang or too much memory comes of an input.
    """
    outcomes: Counter[str] = Counter()
    faults = []
    for seed in range(count * TIMES):
        try:
            with limits():
                outcomes[attempt(random.Random(f"{surface} {seed}"))] += 1
        except InputError:
            outcomes["named error"] += 1
        except (Hang, Exception) as error:
            faults.append(f"seed {seed}: {type(error).__name__}\n" + "".join(traceback.format_exception(error)[-6:]))
    TABLE[surface] = outcomes
    assert not faults, f"{len(faults)} of {count * TIMES}\n" + "\n".join(faults[:5])
    return outcomes


def command(*arguments: object) -> str:
    """Run a command in this process and return what became of it; raises AssertionError unless it ended in a sentence."""
    ended = soundflow(*arguments)
    assert "Traceback" not in ended.stdout + ended.stderr
    if ended.returncode == 0:
        return "accepted"
    if ended.returncode == 2:
        assert ended.stderr.splitlines()[-1].startswith("error: "), ended.stderr
        return "named error"
    assert ended.returncode in (1, 3) and (ended.stdout + ended.stderr).strip(), (ended.returncode, ended.stderr)
    return "finding"
