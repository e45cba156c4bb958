"""Every kind of damage to a build: each command names it and ends, and the printed remedy repairs it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.records import derived_fingerprint
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.gc import collect_garbage
from tests.support import ROOT
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe
from tests.support.damage import directory, tar_path
from tests.support.damages import DAMAGES, VIRTUAL_DAMAGES, Damage

SECONDS = 60
"""A command that takes longer hangs; on an idle machine each takes about a second."""


@pytest.fixture(scope="module")
def small(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of two shards with four short streams. Its recipe lies beside it."""
    root = tmp_path_factory.mktemp("damage")
    scene = {"events": [2, 2], "gap_seconds": [0.1, 0.2]}
    recipe = write_recipe(root / "recipe.yaml", clips_dir, streams=4, shards=2, scene=scene)
    build(recipe, root / "intact", executor="inline")
    return root / "intact"


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"a command hangs for more than {SECONDS} s")  # no Exception, which the command would report

    signal.signal(signal.SIGALRM, end)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command, which must end in time and without a traceback."""
    signal.alarm(SECONDS)
    ended = soundflow(*arguments)  # an exception that reaches the top ends the test
    signal.alarm(0)
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="module")
def small_virtual(small: Path) -> Path:
    """The virtual build of the same recipe."""
    out = small.parent / "virtual"
    build(small.parent / "recipe.yaml", out, executor="inline", virtual=True)
    return out


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_every_command_names_the_damage_and_the_remedy_repairs_it(damage: Damage, small: Path, tmp_path: Path) -> None:
    check(damage, small, tmp_path)


@pytest.mark.parametrize("damage", VIRTUAL_DAMAGES, ids=lambda damage: damage.name)
def test_the_same_holds_for_virtual_builds(damage: Damage, small_virtual: Path, tmp_path: Path) -> None:
    check(damage, small_virtual, tmp_path)
    assert run("materialize", tmp_path / "out", "-o", tmp_path / "stored").returncode == 0


def check(damage: Damage, intact: Path, tmp_path: Path) -> None:
    """Damage a copy of a build, run every command on it, and then the command that `verify` prints."""
    out = Path(shutil.copytree(intact, tmp_path / "out"))
    damage.apply(out)
    is_virtual = intact.name == "virtual"

    verified = run("verify", out)
    assert verified.returncode == damage.verify, verified.stdout + verified.stderr
    lines = [line for line in verified.stdout.splitlines() if f": {damage.check}: " in line]
    assert any(damage.file in line for line in lines), verified.stdout

    ended = {
        "export": run("export", "moshi", out, "--to", tmp_path / "moshi"),
        "diff": run("diff", out, intact),
        "report": run("report", out, "-o", tmp_path / "report.html", "--samples", 4),
        "status": run("status", out),
        "gc": run("gc", out),
    }
    if damage.read == 2:
        ended["export hf"] = run("export", "hf", out, "--to", tmp_path / "hf", "--any-licence")
        if is_virtual:
            ended["materialize"] = run("materialize", out, "-o", tmp_path / "stored")
    expected = {"export": (damage.read,), "export hf": (2,), "materialize": (2,), "diff": damage.diff, "report": damage.report}
    expected |= {"status": (damage.status,), "gc": (damage.gc,)}
    found = {name: result.returncode for name, result in ended.items()}
    assert all(code in expected[name] for name, code in found.items()), (found, [r.stderr for r in ended.values()])
    for name, result in ended.items():
        if result.returncode == 2:
            assert result.stderr.splitlines()[-1].startswith("error: ") and str(out) in result.stderr, (name, result.stderr)
    assert (tmp_path / "moshi").exists() == (damage.read == 0) and not (tmp_path / "hf").exists()

    commands = set(re.findall(r"`(soundflow build [^`]*)`", verified.stdout))
    assert len(commands) == 1, commands
    (command,) = commands
    assert ("RECIPE" in command) == damage.by_recipe
    words = shlex.split(command.replace("RECIPE", shlex.quote(str(intact.parent / "recipe.yaml"))))
    virtual = ["--virtual"] if is_virtual and damage.by_recipe else []
    repaired = run(*words[1:], "--executor", "inline", *virtual)
    assert repaired.returncode == 0, repaired.stderr
    assert corpus(out) == corpus(intact)
    assert run("verify", out).returncode == 0


def test_the_remedy_runs_as_it_is_printed(small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "a build"))  # a path that has to be quoted
    (out / "data" / BuildDir(out).manifests()[1].tar).write_bytes(b"half")
    refused = run("export", "moshi", out, "--to", tmp_path / "moshi")
    assert refused.returncode == 2
    (command,) = re.findall(r"`(soundflow build [^`]*)`", refused.stderr)
    ended = subprocess.run(
        f"{shlex.quote(sys.executable)} -m {command}", shell=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120
    )
    assert ended.returncode == 0 and corpus(out) == corpus(small)
    assert [path.name.partition("-")[0] for path in sorted((out / "damaged").iterdir())] == ["data", "manifest"]


def test_gc_removes_what_was_moved_aside(small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    directory(tar_path(out))
    assert run("build", out / "build.json", "-o", out, "--recheck", "--executor", "inline").returncode == 0
    found = collect_garbage(out, remove=True, young_seconds=0)
    assert sorted(found.files) == sorted(["damaged/manifest-000000.json", f"damaged/data-{tar_path(out).name}"])
    assert list((out / "damaged").iterdir()) == [] and run("verify", out).returncode == 0


def test_recheck_leaves_an_intact_build_and_a_build_of_another_recipe_alone(small: Path, clips_dir: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert run("build", small / "build.json", "-o", small, "--recheck", "--executor", "inline").returncode == 0
    out = Path(shutil.copytree(small, tmp_path / "out"))
    tar_path(out).write_bytes(b"half")
    other = write_recipe(tmp_path / "other.yaml", clips_dir, streams=2, shards=1)
    refused = run("build", other, "-o", out, "--recheck", "--executor", "inline")
    assert refused.returncode == 2 and "contains a build of another recipe" in refused.stderr
    assert tar_path(out).read_bytes() == b"half" and not (out / "damaged").exists()
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_recheck_is_refused_while_another_process_builds(small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / "_tmp").mkdir(exist_ok=True)
    (out / "_tmp" / "elsewhere~1~shard-000001~00").write_bytes(b"")
    refused = run("build", out / "build.json", "-o", out, "--recheck", "--executor", "inline")
    assert refused.returncode == 2 and "another process is building" in refused.stderr


def test_a_report_of_a_build_does_not_become_that_of_a_run(small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / "run.json").write_bytes(b"{")
    assert run("report", out, "--samples", 1).returncode == 0
    (out / "build.json").unlink()
    shutil.rmtree(out / "manifest")
    failed = run("report", out)
    assert failed.returncode == 2 and "run.json" in failed.stderr


def test_a_build_of_other_operators_is_not_offered_a_command_that_would_refuse_it(small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    record = BuildDir(out).record()
    old = record.model_copy(update={"operator_versions": record.operator_versions | {"tfjp": "0"}, "soundflow_version": "0.0.9"})
    old = old.model_copy(update={"fingerprint": derived_fingerprint(old)})
    (out / "build.json").write_bytes(old.canonical_json())
    verified = run("verify", out)
    assert verified.returncode == 1 and "build with --recheck in SoundFlow 0.0.9" in verified.stdout
    assert "`" not in verified.stdout
