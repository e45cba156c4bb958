"""Errors of backends. A `ServerFault` may be transient; other errors are permanent for the request."""

from __future__ import annotations


class BackendError(Exception):
    """Raised when a request has no answer. The message contains no secrets."""


class ServerFault(BackendError):
    """Raised when the server or the connection fails, so that a retry may succeed.

    `billed`: the server may have charged for the call nevertheless.
    """

    def __init__(self, what: str, retry_after: float | None = None, billed: bool = False):
        super().__init__(what, retry_after, billed)
        self.what, self.retry_after, self.billed = what, retry_after, billed

    def __str__(self) -> str:
        return self.what


class Unreachable(ServerFault):
    """Raised when the server cannot be reached. No request was sent."""


class EmptyAnswer(ServerFault):
    """Raised for an empty answer. Some models return one for every attempt."""


class RequestRefused(BackendError):
    """Raised when the server rejects a single request as invalid: too long, or with an unknown field."""
