"""Dialogues for tests of the speech chain, and configs whose models are on every machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.pipeline.corpus.commit import write_if_absent
from soundflow.pipeline.speech.directory import SpeechDir
from soundflow.pipeline.speech.speak import record_of
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.speech import GateConfig, Pace, PocketsphinxConfig, SpeechConfig

WHISPER_IS_HERE = (asset_dir() / "whisper-tiny-en" / "model.bin").is_file()
NO_WHISPER = "whisper-tiny-en is not here (soundflow assets fetch whisper-tiny-en)"

TURNS = (
    ("What is the weather like in Paris tomorrow?", "Sunny, 21 °C."),
    ("Could you explain how a **bicycle** stays upright?", "Steering into the fall keeps it up."),
    ("Tell me three facts about whales.", "They are mammals."),
    ("Please remind me to call my mother at 5 pm.", "I will."),
    ("How long does it take to boil an egg?", "Seven minutes."),
    ("Thank you very much.", ""),
)


def lenient(**change: Any) -> SpeechConfig:
    """The embedded voice, heard by the recogniser that comes with its wheel, which hears badly."""
    return SpeechConfig(recogniser=PocketsphinxConfig(), gate=GateConfig(wer_limit=0.7, retries=1), **change)


HEART = Pace(
    voice="hibari:heart",
    language="en-US",
    base_seconds=0.1,
    seconds_per_letter=0.06,
    tail_seconds=0.38,
    pitch_hz=(237.0, 192.0),
    letters=(12, 66),
    measured=8,
)
"""Of the embedded voice, about as it is measured."""


def begin(out: Path, config: SpeechConfig) -> Path:
    """An output directory in which only the voices' paces are known: measuring them takes a while."""
    record = record_of(config, open_voice_pool(config.speakers, config.voices))
    directory = SpeechDir(out)
    write_if_absent(directory.build, directory.record_path, record.canonical_json())
    for voice in record.voices:
        directory.keep_pace(HEART.model_copy(update={"voice": voice.name}))
    return out


def dialogue(number: int, turns: int = 2, **change: Any) -> dict[str, Any]:
    """A dialogue of some of TURNS."""
    chosen = [TURNS[(number + place) % len(TURNS)] for place in range(turns)]
    said = [{"user": user, "assistant": assistant} for user, assistant in chosen]
    return {"id": f"d{number}", "turns": said, "source": "test", "licence": "CC0-1.0"} | change


def write_dialogues(path: Path, lines: Sequence[dict[str, Any] | str]) -> Path:
    """A DIALOGUES.jsonl."""
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    """Of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
