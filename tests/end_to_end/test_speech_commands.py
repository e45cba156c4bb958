"""`soundflow say`, `hear` and `speak` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile
import yaml

from soundflow.schemas.speech import SpeechConfig
from tests.support.commandline import ROOT, soundflow
from tests.support.spoken import begin, dialogue, lenient, write_dialogues

HEARD_BADLY = {"recogniser": {"backend": "pocketsphinx"}, "gate": {"wer_limit": 0.7, "retries": 1}}
"""`lenient` as a file."""


def test_a_text_is_said_heard_again_and_its_words_are_found(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(HEARD_BADLY))
    done = soundflow("say", "It costs **$5**.", "--voice", "hibari:heart", "-o", tmp_path / "x.wav", "--json")
    utterance = json.loads(done.stdout)
    assert (
        done.returncode == 0
        and utterance["text"] == "It costs five dollars."
        and soundfile.info(tmp_path / "x.wav").samplerate == 16_000
    )
    done = soundflow("hear", tmp_path / "x.wav", "--align", "--config", config, "--json")
    transcript = json.loads(done.stdout)
    assert done.returncode == 0 and "five dollars" in transcript["text"]
    ends = [word["end"] for word in transcript["words"]]
    assert " ".join(word["word"] for word in transcript["words"]) == transcript["text"] and ends == sorted(ends)
    assert 0 < ends[-1] <= utterance["seconds"]


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    done = soundflow("say", "Hello.", "--voice", "nobody", "-o", tmp_path / "x.wav")
    assert done.returncode == 2 and "Available: hibari:heart" in done.stderr and not (tmp_path / "x.wav").exists()
    done = soundflow("say", "你好", "-o", tmp_path / "x.wav")
    assert (
        done.returncode == 2
        and "hibari:heart cannot speak it: its language is en" in done.stderr
        and not (tmp_path / "x.wav").exists()
    )
    done = soundflow("say", "你好", "--language", "zh", "-o", tmp_path / "x.wav")
    assert done.returncode == 2 and "soundflow assets fetch kokoro-82m" in done.stderr
    done = soundflow("say", "Hello.", "-o", "/proc/x.wav")
    assert done.returncode == 2 and "/proc/x.wav: --out: cannot be written" in done.stderr
    (tmp_path / "x.wav").write_bytes(b"not audio")
    done = soundflow("hear", tmp_path / "x.wav")
    assert done.returncode == 2 and "cannot be transcribed: unreadable" in done.stderr and "Traceback" not in done.stderr


def test_dialogues_are_spoken_and_their_summary_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(HEARD_BADLY))
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0, 1), "no dialogue"])
    command = (
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
    done = soundflow(*command)
    summary = json.loads(done.stdout)
    assert (
        done.returncode == 0 and summary["spoken"] == 1 and summary["rejected"] == {"bad_line": 1} and "dialogues" in done.stderr
    )
    assert summary["voices"][0]["voice"] == "hibari:heart"
    assert json.loads(soundflow(*command).stdout) == summary


def test_the_example_config_is_the_default_and_what_it_leaves_out_is_valid_too() -> None:
    text = (ROOT / "examples" / "speech.yaml").read_text(encoding="utf-8")
    assert SpeechConfig.from_text(text) == SpeechConfig()
    every = SpeechConfig.from_text(text.replace("  # - ", "  - ").replace("  #   ", "    "))
    assert [speaker.backend for speaker in every.speakers] == ["hibari", "kokoro", "cosyvoice", "openai"]
