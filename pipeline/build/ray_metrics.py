"""Prometheus metrics of a build, exported through Ray, which adds the prefix `ray_`. Dashboard: `deploy/grafana.json`."""

from __future__ import annotations

from typing import Final

from ray.util.metrics import Counter, Histogram

from soundflow.pipeline.build.worker import ShardResult

COUNTERS: Final = {
    "soundflow_shards_committed": "Shards committed",
    "soundflow_shards_failed": "Attempts at a shard that failed",
    "soundflow_streams": "Streams in committed shards",
    "soundflow_audio_seconds": "Seconds of audio in committed shards",
    "soundflow_bytes": "Bytes of committed shards",
    "soundflow_rejected": "Samples whose draws were all rejected",
    "soundflow_redrawn": "Draws that were rejected and repeated",
    "soundflow_quarantined": "Samples that failed",
    "soundflow_core_seconds": "CPU seconds of committed shards",
}
HISTOGRAM: Final = "soundflow_shard_seconds"
EDGES: Final = [1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]


class BuildMetrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self._counters = {name: Counter(name, description=about) for name, about in COUNTERS.items()}
        self._seconds = Histogram(HISTOGRAM, description="Wall seconds of a committed shard", boundaries=EDGES)

    def record(self, result: ShardResult) -> None:
        """Count the result of a shard."""
        manifest = result.manifest
        if manifest is None:
            self._counters["soundflow_shards_failed"].inc()
            return
        values = {
            "shards_committed": 1,
            "streams": len(manifest.keys),
            "audio_seconds": manifest.seconds,
            "bytes": manifest.bytes,
            "rejected": len(manifest.rejected),
            "redrawn": sum(manifest.redraws.values()),
            "quarantined": len(manifest.quarantined),
            "core_seconds": float(manifest.timings.get("cpu_seconds", 0.0)),
        }
        for name, value in values.items():
            if value > 0:
                self._counters[f"soundflow_{name}"].inc(value)
        self._seconds.observe(float(manifest.timings.get("wall_seconds", 0.0)))
