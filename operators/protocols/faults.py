"""What a backend raises, told apart by type: a `ServerFault` may pass, anything else will not."""

from __future__ import annotations


class BackendError(Exception):
    """No answer to one request. The text holds no secret."""


class ServerFault(BackendError):
    """The server or the line failed; asking again may help. `billed`: the server may have charged for the call all the same."""

    def __init__(self, what: str, retry_after: float | None = None, billed: bool = False):
        super().__init__(what, retry_after, billed)
        self.what, self.retry_after, self.billed = what, retry_after, billed

    def __str__(self) -> str:
        return self.what


class Unreachable(ServerFault):
    """Nobody answers at the address: nothing was asked."""


class EmptyAnswer(ServerFault):
    """The server answered with nothing; a model that has nothing to say does so every time."""


class RequestRefused(BackendError):
    """The server understood this one request and does not take it (too long, a field it does not know)."""
