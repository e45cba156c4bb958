"""What a build tells Prometheus by Ray's own metrics; `deploy/grafana.json` draws it. Ray puts `ray_` before every name."""

from __future__ import annotations

from typing import Final

from ray.util.metrics import Counter, Histogram

from soundflow.pipeline.build.worker import ShardResult

COUNTERS: Final = {
    "soundflow_shards_committed": "Shards committed",
    "soundflow_shards_failed": "Attempts at a shard that did not commit",
    "soundflow_streams": "Streams in committed shards",
    "soundflow_audio_seconds": "Seconds of audio in committed shards",
    "soundflow_bytes": "Bytes of committed shards",
    "soundflow_rejected": "Samples whose every draw was rejected",
    "soundflow_redrawn": "Draws that were rejected and made again",
    "soundflow_quarantined": "Samples that broke",
    "soundflow_core_seconds": "CPU seconds of committed shards",
}
HISTOGRAM: Final = "soundflow_shard_seconds"
EDGES: Final = [1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]


class BuildMetrics:
    """One per worker."""

    def __init__(self) -> None:
        self._counters = {name: Counter(name, description=about) for name, about in COUNTERS.items()}
        self._seconds = Histogram(HISTOGRAM, description="Wall seconds of a committed shard", boundaries=EDGES)

    def tell(self, result: ShardResult) -> None:
        """Count a shard."""
        manifest = result.manifest
        if manifest is None:
            self._counters["soundflow_shards_failed"].inc()
            return
        told = {
            "shards_committed": 1,
            "streams": len(manifest.keys),
            "audio_seconds": manifest.seconds,
            "bytes": manifest.bytes,
            "rejected": len(manifest.rejected),
            "redrawn": sum(manifest.redraws.values()),
            "quarantined": len(manifest.quarantined),
            "core_seconds": float(manifest.timings.get("cpu_seconds", 0.0)),
        }
        for name, value in told.items():
            if value > 0:
                self._counters[f"soundflow_{name}"].inc(value)
        self._seconds.observe(float(manifest.timings.get("wall_seconds", 0.0)))
