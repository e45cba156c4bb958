"""Three outcomes, as types. Rejections are statistics; failures go to the quarantine and can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """The work was done."""

    value: T


@dataclass(frozen=True, slots=True)
class Rejected:
    """A gate did its work: the input is understood and not wanted. `reason` is a short stable slug."""

    reason: str
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """Something broke. `payload` holds what a replay needs."""

    error: str
    stage: str
    payload: dict[str, Any] = field(default_factory=dict)
    of_service: bool = False
    """A service that was asked broke, not the work itself: it may be done another time."""


Outcome = Ok[T] | Rejected | Failed
