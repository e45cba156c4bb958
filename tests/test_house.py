"""The house rules, enforced: who may import whom, whose names are taken, how long a module may be."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "prompts": {"schemas"},
    "operators": {"schemas", "prompts"},
    "pipeline": {"schemas", "prompts", "operators"},
    "model": {"schemas"},
    "training": {"schemas", "model"},
    "streaming": {"schemas", "operators", "model"},
    "bench": {"schemas", "prompts", "operators", "pipeline", "model", "training", "streaming"},
    "commands": {"schemas", "prompts", "operators", "pipeline", "model", "training", "streaming", "bench"},
    "soundflow": {"schemas", "pipeline", "commands"},
}
TORCH_ROOMS = {"model", "training", "streaming", "bench"}
MODULES = sorted(
    path for room in MAY_IMPORT for path in ([ROOT / f"{room}.py"] if room == "soundflow" else (ROOT / room).rglob("*.py"))
)


def imported(path: Path) -> set[str]:
    """Top-level names a module imports, lazily or not."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_knows_only_what_is_below_it(path: Path) -> None:
    room = room_of(path)
    above = (imported(path) & set(MAY_IMPORT)) - MAY_IMPORT[room] - {room}
    assert not above, f"{room} may not import {sorted(above)}"


def test_only_the_pipeline_knows_ray() -> None:
    users = {room_of(path) for path in MODULES if "ray" in imported(path)}
    assert users == {"pipeline"}


def test_nothing_imports_torch_in_the_core() -> None:
    heavy = {"torch", "torchaudio", "transformers"}
    assert not [path for path in MODULES if imported(path) & heavy and room_of(path) not in TORCH_ROOMS]


def test_no_module_is_longer_than_400_lines() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): lines for path in files if (lines := len(path.read_text().splitlines())) > 400}
    assert not long


def test_no_installed_distribution_ships_a_package_with_one_of_our_names() -> None:
    ours = {*MAY_IMPORT, "deploy"}
    taken = {
        name: owners
        for name, distributions in importlib.metadata.packages_distributions().items()
        if name in ours and (owners := set(distributions) - {"soundflow-audio"})
    }
    assert not taken


def test_what_modules_read_beside_them_is_installed_with_them() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    packaged = {path for room, patterns in told.items() for pattern in patterns for path in (ROOT / room).glob(pattern)}
    beside = {path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert not beside - packaged


@pytest.mark.parametrize("name", ["AGENTS.md", "README.md"])
def test_the_map_and_the_readme_name_files_that_are_there(name: str) -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.*-]+\.(?:py|yaml|json|jsonl|html))", (ROOT / name).read_text(encoding="utf-8")))
    ours = {path for path in named if path.split("/")[0] in {*MAY_IMPORT, "tests", "deploy", "examples"}}
    assert len(ours) > 5 and not [path for path in ours if not list(ROOT.glob(path))]


def test_our_names_shadow_no_standard_module() -> None:
    assert not (set(MAY_IMPORT) & set(sys.stdlib_module_names))


def test_every_command_has_help_with_an_example() -> None:
    from typer.main import get_command

    from soundflow import app

    waiting, seen = [("soundflow", get_command(app))], 0
    while waiting:
        path, command = waiting.pop()
        if inner := getattr(command, "commands", {}):
            waiting += [(f"{path} {name}", member) for name, member in inner.items()]
            continue
        seen += 1
        assert command.help and f"Example: {path} " in f"{command.epilog} ", path
    assert seen > 10
