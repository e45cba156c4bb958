"""`soundflow --help` and usage errors: groups, short options, suggestions, and how little is imported for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import soundflow as package
from soundflow.cli.app import app
from soundflow.cli.help import GROUPS, CommandGroup
from soundflow.schemas.suggest import did_you_mean
from tests.support import ROOT
from tests.support.commandline import soundflow

HEAVY = (
    "torch",
    "ray",
    "datasets",
    "transformers",
    "numpy",
    "scipy",
    "pyarrow",
    "faiss",
    "matplotlib",
    "httpx2",
    "openai",
    "rich",
)


def test_every_command_stands_under_one_heading() -> None:
    root = get_command(app)
    assert isinstance(root, CommandGroup)
    shown = [name for _, names in root._headings() for name in names]
    assert sorted(shown) == sorted(name for name, command in root.commands.items() if not command.hidden)
    assert [heading for heading, _ in root._headings()] == list(GROUPS)


def test_help_lists_the_groups_in_order_with_a_sentence_per_command() -> None:
    text = soundflow("-h").stdout
    places = [text.index(f"\n{heading}:\n") for heading in GROUPS]
    assert places == sorted(places) and text.count("...") == 1, "[ARGS]... of the usage line"
    assert text == soundflow("--help").stdout


@pytest.mark.parametrize("command", ["clips", "clips index", "bench proactive run", "build"])
def test_h_is_help_everywhere(command: str) -> None:
    short, long = soundflow(*command.split(), "-h"), soundflow(*command.split(), "--help")
    assert short.returncode == 0 and short.stdout == long.stdout and f"Usage: soundflow {command} " in short.stdout


def test_version() -> None:
    done = soundflow("--version")
    assert done.returncode == 0 and done.stdout == f"soundflow {package.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.__version__)


MISSPELT = [
    (("buidl",), 'unknown command: buidl. Did you mean "build"? Help: soundflow --help'),
    (("clips", "serch"), 'unknown command: serch. Did you mean "search"? Help: soundflow clips --help'),
    (("build", "r.yaml", "-o", "out", "--virtul"), 'unknown option: --virtul. Did you mean "--virtual"?'),
    (("qqqqq",), "unknown command: qqqqq. Help: soundflow --help"),
    (("build", "r.yaml"), "Missing option '-o' / '--out'. Help: soundflow build --help"),
    (("build", "r.yaml", "-o", "out", "--workers", "0"), "Help: soundflow build --help"),
    (
        ("build", "r.yaml", "-o", "out"),
        'r.yaml: tasks.voice_cht: unknown task. Did you mean "voice_chat"? List all: soundflow tasks',
    ),
    (("model", "init", "naon", "-o", "m"), "unknown model (got 'naon'). Did you mean \"nano\"? Name a preset (nano, tiny)"),
    (("bench", "run", "libri-speech", "--data", "x", "-o", "out", "--model", "m"), 'Did you mean "librispeech"?'),
    (("ask", "silence-audit", "--input", "r.yaml", "--model", "m"), 'Did you mean "silence_auditor"?'),
]


@pytest.mark.parametrize(("arguments", "expected"), MISSPELT, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_a_misspelt_name_gets_one_line_with_a_suggestion(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("clips: x\nstreams: 3\nshards: 1\ntasks: {voice_cht: 1}\n")
    done = soundflow(*arguments, folder=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and expected in done.stderr


def test_a_suggestion_ignores_case_and_hyphens_and_needs_a_close_name() -> None:
    assert did_you_mean("Voice-Chat", ["voice_chat", "mixed_task"]) == 'Did you mean "voice_chat"?'
    assert did_you_mean("voice_chat", ["mixed_task"]) == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from soundflow.cli.app import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert done.stderr.strip() == "[]" and "Usage: soundflow" in done.stdout


def test_the_shell_completes_commands_and_options() -> None:
    request = {"_SOUNDFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "soundflow clips s", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "soundflow"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | request,
        timeout=60,
    )
    assert done.stdout.split() == ["search", "stats"]
