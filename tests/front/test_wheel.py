"""The wheel holds `soundflow/` and nothing else, and works next to a user's files that are named like our rooms."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed")
ROOMS = sorted(path.name for path in (ROOT / "soundflow").iterdir() if path.is_symlink())
DATA = {".css", ".csv", ".html", ".j2", ".js", ".txt", ".yaml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree, built without a network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for room in (*ROOMS, "soundflow", "tests", "docs", "examples", "deploy"):
        shutil.copytree(ROOT / room, source / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for site-packages with the wheel in it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with modules and packages named like our rooms; importing one of them is an error."""
    folder = tmp_path_factory.mktemp("user")
    trap = "raise RuntimeError(f'{__file__} was imported')\n"
    for name in ROOMS:
        if name in ("model", "training"):
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(trap)
        else:
            (folder / f"{name}.py").write_text(trap)
    return folder


def python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    environment["PYTHONPATH"] = str(installed)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_wheel_holds_the_package_with_its_data_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    outside = {name for name in names if not name.startswith("soundflow/")}
    assert {name.split("/")[0].rpartition(".")[2] for name in outside} == {"dist-info"}
    tree = [(f"soundflow/{room}", ROOT / room) for room in ROOMS] + [("soundflow/cli", ROOT / "soundflow" / "cli")]
    files = {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for prefix, folder in tree
        for path in folder.rglob("*")
        if path.suffix in {*DATA, ".py"}
    }
    files |= {f"soundflow/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    assert names - outside == files
    assert {Path(name).suffix for name in files} >= DATA


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--version", "soundflow 0."),
        ("tasks", "voice_chat"),
        ("schema speech", "recogniser"),
        ("sources list", "librispeech"),
        ("assets list", "qwen-bpe"),
    ],
)
def test_commands_run_next_to_the_users_files(installed: Path, users_folder: Path, command: str, expected: str) -> None:
    done = python(installed, users_folder, "-m", "soundflow", *command.split())
    assert done.returncode == 0 and expected in done.stdout, done.stderr


def test_the_public_api_imports_next_to_the_users_files(installed: Path, users_folder: Path) -> None:
    names = "tfjp, compose, render, tokenize, build, verify, open_corpus, ClipIndex"
    code = f"import soundflow; from soundflow import {names}; print(soundflow.__file__, tfjp.__module__)"
    done = python(installed, users_folder, "-c", code)
    assert done.stdout.split() == [str(installed / "soundflow" / "__init__.py"), "soundflow.operators.clean.tfjp"], done.stderr


def test_the_console_script_is_the_cli(installed: Path, users_folder: Path) -> None:
    [metadata] = installed.glob("*.dist-info")
    assert "soundflow = soundflow.cli.app:main" in (metadata / "entry_points.txt").read_text()
    done = python(installed, users_folder, "-c", "import sys; from soundflow.cli.app import main; sys.exit(main(['--version']))")
    assert done.returncode == 0 and done.stdout.startswith("soundflow 0.")


def test_torchrun_runs_next_to_the_users_files(installed: Path, users_folder: Path) -> None:
    pytest.importorskip("torch")
    arguments = ("-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-port", "0", "-m", "soundflow", "--version")
    done = python(installed, users_folder, *arguments)
    assert done.returncode == 0 and "soundflow 0." in done.stdout, done.stderr
