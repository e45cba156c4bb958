"""`soundflow say`, `hear` and `speak` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import soundfile
import yaml

from schemas.speech import SpeechConfig
from tests.spoken import begin, dialogue, lenient, write_dialogues

ROOT = Path(__file__).parent.parent.parent
HEARD_BADLY = {"recogniser": {"backend": "pocketsphinx"}, "gate": {"wer_limit": 0.7, "retries": 1}}
"""`lenient` as a file."""


def soundflow(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    command = [sys.executable, str(ROOT / "soundflow.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_a_text_is_said_heard_again_and_its_words_are_found(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(HEARD_BADLY))
    code, out, _ = soundflow("say", "It costs **$5**.", "--voice", "hibari:heart", "-o", tmp_path / "x.wav", "--json")
    said = json.loads(out)
    assert code == 0 and said["text"] == "It costs five dollars." and soundfile.info(tmp_path / "x.wav").samplerate == 16_000
    code, out, _ = soundflow("hear", tmp_path / "x.wav", "--align", "--config", config, "--json")
    heard = json.loads(out)
    assert code == 0 and "five dollars" in heard["text"]
    ends = [word["end"] for word in heard["words"]]
    assert " ".join(word["word"] for word in heard["words"]) == heard["text"] and ends == sorted(ends)
    assert 0 < ends[-1] <= said["seconds"]


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    code, _, told = soundflow("say", "Hello.", "--voice", "nobody", "-o", tmp_path / "x.wav")
    assert code == 2 and "There are: hibari:heart" in told and not (tmp_path / "x.wav").exists()
    code, _, told = soundflow("say", "你好", "-o", tmp_path / "x.wav")
    assert code == 2 and "hibari:heart says nothing of it: it speaks en" in told and not (tmp_path / "x.wav").exists()
    code, _, told = soundflow("say", "你好", "--language", "zh", "-o", tmp_path / "x.wav")
    assert code == 2 and "soundflow assets fetch kokoro-82m" in told
    code, _, told = soundflow("say", "Hello.", "-o", "/proc/x.wav")
    assert code == 2 and "/proc/x.wav: --out: cannot be written" in told
    (tmp_path / "x.wav").write_bytes(b"not audio")
    code, _, told = soundflow("hear", tmp_path / "x.wav")
    assert code == 2 and "cannot be heard: unreadable" in told and "Traceback" not in told


def test_dialogues_are_spoken_and_their_summary_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(HEARD_BADLY))
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1), "no dialogue"])
    asked = (
        "speak",
        lines,
        "--out",
        begin(tmp_path / "out", lenient()),
        "--config",
        tmp_path / "config.yaml",
        "--executor",
        "inline",
        "--json",
    )
    code, out, progress = soundflow(*asked)
    summary = json.loads(out)
    assert code == 0 and summary["spoken"] == 1 and summary["rejected"] == {"bad_line": 1} and "dialogues" in progress
    assert summary["voices"][0]["voice"] == "hibari:heart"
    assert json.loads(soundflow(*asked)[1]) == summary


def test_the_example_config_is_the_default_and_what_it_leaves_out_is_valid_too() -> None:
    text = (ROOT / "examples" / "speech.yaml").read_text(encoding="utf-8")
    assert SpeechConfig.from_text(text) == SpeechConfig()
    every = SpeechConfig.from_text(text.replace("  # - ", "  - ").replace("  #   ", "    "))
    assert [speaker.backend for speaker in every.speakers] == ["hibari", "kokoro", "cosyvoice", "openai"]
