"""What all backends behind HTTP share: which faults are tried again and when, and that a key stands in no text.

Faults are told apart by type and status: a `ServerFault` may pass, anything else will not.
"""

from __future__ import annotations

import datetime
import email.utils
import os
from typing import Any, Final

import tenacity
from pydantic import SecretStr

from soundflow.operators.protocols.faults import ServerFault
from soundflow.schemas.base import InputError

LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries, unless the server asks for more."""
PATIENCE: Final = 600.0
"""Seconds: a server that asks for a longer pause is given up on."""
SHORTEST_SECRET: Final = 8
"""Shorter keys are placeholders such as `none`, and words that may stand anywhere."""
TRANSIENT: Final = frozenset({408, 409, 425, 429})
"""Statuses below 500 that another try may get over."""


def tries(retries: int, backoff_seconds: float) -> tenacity.AsyncRetrying:
    """Calls a coroutine function again after each ServerFault, at most `retries` times, and then raises the last one.

    The pauses double from `backoff_seconds` on; the server's own Retry-After goes first.
    """
    return tenacity.AsyncRetrying(**_policy(retries, backoff_seconds))


def tries_in_thread(retries: int, backoff_seconds: float) -> tenacity.Retrying:
    """`tries` for a plain function."""
    return tenacity.Retrying(**_policy(retries, backoff_seconds))


def _policy(retries: int, backoff_seconds: float) -> dict[str, Any]:
    backoff = tenacity.wait_exponential_jitter(backoff_seconds, LONGEST_PAUSE, jitter=backoff_seconds)

    def pause(state: tenacity.RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        asked = fault.retry_after if isinstance(fault, ServerFault) else None
        return float(backoff(state)) if asked is None else asked

    return {
        "retry": tenacity.retry_if_exception(_worth_retrying),
        "stop": tenacity.stop_after_attempt(1 + retries),
        "wait": pause,
        "reraise": True,
    }


def _worth_retrying(error: BaseException) -> bool:
    return isinstance(error, ServerFault) and (error.retry_after or 0.0) <= PATIENCE


def may_pass(status: int) -> bool:
    """Whether an HTTP status is a fault that another try may get over."""
    return status in TRANSIENT or status >= 500


def retry_after(header: str | None) -> float | None:
    """Seconds, from either form of Retry-After (a number, an HTTP date); None when there is none or it makes no sense."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=datetime.UTC)
        seconds = (until - datetime.datetime.now(datetime.UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds and seconds < 1e9 else None


def key_in(variable: str, field: str) -> SecretStr:
    """The key in an environment variable, empty when it is not set; InputError naming `field` when no key looks so."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if any(ord(character) < 33 or ord(character) > 126 for character in key):
        raise InputError(f"{variable} holds characters no key has", field=field, remedy="Set it again")
    return SecretStr(key)


def scrubbed(text: str, key: SecretStr) -> str:
    """`text` without the key, whoever put it there."""
    secret = key.get_secret_value()
    return text.replace(secret, "[api key]") if len(secret) >= SHORTEST_SECRET else text
