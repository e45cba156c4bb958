"""A clip pool in memory, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from soundflow.operators.clean.activity import active_end, active_power, to_db
from soundflow.operators.compose.clips import ClipBrief
from soundflow.schemas.clip import Clip, ClipRole


class MemoryPool:
    """Clips made from arrays: `add` returns the row."""

    def __init__(self) -> None:
        self._clips: dict[str, Clip] = {}
        self._audio: dict[str, np.ndarray] = {}

    def add(
        self, clip_id: str, samples: np.ndarray, /, role: ClipRole = ClipRole.FOREGROUND, label: str = "", **more: object
    ) -> Clip:
        samples = np.array(samples, dtype=np.float32)
        samples.flags.writeable = False  # as the pool on disk: who writes into a clip is found out
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        clip = Clip.model_validate(
            {
                "id": clip_id,
                "path": f"/nowhere/{clip_id}.wav",
                "content_sha256": digest,
                "clean_sha256": digest,
                "cache_key": digest,
                "role": role,
                "label": label or clip_id,
                "samples": samples.size,
                "active_end": active_end(samples),
                "active_level_db": float(to_db(np.asarray(max(active_power(samples), 1e-12)))),
                "peak": float(np.abs(samples).max()),
                "clipped_ratio": 0.0,
            }
            | more
        )
        self._clips[clip_id] = clip
        self._audio[digest] = samples
        return clip

    def briefs(self) -> Sequence[ClipBrief]:
        return [ClipBrief.of(clip) for _, clip in sorted(self._clips.items())]

    def ids(self, role: ClipRole) -> Sequence[str]:
        return [brief.id for brief in self.briefs() if brief.role is role]

    def get(self, clip_id: str) -> Clip:
        return self._clips[clip_id]

    def audio(self, clip: Clip) -> np.ndarray:
        return self._audio[clip.clean_sha256]

    def planned(self, item: object) -> np.ndarray:
        """What `render` and `measure` want: the audio of a planned clip or noise."""
        return self._audio[item.clean_sha256]  # type: ignore[attr-defined]
