"""Output that the terminal cannot show: it is escaped, and the command goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import ROOT

LABEL = "狗叫 😀"


def run(encoding: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "soundflow", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment, cwd=folder, timeout=300)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / LABEL
    folder.mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 32000)
    soundfile.write(folder / "a.wav", noise, 16000)
    return tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "cp1252", "utf-8"])
def test_names_outside_the_encoding_of_the_terminal_are_escaped(encoding: str, recordings: Path) -> None:
    out = recordings / f"クリップ-{encoding.replace(':', '-')}"
    indexed = run(encoding, "clips", "index", ".", "-o", out, folder=recordings)
    assert indexed.returncode == 0, indexed.stderr
    names = (
        "クリップ".encode(),
        b"\\u30af\\u30ea\\u30c3\\u30d7",
    )  # typer writes UTF-8 to an ASCII stream
    assert any(name in indexed.stdout for name in names), indexed.stdout
    missing = run(encoding, "init", "recipe.yaml", "--clips", "没有", folder=recordings)
    assert missing.returncode == 2 and missing.stderr.startswith(b"error: ") and b"Traceback" not in missing.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_json_in_every_encoding(encoding: str, recordings: Path) -> None:
    indexed = run(encoding, "clips", "index", ".", "-o", f"{LABEL}-clips", "--json", folder=recordings)
    assert indexed.returncode == 0, indexed.stderr
    document = json.loads(indexed.stdout.decode(encoding))
    assert LABEL in json.dumps(document, ensure_ascii=False)


def test_a_closed_pipe_ends_a_command_without_a_message(recordings: Path) -> None:
    command = f"{sys.executable} -m soundflow tasks | head -1; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=300)
    assert ended.stderr == "" and ended.stdout.count("\n") == 1
