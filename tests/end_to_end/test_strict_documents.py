"""Every command that reads YAML or JSON lines rejects what would be read otherwise than it is written, with file and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commandline import soundflow

COMMANDS = {
    "build": ("build", "FILE", "-o", "out", "--executor", "inline"),
    "estimate": ("estimate", "FILE"),
    "rates": ("estimate", "good.yaml", "--rates", "FILE"),
    "curate": ("curate", "FILE", "--n", "1"),
    "submit": ("submit", "FILE", "-o", "/out", "--address", "http://127.0.0.1:1"),
    "ask input": ("ask", "silence_auditor", "--input", "FILE", "--model", "m"),
    "ask recipe": ("ask", "silence_auditor", "--input", "good.yaml", "--recipe", "FILE"),
    "say": ("say", "Hello.", "--config", "FILE", "-o", "out.wav"),
    "speak": ("speak", "rows.jsonl", "--config", "FILE", "-o", "out"),
    "audit": ("audit", "rows.jsonl", "--llm", "FILE", "-o", "out.jsonl"),
    "train": ("train", "corpus", "--stage", "FILE", "--model", "m", "-o", "run"),
    "proactive": ("bench", "proactive", "build", "FILE", "-o", "out"),
}
FAULTS = {
    "twice: 1\ntwice: 2": "duplicate key 'twice'",
    "octal: 010": "octal: `010` in line",
    "minutes: 1:30": "minutes: `1:30` in line",
    "hex: 0x1F": "hex: `0x1F` in line",
    "truth: yes": "truth: `yes` in line",
    'half: "\\ud800"': "half: '\\ud800' in line",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the commands need besides the faulty one."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "rows.jsonl").write_text('{"id": "a", "path": "a.wav", "label": "x", "turns": []}\n')
    (folder / "good.yaml").write_text(
        "version: 1\nname: n\nclips: c\nstreams: 1\nshards: 1\nseed: 1\ntasks: {event_description: 1}\n"
    )
    return folder


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_rejects_yaml_that_is_read_otherwise_than_written(folder: Path, command: str, fault: str) -> None:
    (folder / "bad.yaml").write_text(f"llm: {{model: m}}\n{fault}\n")
    done = soundflow(*(argument.replace("FILE", "bad.yaml") for argument in COMMANDS[command]), folder=folder)
    assert done.returncode == 2 and "bad.yaml: " in done.stderr and FAULTS[fault] in done.stderr, done.stderr
    assert "line" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (("audit", "bad.jsonl", "--llm", "llm.yaml", "-o", "out.jsonl"), '{"path": "a.wav", "label": "x", "label": "y"}'),
        (("bench", "proactive", "score", "bad.jsonl", "--meta", "bad.jsonl"), '{"id": "a", "id": "b"}'),
    ],
)
def test_a_command_rejects_a_key_that_is_given_twice_in_json_lines(folder: Path, command: tuple[str, ...], row: str) -> None:
    (folder / "llm.yaml").write_text("llm: {model: m}\n")
    (folder / "bad.jsonl").write_text(row + "\n")
    done = soundflow(*command, folder=folder)
    assert done.returncode == 2 and "bad.jsonl" in done.stderr and "line 1" in done.stderr, done.stderr
    assert "is given twice in one object" in done.stderr
