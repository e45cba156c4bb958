"""`python -m soundflow serve` in a directory with modules named like our rooms, worker processes included."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from soundflow.schemas.base import InputError
from soundflow.streaming.events import ChunkSilent, SessionCreated
from tests.streaming.serving import played
from tests.support.user_directory import environment, user_directory

SCRIPT = "from soundflow.cli.app import main\nif __name__ == '__main__':\n    main()\n"


@pytest.mark.parametrize("launcher", ["module", "script"])
def test_a_server_and_its_workers_run_beside_modules_with_our_names(checkpoint: Path, tmp_path: Path, launcher: str) -> None:
    """The installed script does not search the working directory at all: there, even `queue.py` must not be imported."""
    (tmp_path / "script.py").write_text(SCRIPT)
    more, command = ((), ["-m", "soundflow"]) if launcher == "module" else (("soundflow", "queue"), [str(tmp_path / "script.py")])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = ["serve", "--model", str(checkpoint), "--port", str(port), "--threshold", "0.999"]
    url = f"http://127.0.0.1:{port}"

    async def first_session(process: subprocess.Popen[str]) -> list[type]:
        while process.poll() is None:
            with contextlib.suppress(InputError):
                return [type(event) for event in await played(url, 0.8)]
            await asyncio.sleep(0.1)
        raise AssertionError(f"the server ended: {process.communicate()}")

    with subprocess.Popen(
        [sys.executable, *command, *serve],
        cwd=user_directory(tmp_path / "user", *more),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert asyncio.run(asyncio.wait_for(first_session(process), 300)) == [SessionCreated, ChunkSilent, ChunkSilent]
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "all sessions are closed" in errors and "RuntimeError" not in errors, errors
