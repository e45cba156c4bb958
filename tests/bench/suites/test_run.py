"""Running the seven: a checkpoint as a stream, a server, a judge, kills between; the report beside the paper's tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from soundflow.bench.harness.chat_player import config_of
from soundflow.bench.report.page import paper_tables
from soundflow.bench.suites.item import Mode
from soundflow.bench.suites.judging import judge, judge_config
from soundflow.bench.suites.registry import BENCHMARKS
from soundflow.bench.suites.run import answers_of, read_answers, run_chat, run_stream, segmented
from soundflow.cli.app import app
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import LlmServer
from tests.bench.audio_server import AudioServer, Messages
from tests.bench.miniatures import MINIATURES
from tests.bench.proactive_world import write


def server_of(url: str) -> LlmServer:
    return LlmServer(base_url=url, retries=1, backoff_seconds=0.005, concurrency=2)


def knows_all(messages: Messages, before: int) -> str:
    """Answers LibriSpeech's miniature by the loudness of its last recording."""
    number = round(float(np.abs(messages[-1]["sounds"][-1]).max()) / 0.05) - 1
    return ("He hoped there would be stew.", "I don't know!")[number % 2]


def test_segments_hold_every_item_once_and_stay_within_their_group(tmp_path: Path) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)
    for count in (1, 2, 3):
        groups = segmented(items, count)
        assert sorted(name for group in groups for name in group.ids) == sorted(item.id for item in items)
        assert all(len(group.ids) <= count and len({item.group for item in group.items}) == 1 for group in groups)
    assert segmented(items[::-1], 2) == segmented(items, 2)


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_runs_on_a_checkpoint_and_resumes(name: str, checkpoint: Path, tmp_path: Path) -> None:
    items = BENCHMARKS[name].read(MINIATURES[name](tmp_path), None)[:2]
    out = tmp_path / "run"
    assert run_stream(BENCHMARKS[name], items, out, checkpoint, Mode.TEXT, longest_response=3).is_complete
    first = (out / "predictions.jsonl").read_bytes()
    (out / "predictions.jsonl").write_bytes(first[:-7])
    assert run_stream(BENCHMARKS[name], items, out, checkpoint, Mode.TEXT, longest_response=3).is_complete
    assert (out / "predictions.jsonl").read_bytes() == first
    assert set(answers_of(out).texts) == {item.id for item in items}
    with pytest.raises(InputError, match="another mode"):
        run_stream(BENCHMARKS[name], items, out, checkpoint, Mode.AUDIO, longest_response=3)


def test_spoken_instructions_are_heard_before_the_recording(tmp_path: Path) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)[:1]
    with AudioServer(knows_all) as server:
        config = config_of("m", server=server_of(server.url))
        assert run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config, Mode.AUDIO).is_complete
    spoken, recording = server.requests[0][-1]["sounds"]
    assert len(spoken) > 16_000 and len(recording) == 8_000 and np.abs(spoken).max() > 0.1


def test_items_that_differ_in_writing_cannot_share_a_stream(checkpoint: Path, tmp_path: Path) -> None:
    items = BENCHMARKS["alpaca-eval"].read(MINIATURES["alpaca-eval"](tmp_path), None)
    with pytest.raises(InputError, match="--mode audio"):
        run_stream(BENCHMARKS["alpaca-eval"], items, tmp_path / "run", checkpoint, Mode.TEXT, segments=2)


def test_items_of_a_segment_share_a_conversation(tmp_path: Path) -> None:
    items = BENCHMARKS["librispeech"].read(MINIATURES["librispeech"](tmp_path), None)
    with AudioServer(knows_all) as server:
        config = config_of("m", server=server_of(server.url))
        assert run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config, Mode.TEXT, segments=2).is_complete
    assert sorted(len(messages) for messages in server.requests) == [1, 1, 3, 3]
    figures = BENCHMARKS["librispeech"].score(items, answers_of(tmp_path / "run").texts, {})
    assert figures.values["clean"] == 0.0 and figures.values["other"] == 0.0


def test_thoughts_are_kept_in_predictions_and_not_scored_nor_sent_back(tmp_path: Path) -> None:
    data = MINIATURES["librispeech"](tmp_path)
    items = BENCHMARKS["librispeech"].read(data, None)

    def thinks(messages: Messages, before: int) -> str:
        return f"<think>\nIs it cattle?\n</think>\n\n{knows_all(messages, before)}"

    with AudioServer(thinks) as server:
        config = config_of("m", server=server_of(server.url))
        assert run_chat(BENCHMARKS["librispeech"], items, tmp_path / "run", config, Mode.TEXT, segments=2).is_complete
    assert "think" not in str([[one["text"] for one in messages] for messages in server.requests])
    answers = answers_of(tmp_path / "run")
    assert BENCHMARKS["librispeech"].score(items, answers.texts, {}).values["clean"] == 0.0
    assert (answers.thoughts, answers.unreadable) == (len(items), 0)
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all(row["answer"].startswith("<think>\nIs it cattle?\n</think>\n\n") for row in rows)
    rows[0]["answer"] = "<think>Is it cattle?"
    write(tmp_path / "p.jsonl", rows)
    done = CliRunner().invoke(app, ["bench", "score", "librispeech", str(tmp_path / "p.jsonl"), "--data", str(data)])
    assert f"answers with thoughts of the model, which are not scored: {len(items)};" in done.stdout
    assert "without an end of the thoughts (counted as wrong): 1" in done.stdout


def test_votes_are_read_behind_the_thoughts_of_the_judge(tmp_path: Path) -> None:
    items = BENCHMARKS["alpaca-eval"].read(MINIATURES["alpaca-eval"](tmp_path), None)[:1]
    with AudioServer(lambda messages, before: "<think>2? No.</think>4" if before else "<think>5") as server:
        _, votes = judge(items, {items[0].id: "x"}, tmp_path / "votes", judge_config("j", None, server_of(server.url)), "open")
    assert sorted(votes[items[0].id]) == ["", "4", "4"]


def test_a_judge_is_asked_three_times_and_never_twice_for_one_vote(tmp_path: Path) -> None:
    items = BENCHMARKS["alpaca-eval"].read(MINIATURES["alpaca-eval"](tmp_path), None)
    answers = {items[0].id: "Tom Hanks.", items[1].id: "{prompt}"}

    def strict(messages: Messages, before: int) -> str | tuple[int, str]:
        assert messages[0]["role"] == "system"
        return (503, "busy") if before == 2 else ("4" if "Tom Hanks" in messages[-1]["text"] else "2")

    with AudioServer(strict) as server:
        config = judge_config("j", None, server_of(server.url))
        progress, votes = judge(items, answers, tmp_path / "votes", config, "open")
        asked = len(server.requests)
        again, same = judge(items, answers, tmp_path / "votes", config, "open")
    assert progress.is_complete and again.is_complete and votes == same and len(server.requests) == asked == 7
    assert server.bodies[0]["temperature"] == 0.5 and server.bodies[0]["top_p"] == 0.95
    found = BENCHMARKS["alpaca-eval"].score(items, answers, votes)
    assert found.values["rating"] == pytest.approx((4 + 2 + 1) / 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "unknown", "answer": "x"}, "line 1: id: is not an item of the benchmark"),
        ({"id": "1089-134686-0000"}, "line 1: answer: is not a string"),
        ({"id": "1089-134686-0000", "answer": 7}, "line 1: answer: is not a string"),
        ({"id": "1089-134686-0000", "answer": "x", "choices": ["x", "y"]}, "line 1: answer: is not a string"),
    ],
)
def test_bad_answers_are_rejected_and_a_solution_is_no_answer(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_answers(write(tmp_path / "a.jsonl", [row]), {"1089-134686-0000"})


def test_commands_run_score_and_report_beside_the_papers_tables(checkpoint: Path, tmp_path: Path) -> None:
    data, out = MINIATURES["librispeech"](tmp_path), tmp_path / "run"
    with AudioServer(knows_all) as server:
        options = ["--chat", "hears", "--server", server.url, "-o", str(out), "--json"]
        done = CliRunner().invoke(app, ["bench", "run", "librispeech", "--data", str(data), *options])
    assert done.exit_code == 0 and json.loads(done.stdout)["figures"]["clean"] == 0.0, done.output
    command = ["bench", "score", "librispeech", str(out / "predictions.jsonl"), "--data", str(data), "--json"]
    assert json.loads(CliRunner().invoke(app, command).stdout) == json.loads(done.stdout)
    page = CliRunner().invoke(app, ["bench", "report", str(tmp_path), "-o", str(tmp_path / "bench.html")])
    assert page.exit_code == 0, page.output
    text = (tmp_path / "bench.html").read_text()
    assert "hears (here)" in text and text.count("not run") > 20 and "Audio-Interaction (3B)" in text
    row = re.search(r"hears \(here\)</td><td class=\"number\">0\.00 \(n=4\)</td><td class=\"number\">0\.00 \(n=4\)</td>", text)
    assert row, "WER of clean and other stand under the paper's columns"
    assert "several runs" not in text
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "result.json").write_bytes((out / "result.json").read_bytes())
    CliRunner().invoke(app, ["bench", "report", str(tmp_path), "-o", str(tmp_path / "bench.html")])
    assert "hears has several runs; the first by path is shown." in (tmp_path / "bench.html").read_text()
    assert "<script" not in text and "http" not in re.sub(r"http://www\.w3\.org/\S+", "", text)


def test_the_papers_tables_are_whole() -> None:
    tables = paper_tables()
    assert len(tables) == 4
    for table in tables:
        assert all(len(row.values) == len(table.columns) for row in table.rows)
        assert {column.benchmark for column in table.columns} <= {*BENCHMARKS, "proactive-sound-bench"}
    ours = {row.model: row.values for row in tables[0].rows}
    assert ours["Audio-Interaction (3B)"][-1] == 58.15
