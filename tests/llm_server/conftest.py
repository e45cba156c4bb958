"""The real server as a fixture: started once, killed at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soundflow.schemas.asset_dir import asset_dir

MODEL = asset_dir() / "qwen2.5-coder-0.5b" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
KEY = "sk-local-0123456789abcdef"


FIGURES: list[dict[str, Any]] = []
"""What was measured, in the order of the tests."""


@pytest.fixture
def figures() -> list[dict[str, Any]]:
    """Where a test puts what it measured."""
    return FIGURES


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the figures and keep them in build/test-llm.json."""
    if FIGURES:
        Path("build/test-llm.json").write_text(json.dumps(FIGURES, indent=1) + "\n")
    for row in FIGURES:
        terminalreporter.write_line("  " + ", ".join(f"{name} {value}" for name, value in row.items()))


@pytest.fixture(scope="session")
def real_llm() -> Iterator[str]:
    """Base URL of a real server that wants KEY. Its log is build/llm-server.log."""
    if not MODEL.exists():
        pytest.fail(f"{MODEL} is missing: soundflow assets fetch qwen2.5-coder-0.5b")
    log = Path("build/llm-server.log")
    log.parent.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LLM_SERVER_KEY": KEY}
    command = [sys.executable, "-m", "tests.llm_server.server", str(MODEL)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as server,
    ):
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), log.read_text()[-2000:]
            yield url
        finally:
            server.kill()
