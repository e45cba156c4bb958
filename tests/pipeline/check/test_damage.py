"""Every kind of damage to a build: each command names it and ends, and the printed remedy repairs it."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from soundflow.pipeline.build.run import build
from tests.support.commandline import soundflow
from tests.support.corpus import corpus, write_recipe
from tests.support.damages import DAMAGES, Damage

SECONDS = 10
"""A command that takes longer hangs."""


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
        raise TimeoutError(f"a command hangs for more than {SECONDS} s")

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


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_every_command_names_the_damage_and_the_remedy_repairs_it(damage: Damage, small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    damage.apply(out)

    verified = run("verify", out)
    assert verified.returncode == damage.verify, verified.stdout + verified.stderr
    lines = [line for line in verified.stdout.splitlines() if f": {damage.check}: " in line]
    assert any(damage.file in line for line in lines), verified.stdout

    ended = {
        "export": run("export", "moshi", out, "--to", tmp_path / "moshi"),
        "diff": run("diff", out, small),
        "report": run("report", out, "-o", tmp_path / "report.html", "--samples", 4),
        "status": run("status", out),
        "gc": run("gc", out),
    }
    if damage.read == 2:
        ended["export hf"] = run("export", "hf", out, "--to", tmp_path / "hf", "--any-licence")
    expected = {"export": (damage.read,), "export hf": (2,), "diff": damage.diff, "report": damage.report}
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
    words = shlex.split(command.replace("RECIPE", shlex.quote(str(small.parent / "recipe.yaml"))))
    repaired = run(*words[1:], "--executor", "inline")
    assert repaired.returncode == 0, repaired.stderr
    assert corpus(out) == corpus(small)
    assert run("verify", out).returncode == 0
