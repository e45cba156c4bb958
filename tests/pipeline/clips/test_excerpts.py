"""Clips made of parts of longer recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from soundflow.pipeline.clips.index import index_clips
from soundflow.pipeline.clips.table import ClipIndex

RATE = 16_000


def tone(pitch: float, seconds: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)


def pitch_of(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / samples.size)


def index(folder: Path, *rows: dict) -> ClipIndex:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps({"role": "noise", "label": "tone"} | row) + "\n" for row in rows))
    index_clips([path], folder / "clips", workers=1)
    opened = ClipIndex.open(folder / "clips")
    assert opened.check() == []
    return opened


def test_each_row_of_a_recording_is_a_clip_of_its_part(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.concatenate([tone(400, 1), tone(800, 2), tone(1600, 1)]), RATE)
    rows = [
        {"id": "first", "path": "long.wav", "offset": 0, "duration": 1},
        {"id": "second", "path": "long.wav", "offset": 1.0, "duration": 2.0},
        {"id": "rest", "path": "long.wav", "offset": 3},
        {"id": "whole", "path": "long.wav"},
    ]
    opened = index(tmp_path, *rows)
    found = {clip.id: (clip.samples, round(pitch_of(opened.audio(clip)))) for clip in opened.clips()}
    assert found == {"first": (16_000, 400), "second": (32_000, 800), "rest": (16_000, 1600), "whole": (64_000, 800)}
    assert len({clip.content_sha256 for clip in opened.clips()}) == 1 and len({clip.cache_key for clip in opened.clips()}) == 4
    again = index_clips([tmp_path / "manifest.jsonl"], tmp_path / "clips", workers=1)
    assert (again.cleaned, again.reused, again.content_hash) == (0, 4, opened.content_hash)


def test_a_part_outside_the_recording_is_rejected(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", tone(400, 2), RATE)
    rows = [
        {"id": "ok", "path": "short.wav", "duration": 2.1},
        {"id": "late", "path": "short.wav", "offset": 5, "duration": 1},
        {"id": "long", "path": "short.wav", "duration": 4},
    ]
    opened = index(tmp_path, *rows)
    assert [clip.id for clip in opened.clips()] == ["ok"]
    rejected = [json.loads(line) for line in (tmp_path / "clips/rejected.jsonl").read_text().splitlines()]
    assert {(row["reason"], row["detail"]) for row in rejected} == {
        ("outside_recording", "the excerpt ends at 6.00 s, the recording at 2.00 s"),
        ("outside_recording", "the excerpt ends at 4.00 s, the recording at 2.00 s"),
    }


def test_parts_of_a_recording_longer_than_the_limit_are_used(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(tone(400, 1), 700), RATE)
    opened = index(tmp_path, {"id": "part", "path": "long.wav", "offset": 650, "duration": 2}, {"id": "all", "path": "long.wav"})
    assert [(clip.id, clip.samples) for clip in opened.clips()] == [("part", 32_000)]
