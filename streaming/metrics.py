"""The server's Prometheus metrics."""

from __future__ import annotations

from typing import Final, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDelta,
    AudioDone,
    AudioDropped,
    ChunkSilent,
    ErrorEvent,
    Event,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionCreated,
    SessionResumed,
    TextDelta,
)

LATENCY_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


class Metrics:
    """The metrics that /metrics exports."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("soundflow_sessions", "Open sessions.", registry=self.registry)
        self.refused = Counter("soundflow_refused", "Refused connections by error code.", ["code"], registry=self.registry)
        self.chunks = Counter("soundflow_chunks", "Decided chunks by decision.", ["decision"], registry=self.registry)
        self.dropped = Counter("soundflow_dropped_chunks", "Chunks dropped without a decision.", registry=self.registry)
        self.latency = Histogram(
            "soundflow_control_latency_seconds",
            "Time from the arrival of a chunk to its decision.",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        restarts = Gauge("soundflow_restarts", "Replacements of the worker processes.", registry=self.registry)
        restarts.set_function(lambda: engine.restarts)

    def count(self, event: Event) -> None:
        """Count one event sent to a client."""
        match event:
            case ChunkSilent() | ResponseCreated():
                self.chunks.labels("silent" if isinstance(event, ChunkSilent) else "response").inc()
                self.latency.observe(event.latency_ms / 1000)
            case AudioDropped():
                self.dropped.inc(event.chunks)
            case Restarted():
                self.dropped.inc(event.lost)
            case TextDelta() | ResponseDone() | Reanchored() | AudioDelta() | AudioDone():
                pass
            case SessionCreated() | SessionResumed() | ErrorEvent():
                pass
            case _:
                assert_never(event)
