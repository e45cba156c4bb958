"""Every command that the documentation shows exists, with its options, and is run by a test or listed here with a reason."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.docs.pages import Shown, after_soundflow, called, every_command, inline_commands, misuse, shown_commands
from tests.docs.test_quickstart import TYPED, shown
from tests.support import ROOT

HERE = "tests/docs/test_quickstart.py"
COMMANDS = "tests/end_to_end/test_commands.py"
TRAIN = "tests/end_to_end/test_train_commands.py"
SPEECH = "tests/end_to_end/test_speech_commands.py"
RUN_BY = {
    "clips index": HERE,
    "clips align": "tests/end_to_end/test_dialogue_example.py",
    "clips interpret": "tests/pipeline/clips/test_interpret.py",
    "clips search": HERE,
    "clips list": "tests/pipeline/clips/test_overview.py",
    "clips stats": "tests/pipeline/clips/test_overview.py",
    "tfjp": HERE,
    "sources list": HERE,
    "sources check": HERE,
    "sources import": HERE,
    "init": HERE,
    "build": HERE,
    "materialize": HERE,
    "fetch": COMMANDS,
    "status": HERE,
    "gc": HERE,
    "diff": HERE,
    "verify": HERE,
    "replay": HERE,
    "report": HERE,
    "estimate": HERE,
    "tasks": HERE,
    "schema": HERE,
    "ask": "tests/pipeline/services/test_ask_once.py",
    "curate": "tests/pipeline/build/test_curate_once.py",
    "export hf": HERE,
    "export moshi": HERE,
    "export authors": HERE,
    "export scaper": HERE,
    "say": SPEECH,
    "hear": SPEECH,
    "speak": SPEECH,
    "review": "tests/pipeline/speech/test_review.py",
    "assets list": HERE,
    "assets fetch": COMMANDS,
    "jobs status": "tests/pipeline/jobs/test_submit.py",
    "jobs resume": "tests/pipeline/jobs/test_submit.py",
    "bench run": "tests/bench/suites/test_run.py",
    "bench score": "tests/bench/suites/test_run.py",
    "bench report": "tests/bench/suites/test_run.py",
    "bench analyse": "tests/bench/experiments/test_analyses.py",
    "bench proactive score": "tests/bench/proactive/test_run.py",
    "bench proactive run": "tests/bench/proactive/test_run.py",
    "bench proactive build": "tests/bench/proactive/test_build.py",
    "bench proactive stability": "tests/bench/proactive/test_streams.py",
    "model init": TRAIN,
    "model estimate": TRAIN,
    "train": TRAIN,
    "evaluate": TRAIN,
    "serve": "tests/streaming/test_server.py",
    "listen": "tests/streaming/test_server.py",
}
"""Command → the test module that calls it."""
NOT_RUN = {
    "audit": "needs a language model; tests/pipeline/speech/test_audit.py runs it against a server of our own",
    "assets verify": "hashes every model that is here; tests/pipeline/services/test_assets.py calls the function behind it",
    "submit": "needs a Ray cluster; tests/pipeline/jobs/test_submit.py submits through `Jobs` to one of this machine",
    "jobs logs": "needs a Ray cluster; tests/pipeline/jobs/test_submit.py reads logs through `Jobs`",
    "jobs cancel": "needs a Ray cluster; tests/pipeline/jobs/test_submit.py cancels through `Jobs`",
    "bench proactive recordings": "tests/bench/proactive/test_streams.py calls the functions behind it",
}
"""Command → why no test calls it as it is typed."""
MAKE = {
    "demo": "installs; `tests/pipeline/start` and `tests/end_to_end` run its steps",
    "test": "is what runs this",
    "docs": "installs the extra `docs`; `test_references` and `test_links` check what it builds",
    "dialogue": "installs and fetches 78 MB; tests/end_to_end/test_dialogue_example.py runs the example at a small size",
    "all-tasks": "installs and fetches 0.35 GB; tests/pipeline/build/test_all_tasks.py builds such streams",
    "learn": "takes some CPU minutes; tests/bench/experiments runs it small",
    "proactive": "needs `make learn`; tests/bench/experiments runs it small",
    "ablations": "takes an hour; tests/bench/experiments runs every variant small",
    "bench": "takes minutes, peers and a quiet machine; tests run fifo, replay, scenes, labels, ledger and parts of mixing small",
    "chaos": "takes minutes and mounts; tests/pipeline/build/test_chaos.py runs three rounds",
    "test-llm": "needs 0.5 GB of weights and minutes",
    "lint": "is the other half of .ci/run",
    "page": "needs Chromium; tests/streaming/test_page.py takes the pictures",
}
"""Target of the Makefile → why no test calls it."""
OTHERS = {
    ".": "activates the environment",
    "apt-get": "needs Debian and its network",
    "pip": "needs the network",
    "git": "needs a clone",
    "pytest": "is what runs this",
    "python": "tests/docs/test_references.py runs docs/generate.py, tests/examples the examples, tests/bench the benches",
    "cd": "enters a clone",
    "pre-commit": "writes a hook into the clone",
    "head=$(scontrol": "needs Slurm",
    "head": "needs Slurm",
    "srun": "needs Slurm",
    "ruff": "is part of `make lint`",
}
"""First word of a command that is not ours → why no test runs it."""


def is_listed(words: tuple[str, ...]) -> bool:
    if (arguments := after_soundflow(words)) is not None:
        path = called(arguments)[0]
        return path in RUN_BY or path in NOT_RUN or not path
    if words[0] == "make":
        return all(word in MAKE for word in words[1:] if "=" not in word)
    words = tuple(word for word in words if not re.match(r"[A-Z_]+=", word))
    return words[0].rpartition("/")[2] in OTHERS or words[0] in OTHERS


@pytest.mark.parametrize("command", shown_commands(), ids=str)
def test_a_command_that_is_shown_exists_and_is_run_or_listed(command: Shown) -> None:
    arguments = after_soundflow(command.words)
    assert arguments is None or not misuse(arguments)
    assert is_listed(command.words), "name the test that runs it in RUN_BY, or say in NOT_RUN, MAKE or OTHERS why none can"


@pytest.mark.parametrize("command", inline_commands(), ids=str)
def test_a_command_in_running_text_exists(command: Shown) -> None:
    words = command.words
    if words[0] == "soundflow":
        assert not misuse(words[1:], whole=False)
    elif words[0] == "make":
        assert set(targets()) >= {word for word in words[1:] if "=" not in word}
    else:
        assert importlib.util.find_spec(words[2]), words[2]


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_module_that_a_command_runs_exists() -> None:
    ran = [command.words for command in shown_commands() if "-m" in command.words]
    modules = {words[words.index("-m") + 1] for words in ran}
    assert modules and all(module in ("pip", "venv") or importlib.util.find_spec(module) for module in modules), modules


def test_the_tables_name_every_command_once() -> None:
    leaves = {path for path, command in every_command().items() if not getattr(command, "commands", {}) and not command.hidden}
    assert {*RUN_BY, *NOT_RUN} == leaves and not set(RUN_BY) & set(NOT_RUN)
    assert set(MAKE) == set(targets()) - {"clean"}


@pytest.mark.parametrize(("command", "module"), RUN_BY.items())
def test_the_module_that_runs_a_command_calls_it(command: str, module: str) -> None:
    if module == HERE and command in {called(words[1:])[0] for name in TYPED for words in shown(name)}:
        return
    words = r'"?,? ?"?'.join(map(re.escape, command.split()))
    assert re.search(rf'["({{ ]{words}["\s]', (ROOT / module).read_text(encoding="utf-8"))


def test_reasons_name_tests_that_are_there() -> None:
    for reason in (*NOT_RUN.values(), *MAKE.values(), *OTHERS.values()):
        assert all((ROOT / path).exists() for path in re.findall(r"tests/[\w/.]+\w", reason)), reason
