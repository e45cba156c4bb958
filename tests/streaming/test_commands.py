"""`soundflow serve` and `soundflow listen`: their options, their last line and their files."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from soundflow.cli.app import app
from soundflow.schemas.base import InputError, Interrupted
from soundflow.streaming.engine import Engine
from tests.streaming.serving import noise, run, serving


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    started = Engine(checkpoint, sessions=1)
    started.start()
    yield started
    started.close()


def test_the_command_serves_with_the_instruction_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr("soundflow.streaming.server.serve", lambda model, *, instruction, **rest: given.append(instruction))
    for arguments in ([], ["--instruction", "Name what you hear."]):
        assert CliRunner().invoke(app, ["serve", "--model", "m", *arguments]).exit_code == 0
    assert given[0] and given[1] == "Name what you hear."


def test_a_stopped_server_reports_that_sessions_and_processes_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(model: Path, **rest: object) -> None:
        raise Interrupted

    monkeypatch.setattr("soundflow.streaming.server.serve", stopped)
    result = CliRunner().invoke(app, ["serve", "--model", "m"])
    assert result.exit_code == 130 and "all sessions are closed" in result.output and "resumes" not in result.output


@pytest.mark.parametrize(("threshold", "responses"), [(0.999, "0"), (0.001, "[1-3]")])
def test_listen_ends_with_a_summary(engine: Engine, tmp_path: Path, threshold: float, responses: str) -> None:
    file = tmp_path / "kitchen.wav"
    soundfile.write(file, noise(1.2), 16_000)

    async def test() -> None:
        async with serving(engine) as url:
            command = ["listen", str(file), "--url", url, "--pace", "0", "--threshold", str(threshold)]
            result = await asyncio.to_thread(CliRunner().invoke, app, command)
            assert result.exit_code == 0, result.output
            assert re.fullmatch(rf"3 chunks \(1.2 s\), {responses} responses", result.stdout.splitlines()[-1])

    run(test)


def test_a_refused_listen_leaves_its_output_file_alone(tmp_path: Path) -> None:
    kept, recording = tmp_path / "spoken.wav", tmp_path / "kitchen.wav"
    kept.write_bytes(b"an earlier recording")
    soundfile.write(recording, noise(0.4), 16_000)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    result = CliRunner().invoke(app, ["listen", str(recording), "--url", url, "--aloud", str(kept)])
    assert isinstance(result.exception, InputError) and "no server answers" in str(result.exception)
    assert kept.read_bytes() == b"an earlier recording"
