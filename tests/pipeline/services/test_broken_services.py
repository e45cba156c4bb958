"""Services that fail in every way: no shard is committed incomplete, and the resumed build equals an undisturbed one."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from soundflow.backends.calls.http_errors import HttpReply
from soundflow.backends.calls.metered_call import AsyncCalls, Post
from soundflow.backends.calls.transport import AsyncTransport
from soundflow.cli.app import main
from soundflow.operators.protocols.faults import ServerFault, Unreachable
from soundflow.pipeline.build.run import build
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.report.page import write_report
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import ServiceBroken
from tests.pipeline.curated import write_curated
from tests.support.corpus import corpus
from tests.support.hostile_llm import TRANSIENT, Fault, HostileLlm, always, faulty
from tests.support.hostile_sounds import Fault as SoundFault
from tests.support.hostile_sounds import HostileSounds
from tests.support.llm_roles import role_of

BREAKING = (Fault.ERROR_500, Fault.RESET, Fault.HTML, Fault.NO_CHOICES, Fault.NULL_CONTENT, Fault.BUSY_FOR_EVER, Fault.HANG)
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An answer cache of the test's own; no key, no other server."""
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.setenv("SOUND_API_KEY", "sk-very-secret-0123456789")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return tmp_path / "answers"


@pytest.fixture
def server() -> Iterator[HostileLlm]:
    """A server that behaves."""
    with HostileLlm() as running:
        yield running


@pytest.fixture
def write(tmp_path: Path, clips_dir: Path, server: HostileLlm) -> Write:
    """Writes a recipe for that server; `settings` are the server's."""

    def written(settings: dict[str, Any] | None = None, **change: Any) -> Path:
        section = server.settings(**{"retries": 0, "concurrency": 2} | (settings or {}))
        llm = {"server": section.model_dump(mode="json", exclude_unset=True)}
        return write_curated(tmp_path / "recipe.yaml", clips_dir, server, llm, **change)

    return written


def nothing_is_missing(out: Path) -> None:
    """Of what is committed."""
    assert all(not one.quarantined for one in BuildDir(out).manifests())


def test_a_model_that_fails_in_any_way_ends_the_build_and_the_same_command_resumes_it(
    write: Write, server: HostileLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "out", write({"timeout_seconds": 0.3}, streams=24, shards=4)

    def breaks(kind: Fault) -> None:
        until = server.calls + 5
        server.script = lambda body, before: kind if server.calls >= until else None

    for kind in BREAKING:
        breaks(kind)
        with pytest.raises(ServiceBroken, match=r"the language model at http://127\S* does not work"):
            build(recipe, out, executor="inline")
        nothing_is_missing(out)
        assert server.url in BuildDir(out).status().stopped and server.calls < 30 * len(BREAKING)
    breaks(Fault.ERROR_500)
    with pytest.raises(SystemExit) as ended:
        main(["build", str(recipe), "-o", str(out), "--executor", "inline"])
    output = capsys.readouterr()
    assert ended.value.code == 3 and "run the same command again" in output.err
    assert "A minimal test request failed as well" in output.err
    if BuildDir(out).committed(BuildDir(out).record().fingerprint):
        assert server.url in write_report(out).read_text(), "the report says why the build stopped"
    main_status(out, capsys, "stopped: the language model")
    server.script = lambda body, before: None
    assert build(recipe, out, executor="inline").shards.committed == 4
    nothing_is_missing(out)
    assert BuildDir(out).status().stopped == "" and not BuildDir(out).stopped_path.exists()
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "others"))
    build(recipe, tmp_path / "undisturbed", executor="inline")
    assert corpus(out) == corpus(tmp_path / "undisturbed")


def main_status(out: Path, capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    """`soundflow status` says it."""
    with pytest.raises(SystemExit):
        main(["status", str(out)])
    assert wanted in capsys.readouterr().out


def test_a_model_that_never_answers_well_ends_the_build_after_few_requests(
    write: Write, server: HostileLlm, tmp_path: Path
) -> None:
    server.script = always(Fault.TOO_LONG)
    with pytest.raises(ServiceBroken, match=r"scenario_planner.*too many tokens"):
        build(write(), tmp_path / "out", executor="inline")
    assert server.calls < 12 and corpus(tmp_path / "out") == {}


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.NO_QUOTA, Fault.NO_MODEL])
def test_a_permanent_rejection_ends_the_build_and_names_server_and_role(
    write: Write, server: HostileLlm, tmp_path: Path, fault: Fault
) -> None:
    server.script = always(fault)
    with pytest.raises(InputError, match=rf"{server.url} \(model \S+, role scenario_planner\)") as caught:
        build(write(), tmp_path / "out", executor="inline")
    assert caught.value.remedy and corpus(tmp_path / "out") == {}


def test_a_model_that_becomes_unavailable_costs_no_sample(
    write: Write, server: HostileLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, exchange = write({"concurrency": 1}, streams=8, shards=1), AsyncCalls._exchange

    async def lost(self: AsyncCalls, transport: AsyncTransport, post: Post[Any]) -> HttpReply | ServerFault:
        return Unreachable("the server is gone") if server.calls >= 13 else await exchange(self, transport, post)

    with monkeypatch.context() as gone:
        gone.setattr(AsyncCalls, "_exchange", lost)
        with pytest.raises(ServiceBroken, match="the server is gone"):
            build(recipe, tmp_path / "out", executor="inline")
    assert build(recipe, tmp_path / "out", executor="inline").shards.committed == 1
    nothing_is_missing(tmp_path / "out")
    assert max(server.answered.values()) == 1


def test_faults_that_outlast_the_retries_cost_no_sample_of_a_service_that_works(
    write: Write, server: HostileLlm, tmp_path: Path
) -> None:
    server.script = faulty(0.3, TRANSIENT)
    assert build(write(), tmp_path / "out", executor="inline").shards.committed == 4
    nothing_is_missing(tmp_path / "out")
    server.script = lambda body, before: None
    build(write(), tmp_path / "again", executor="inline")
    assert corpus(tmp_path / "out") == corpus(tmp_path / "again")


def test_a_request_that_always_breaks_the_server_costs_one_sample_and_no_shard(
    write: Write, server: HostileLlm, tmp_path: Path
) -> None:
    poison: list[str] = []

    def script(body: dict[str, Any], before: int) -> Fault | None:
        mark = json.dumps(body, sort_keys=True)
        if role_of(body) == "event_refiner" and not poison:
            poison.append(mark)
        return Fault.ERROR_500 if mark in poison else None

    server.script = script
    assert build(write(), tmp_path / "out", executor="inline").shards.committed == 4
    [entry] = BuildDir(tmp_path / "out").quarantine()
    assert "event_refiner" in entry.error and "500" in entry.error and server.seen[poison[0]] >= 12


def test_a_wrong_address_is_an_input_error_at_the_start_and_resumable_later(
    write: Write, server: HostileLlm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["build", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "out"), "--executor", "inline"])
        return int(ended.value.code or 0), capsys.readouterr().err

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # does not listen, and no other process gets the port
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        sounds = {"backend": "http", "model": "m", "server": {"base_url": nowhere, "retries": 0}}
        write({"base_url": f"{nowhere}/v1"}, generation=sounds, streams=24)
        code, text = run()
        assert code == 2 and f"error: the language model at {nowhere}/v1" in text
        assert "cannot be reached" in text and "Check llm.server.base_url" in text and "resume" not in text
        write(generation=sounds, streams=24)
        for _ in range(2):  # the second run finds the scenes of the first in the cache
            code, text = run()
            assert code == 3 and f"stopped: the sound service http at {nowhere}" in text
            assert "Check generation.server.base_url" in text and text.rstrip().count("run the same command again to resume") == 1
    main_status(tmp_path / "out", capsys, "stopped: the sound service")


@pytest.mark.parametrize("fault", [None, SoundFault.HTML])
def test_a_generator_that_breaks_costs_no_sample(
    write: Write, server: HostileLlm, tmp_path: Path, fault: SoundFault | None
) -> None:
    with socket.socket() as silent, HostileSounds(always=fault) as sounds:
        silent.bind(("127.0.0.1", 0))  # does not listen, and nobody else gets the port

        def recipe(url: str) -> Path:
            section = sounds.config("http", server={"retries": 1, "base_url": url}).model_dump(mode="json", exclude_unset=True)
            return write(generation=section, streams=8, shards=1)

        broken = f"http://127.0.0.1:{silent.getsockname()[1]}" if fault is None else f"{sounds.url}/v1/sound"
        with pytest.raises(ServiceBroken, match="the sound service http at http://127"):
            build(recipe(broken), tmp_path / "out", executor="inline")
        assert corpus(tmp_path / "out") == {}
    with HostileSounds() as sounds:
        assert build(recipe(f"{sounds.url}/v1/sound"), tmp_path / "out", executor="inline").shards.committed == 1
    nothing_is_missing(tmp_path / "out")
    assert max(server.answered.values()) == 1
