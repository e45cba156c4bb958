"""The house rules, enforced: who may import whom, whose names are taken, how long a module may be, how many share a folder."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("schemas", "prompts", "operators", "backends", "pipeline", "model", "training", "streaming", "bench")
MAY_IMPORT = {
    "schemas": set(),
    "prompts": {"schemas"},
    "operators": {"schemas", "prompts"},
    "backends": {"schemas", "operators"},
    "pipeline": {"schemas", "prompts", "operators", "backends"},
    "model": {"schemas"},
    "training": {"schemas", "model"},
    "streaming": {"schemas", "prompts", "operators", "backends", "model"},
    "bench": {*ROOMS},
    "soundflow": {*ROOMS},
}
"""The soundflow package itself (public API and commands) imports everything; nothing imports it."""
LEVELS = {
    "operators": ("protocols", "clean", "tokens", "labels", "sources", "compose", "speech", "tasks", "curate"),
    "backends": ("calls", "llm", "tts", "asr", "align", "embed", "sounds"),
    "pipeline": (
        *("mechanics", "services", "corpus", "clips", "speech", "curate", "estimate", "build"),
        *("jobs", "check", "report", "export", "start"),
    ),
    "bench": ("harness", "suites", "proactive", "report", "experiments", "speed"),
}
"""Sub-packages, bottom up: each may import those before it."""
TORCH_ROOMS = {"model", "training", "streaming", "bench"}
MODULES = sorted(
    [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    + [*(ROOT / "soundflow").glob("*.py"), *(ROOT / "soundflow" / "cli").rglob("*.py")]
)


def dotted(path: Path) -> str:
    """`pipeline/build/run.py` → `soundflow.pipeline.build.run`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "soundflow" else ("soundflow", *parts))


NAMES = {dotted(path): path for path in MODULES}


def imported(path: Path) -> set[str]:
    """Dotted names of the modules that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            whole = node.module or ""
            names |= {f"{whole}.{alias.name}" if f"{whole}.{alias.name}" in NAMES else whole for alias in node.names}
    return names


IMPORTS = {name: imported(path) for name, path in NAMES.items()}


def room_of(name: str) -> str:
    """`soundflow.pipeline.build.run` → `pipeline`; `soundflow.cli.app` → `soundflow`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "soundflow" and len(parts) > 1 and parts[1] in ROOMS else parts[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_room_knows_only_what_is_below_it(name: str) -> None:
    room = room_of(name)
    above = {room_of(other) for other in IMPORTS[name] if other.startswith("soundflow")} - MAY_IMPORT[room] - {room}
    assert not above, f"{room} may not import {sorted(above)}"


@pytest.mark.parametrize("room", LEVELS)
def test_a_sub_package_knows_only_those_below_it(room: str) -> None:
    order = {folder: place for place, folder in enumerate(LEVELS[room])}
    folders = {path.parent.relative_to(ROOT / room).parts[0] for path in (ROOT / room).glob("*/*.py")}
    assert folders == set(order)
    wrong = []
    for name, others in IMPORTS.items():
        parts = name.split(".")
        if parts[1:2] != [room] or len(parts) < 4:
            continue
        for other in others:
            target = other.split(".")
            if target[1:2] == [room] and len(target) > 2 and order.get(target[2], -1) > order[parts[2]]:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_module_imports_itself_through_others() -> None:
    waiting = {name: {other for other in others if other in NAMES and other != name} for name, others in IMPORTS.items()}
    while free := [name for name, others in waiting.items() if not others]:
        for name in free:
            del waiting[name]
        for others in waiting.values():
            others.difference_update(free)
    circular = {name: sorted(others & set(waiting)) for name, others in waiting.items()}
    assert not circular


def test_no_room_is_imported_by_its_bare_name() -> None:
    tests = {str(path): imported(path) for path in (ROOT / "tests").rglob("*.py")}
    bare = {
        where: names for where, found in (IMPORTS | tests).items() if (names := {n.split(".")[0] for n in found} & set(ROOMS))
    }
    assert not bare


def test_every_room_is_a_link_in_the_package() -> None:
    links = {path.name: str(path.readlink()) for path in (ROOT / "soundflow").iterdir() if path.is_symlink()}
    assert links == {room: f"../{room}" for room in ROOMS}


def test_only_the_pipeline_knows_ray() -> None:
    users = {room_of(name) for name, others in IMPORTS.items() if "ray" in {other.split(".")[0] for other in others}}
    assert users == {"pipeline"}


def test_nothing_imports_torch_in_the_core() -> None:
    heavy = {"torch", "torchaudio", "transformers"}
    users = {room_of(name) for name, others in IMPORTS.items() if heavy & {other.split(".")[0] for other in others}}
    assert users <= TORCH_ROOMS


LENIENT = {
    "operators/protocols/asking.py": "the JSON within the prose of an answer",
    "operators/sources/corpora/sounds.py": "a table with two header lines",
    "operators/sources/corpora/tables.py": "tables of published corpora",
    "operators/labels/maps.py": "label maps",
    "operators/sources/dataset_tables.py": "tables of published datasets",
    "operators/sources/manifest_files.py": "manifests",
    "operators/sources/transcripts.py": "whether a text is JSON at all",
    "bench/harness/rows.py": "answers of benchmarks",
    "bench/suites/pedant.py": "a process of another environment",
    "prompts/__init__.py": "a copy of a value",
    "schemas/documents.py": "the strict loaders",
    "streaming/parsing.py": "messages, whose faults a session survives",
}
"""Modules that call a parser of the standard library themselves, and what they read with it."""
PARSERS = {"json.load", "json.loads", "json.JSONDecoder", "csv.reader", "csv.DictReader", "yaml.load", "yaml.safe_load"}
CODE_RUNNERS = {"pickle", "torch.load", "joblib", "shelve", "marshal", "dill", "cloudpickle", "eval", "exec", "yaml.unsafe_load"}


def called(path: Path) -> set[str]:
    """Dotted names that a module calls, such as `json.loads`, and the modules of these names."""
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    return {*calls, *(name.rpartition(".")[0] for name in calls)}


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_read_by_the_strict_loaders_and_nothing_read_is_executed(name: str) -> None:
    path = NAMES[name].relative_to(ROOT)
    calls = called(NAMES[name])
    assert not calls & PARSERS or path.as_posix() in LENIENT, f"{path}: read documents with schemas.documents"
    assert not calls & CODE_RUNNERS, f"{path}: what these read can execute code"
    assert "np.load" not in calls or "allow_pickle=False" in path.read_text(), f"{path}: say allow_pickle=False"


def test_class_names_are_unique() -> None:
    """Private classes count too, and a leading underscore makes no difference."""
    places: dict[str, list[str]] = {}
    for name, path in NAMES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{name}, line {node.lineno}")
    assert len(places) > 100
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_no_module_is_longer_than_400_lines() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): lines for path in files if (lines := len(path.read_text().splitlines())) > 400}
    assert not long


def test_no_folder_of_the_rooms_holds_more_than_15_modules() -> None:
    rooms = ("operators", "backends", "pipeline", "bench")
    count = Counter(path.parent for path in MODULES if path.name != "__init__.py" and path.relative_to(ROOT).parts[0] in rooms)
    assert not {str(folder.relative_to(ROOT)): number for folder, number in count.items() if number > 15}


def test_no_other_distribution_ships_a_package_with_our_name() -> None:
    owners = set(importlib.metadata.packages_distributions().get("soundflow", ()))
    assert owners <= {"soundflow-audio"}


def test_every_data_file_of_the_rooms_has_a_packaged_suffix() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["*"]
    shown = subprocess.run(["git", "ls-files", *ROOMS, "soundflow"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip("not a git checkout")
    files = [Path(line) for line in shown.stdout.splitlines() if not (ROOT / line).is_symlink()]
    assert files and not [path for path in files if path.suffix != ".py" and not any(map(path.match, patterns))]


@pytest.mark.parametrize("name", ["AGENTS.md", "docs/design"])
def test_the_map_and_the_design_pages_name_files_and_folders_that_are_there(name: str) -> None:
    pages = sorted((ROOT / name).glob("*.md")) if (ROOT / name).is_dir() else [ROOT / name]
    named = {path for page in pages for path in re.findall(r"`((?:[\w-]+/)+[\w.*-]*)`", page.read_text(encoding="utf-8"))}
    ours = {path for path in named if path.split("/")[0] in {*MAY_IMPORT, "tests", "deploy", "examples", "docs"}}
    assert len(ours) >= 10
    assert not [path for path in ours if not list(ROOT.glob(path.rstrip("/")))]


def test_every_command_has_help_with_an_example() -> None:
    from typer.main import get_command

    from soundflow.cli.app import app

    waiting, seen = [("soundflow", get_command(app))], 0
    while waiting:
        path, command = waiting.pop()
        if inner := getattr(command, "commands", {}):
            waiting += [(f"{path} {name}", member) for name, member in inner.items() if not member.hidden]
            continue
        seen += 1
        assert command.help and f"Example: {path} " in f"{command.epilog} ", path
    assert seen > 10


FACTORIES = ("arange", "as_tensor", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn", "tensor", "zeros")


def test_every_tensor_that_the_model_rooms_make_says_where() -> None:
    """On a GPU a factory without `device=` makes a tensor on the host, which fails or copies. `# any device` marks exceptions."""
    silent = []
    for path in (path for room in ("model", "training", "streaming") for path in sorted((ROOT / room).glob("*.py"))):
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"torch.{name}" for name in FACTORIES}:
                is_placed = any(keyword.arg == "device" for keyword in node.keywords)
                silent += [] if is_placed or "# any device" in lines[node.lineno - 1] else [f"{path.name}:{node.lineno}"]
    assert silent == []
