"""What a server counts, for Prometheus."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from soundflow.streaming.engine import Engine

LATENCY_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


class Metrics:
    """What /metrics shows."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("soundflow_sessions", "Open sessions.", registry=self.registry)
        self.refused = Counter("soundflow_refused", "Connections refused, by code.", ["code"], registry=self.registry)
        self.chunks = Counter("soundflow_chunks", "Chunks decided, by decision.", ["decision"], registry=self.registry)
        self.dropped = Counter("soundflow_dropped_chunks", "Chunks that were never decided.", registry=self.registry)
        self.latency = Histogram(
            "soundflow_control_latency_seconds",
            "Chunk received to chunk decided.",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        restarts = Gauge("soundflow_restarts", "Times the worker processes were replaced.", registry=self.registry)
        restarts.set_function(lambda: engine.restarts)

    def count(self, event: dict[str, Any]) -> None:
        """Count one event sent."""
        if event["type"] in ("chunk.silent", "response.created"):
            self.chunks.labels("silent" if event["type"] == "chunk.silent" else "response").inc()
            self.latency.observe(event["latency_ms"] / 1000)
        elif event["type"] == "input_audio.dropped":
            self.dropped.inc(event["chunks"])
        elif event["type"] == "session.restarted":
            self.dropped.inc(event["lost"])
