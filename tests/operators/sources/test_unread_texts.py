"""Transcripts in lists and tables of a folder: which are read, and which are reported as not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.operators.sources.manifest import read_source
from soundflow.operators.sources.rows import SourceRow


def read(root: Path, files: dict[str, str]) -> tuple[list[str | None], list[str]]:
    """Write the files and return the transcripts of the recordings, and the warnings."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    warnings: list[str] = []
    found = list(read_source(root, warn=warnings.append))
    return [row.transcript for row in found if isinstance(row, SourceRow)], warnings


@pytest.mark.parametrize(
    ("files", "transcript"),
    [
        ({"a.wav": "x", "a.wav.txt": "Hello there"}, "Hello there"),
        ({"A0001.wav": "x", "transcript.txt": "A0001 \u4eca\u5929 \u5929\u6c14\n"}, "\u4eca\u5929 \u5929\u6c14"),
        ({"A0001.wav": "x", "my_transcripts.TXT": "A0001.wav\tHello there\n"}, "Hello there"),
        ({"transcript.wav": "x", "transcript.txt": "Hello there"}, "Hello there"),
    ],
)
def test_transcripts_are_read_without_a_warning(tmp_path: Path, files: dict[str, str], transcript: str) -> None:
    assert read(tmp_path, files) == ([transcript], [])


@pytest.mark.parametrize(
    ("recording", "table", "text"),
    [
        ("clips/a.wav", "validated.tsv", "client_id\tpath\tsentence\n1\ta.wav\tHello there\n"),
        ("a.wav", "data.csv", "path,text\na.wav,Hello there\n"),
        ("a.wav", "data.jsonl", '{"file": "audio/a.wav", "text": "Hello there"}\n'),
        ("wav/S1/A0001.wav", "transcript/aishell_transcript_v0.8.txt", "A0001 \u4eca\u5929\n"),
        ("wav48/p225/p225_001.wav", "txt/p225/p225_001.txt", "Please call Stella."),
    ],
)
def test_texts_that_are_not_read_are_reported(tmp_path: Path, recording: str, table: str, text: str) -> None:
    transcripts, warnings = read(tmp_path, {recording: "x", table: text})
    assert transcripts == [None]
    assert warnings == [
        f"{tmp_path}: texts that name recordings without a transcript are not read (1; first: {tmp_path / table})."
        " Put each text beside its recording, or pass a table with the columns path and transcript as SRC"
    ]


def test_other_texts_are_not_reported(tmp_path: Path) -> None:
    texts = {"README.txt": "dog sounds\n1 dog.\n", "LICENSE.txt": "CC0", "meta/esc50.csv": "filename,category\n9-x.wav,cat\n"}
    assert read(tmp_path, {"dog.wav": "x", "1.wav": "x"} | texts) == ([None, None], [])
