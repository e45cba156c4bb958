"""The three outcomes of a unit of work. Rejections are counted; failures are quarantined and can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """The result of work that succeeded."""

    value: T


@dataclass(frozen=True, slots=True)
class Rejected:
    """Valid input that a gate rejected. `reason` is a short, stable slug."""

    reason: str
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """Work that broke. `payload` holds what a replay needs."""

    error: str
    stage: str
    payload: dict[str, Any] = field(default_factory=dict)
    of_service: bool = False
    """A service failed rather than the work itself, so that a later attempt may succeed."""


Outcome = Ok[T] | Rejected | Failed
