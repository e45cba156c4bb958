"""Runs that are killed, stopped or served badly, and files as they come from anywhere."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from soundflow.bench.harness.chat_player import config_of
from soundflow.bench.harness.predictions import Predictions
from soundflow.bench.harness.rows import read_rows
from soundflow.bench.proactive.metadata import read_predictions, read_sounds
from soundflow.bench.report import plots
from soundflow.bench.suites.item import Mode
from soundflow.bench.suites.registry import BENCHMARKS
from soundflow.bench.suites.run import answers_of, read_answers, run_chat
from soundflow.cli.app import app
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import LlmServer
from tests.bench.audio_server import AudioServer, Messages
from tests.bench.miniatures import MINIATURES
from tests.bench.proactive_world import SMALL, rows_of, write
from tests.support import ROOT
from tests.support.hostile_llm import TRANSIENT, HostileLlm, faulty


def test_a_misbehaving_server_costs_no_row(tmp_path: Path) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)
    with HostileLlm(faulty(0.5, TRANSIENT)) as server:
        config = config_of("m", server=server.settings())
        assert run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config, Mode.TEXT).is_complete
        assert server.faults
    assert set(answers_of(tmp_path / "run").texts.values()) == {"{}"}


def test_a_server_that_is_down_is_not_asked_for_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)
    monkeypatch.setattr("soundflow.bench.harness.collect.FAILED_IN_A_ROW", 2)
    with AudioServer(lambda messages, before: "stew" if before == 0 else (500, "down")) as server:
        settings = LlmServer(base_url=server.url, concurrency=1, retries=1, backoff_seconds=0.005)
        progress = run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config_of("m", server=settings), Mode.TEXT)
        assert (progress.answered, progress.expected, len(server.requests)) == (1, 4, 5)
    assert progress.faults[0] == "2 conversations in a row failed; 1 more were not started" and len(progress.faults) == 3
    assert "4 attempts failed" in capsys.readouterr().err
    with AudioServer(lambda messages, before: "stew") as server:
        settings = LlmServer(base_url=server.url)
        config = config_of("m", server=settings)
        assert run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config, Mode.TEXT).is_complete
        assert len(server.requests) == 3


def test_a_run_that_is_killed_and_then_stopped_asks_only_what_is_missing(tmp_path: Path) -> None:
    data = MINIATURES["librispeech"](tmp_path)
    written, allowed = tmp_path / "run" / "predictions.jsonl", 0

    def answer(messages: Messages, before: int) -> str:
        while len(written.read_bytes().splitlines()) >= allowed:
            time.sleep(0.05)
        return "stew"

    with AudioServer(answer) as server:
        command = [sys.executable, "-m", "soundflow", "bench", "run", "librispeech", "--data", str(data), "--chat", "m"]
        command += ["--server", server.url, "--concurrency", "1", "-o", str(tmp_path / "run")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        for number in (signal.SIGKILL, signal.SIGTERM):
            allowed += 1
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            while process.poll() is None and not (written.is_file() and written.read_bytes().count(b"\n") == allowed):
                time.sleep(0.05)
            process.send_signal(number)
            message = process.communicate(timeout=60)[1].decode()
            assert process.returncode == (130 if number is signal.SIGTERM else -number), message
            assert number is signal.SIGKILL or "the same command again to resume" in message
        allowed = 4
        finished = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
        assert b"4 items, 0 missing" in finished.stdout
        assert len(server.requests) <= 4 + 2, "asked again is what was under way"
    assert len(written.read_bytes().splitlines()) == 4


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    with Predictions(tmp_path / "run", {"a": 1}), pytest.raises(InputError, match="another process is writing"):
        Predictions(tmp_path / "run", {"a": 1}).__enter__()


def test_a_run_is_reported_what_differs_and_a_damaged_record_is_rejected(tmp_path: Path) -> None:
    with Predictions(tmp_path / "run", {"a": 1, "b": 2}):
        pass
    with pytest.raises(InputError, match="another b, c"), Predictions(tmp_path / "run", {"a": 1, "b": 3, "c": 4}):
        pass
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: is not JSON"), Predictions(tmp_path / "run", {"a": 1}):
        pass


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Predictions(tmp_path / "run", {}) as predictions:
        predictions.put([{"id": "a"}])

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            predictions.put([{"id": "b"}, {"id": "c"}])
        assert set(predictions.done) == {"a"}
    assert (tmp_path / "run" / "predictions.jsonl").read_bytes() == b'{"id": "a"}\n'


IGNORING = {"id": SMALL[0]["id"], "decision": "IGNORE"}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + json.dumps(IGNORING).encode() + b"\r\n\r\n",
        json.dumps(IGNORING).encode(),
        json.dumps(IGNORING | {"decision": " ignore.\t", "more": [1, {"x": None}]}).encode() + b"\n\n\n",
        json.dumps(IGNORING | {"reply": "\ud800 half a pair"}).encode() + b"\n",
        json.dumps({"id": SMALL[0]["id"], "_raw_reply": "<Decision>IGNORE</Decision>", "decision": None}).encode(),
    ],
    ids=["bom and crlf", "no line end", "spaces and more fields", "half a surrogate pair", "public form"],
)
def test_predictions_as_they_come_from_anywhere(data: bytes, tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    (tmp_path / "p.jsonl").write_bytes(data)
    found = read_predictions(tmp_path / "p.jsonl", {sound.id for sound in sounds})
    assert [one.decision for one in found.values()] == ["IGNORE"]
    found[SMALL[0]["id"]].reply.encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"id": "a"}'.encode("utf-16"), "UTF-16"),
        (b'{"id": "caf\xe9"}', "line 1: is not UTF-8"),
        (b'{"id": NaN}', "line 1: is not JSON: NaN is not a JSON number"),
        (gzip.compress(b'{"id": "a"}', mtime=0), r"is compressed \(gzip\).*gunzip"),
        (b'{"ID": "a", "decision": "IGNORE"}', "line 1: id: required field is missing. The row has: ID, decision"),
        (b'{"id": "x", "seconds": Infinity}', "line 1: is not JSON: Infinity"),
        (b'{"id": "x"} {"id": "y"}', "line 1: is not JSON"),
        (b"[" * 100_000, "line 1: is not JSON"),
        (b'\n\n"text"\n', "line 3: is not a JSON object"),
        (b'{"id": "' + b"x" * (1 << 24) + b'"}', "line 1: is longer than"),
        (b'{"id": ["a"]}', "line 1: id"),
        (b'{"id": ""}', "line 1: id"),
    ],
)
def test_what_cannot_be_read_is_reported_with_its_line(data: bytes, message: str, tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    (tmp_path / "p.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=message) as found:
        read_predictions(tmp_path / "p.jsonl", {sound.id for sound in sounds})
    assert found.value.remedy and len(str(found.value)) < 600


def test_a_prediction_cannot_spoil_the_score_with_its_numbers(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", SMALL))
    rows: list[Any] = [{"id": row["id"], "decision": "IGNORE", "seconds": -1, "level_db": True} for row in SMALL]
    rows[1] |= {"seconds": 1e300, "level_db": "loud"}
    found = read_predictions(write(tmp_path / "p.jsonl", rows), {sound.id for sound in sounds})
    assert all(one.seconds is None and one.level_db is None for one in found.values())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "a,b\n1\n", "row 1: 1 cells for 2 columns"),
        ("a.csv", 'a,b\n"1,2\n', "1 cells for 2 columns|quotation mark"),
        ("a.csv", "a,a\n1,2\n", "column names are empty or repeated"),
        ("a.csv", "", "column names are empty or repeated"),
        ("a.csv", "a\n" + "x" * 5_000_000, "line 2|is not CSV"),
        ("a.json", "{}", "is not a JSON list"),
        ("a.json", '[{"a": 1}, 2]', "row 2: is not a JSON object"),
        ("a.xml", "<a/>", "unknown file format"),
        ("nothing.jsonl", None, "no such file"),
    ],
)
def test_tables_that_are_none_are_rejected(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as found:
        list(read_rows(tmp_path / name))
    assert found.value.remedy


def test_an_empty_cell_is_an_empty_answer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,question,response\nx,why?,\ny,who?,me\n")
    assert read_answers(tmp_path / "a.csv", {"x", "y"}).texts == {"x": "", "y": "me"}
    (tmp_path / "b.csv").write_text("id,question,said\nx,,me\n")
    with pytest.raises(InputError, match="row 1: answer: is not a string"):
        read_answers(tmp_path / "b.csv", {"x"})
    (tmp_path / "p.csv").write_text("id,decision,reply\n" + "".join(f"{row['id']},,\n" for row in SMALL))
    assert [one.decision for one in read_predictions(tmp_path / "p.csv", {row["id"] for row in SMALL}).values()] == [None] * 6
    meta = "id,path,description,decision,standard_answers\n" + "".join(
        f"{row['id']},{row['path']},{row['description']},{row['decision']},\n" for row in SMALL
    )
    (tmp_path / "meta.csv").write_text(meta)
    assert read_sounds(tmp_path / "meta.csv") == read_sounds(write(tmp_path / "meta.jsonl", SMALL))


def test_a_path_that_leaves_the_audio_folder_is_rejected(tmp_path: Path) -> None:
    for path in ("../../Domain/Sub/IGNORE/x.wav", "/etc/Domain/Sub/IGNORE/x.wav"):
        with pytest.raises(InputError, match="line 1: path"):
            read_sounds(write(tmp_path / "meta.jsonl", [SMALL[0] | {"path": path}]))


def test_many_rows_are_bootstrapped_without_memory_for_every_draw(tmp_path: Path) -> None:
    from soundflow.bench.proactive.score import score

    sounds = read_sounds(write(tmp_path / "meta.jsonl", rows_of({"Traffic": {"Vehicle": (3_000, 3_000)}})))
    assert score(sounds, {}).counts.accuracy == 0.0


def test_a_server_that_refuses_us_is_reported_in_the_commands_words(tmp_path: Path) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)
    for status, message in ((401, "rejects the API key.*OPENAI_API_KEY"), (404, "Check --server .*name of the model")):
        with AudioServer(lambda messages, before, status=status: (status, "no")) as server:
            config = config_of("m", server.url)
            with pytest.raises(InputError, match=message):
                run_chat(BENCHMARKS["librispeech"], items, tmp_path / str(status), config, Mode.TEXT)
    with pytest.raises(InputError, match="--server: must be an http"):
        config_of("m", "127.0.0.1:8000")


def test_a_file_without_predictions_is_no_score_of_zero(tmp_path: Path) -> None:
    items = MINIATURES["librispeech"](tmp_path)
    meta, empty = write(tmp_path / "meta.jsonl", SMALL), tmp_path / "empty.jsonl"
    empty.write_text("\n")
    for command in (
        ["proactive", "score", str(empty), "--meta", str(meta)],
        ["score", "librispeech", str(empty), "--data", str(items)],
    ):
        result = CliRunner().invoke(app, ["bench", *command])
        assert isinstance(result.exception, InputError)
        assert str(empty) in str(result.exception) and "contains no rows" in str(result.exception)


def test_timeout_and_retries_of_a_run_reach_the_server(tmp_path: Path) -> None:
    data = MINIATURES["librispeech"](tmp_path)
    with AudioServer(lambda messages, before: (500, "no")) as server:
        command = ["bench", "run", "librispeech", "--data", str(data), "--chat", "m", "--server", server.url, "--limit", "1"]
        result = CliRunner().invoke(app, [*command, "--retries", "0", "--timeout", "5", "-o", str(tmp_path / "run")])
    assert result.exit_code == 3 and len(server.requests) == 1
    assert config_of("m", timeout=5.0).server.timeout_seconds == 5.0


def test_predictions_may_have_any_name(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.txt", SMALL))
    assert read_predictions(write(tmp_path / "mine", [IGNORING]), {sound.id for sound in sounds})
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "none", set())


def test_names_in_plots_are_no_formulas() -> None:
    svg = plots._svg(lambda axes: axes.set_title(r"$\frac{a <script>"))
    assert r"$\frac{a &lt;script&gt;" in svg and "<script" not in svg
