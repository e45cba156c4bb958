"""Stability under concatenation, and long recordings as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from soundflow.bench.proactive.metadata import read_sounds
from soundflow.bench.proactive.recordings import read_recordings, recording_rates
from soundflow.bench.proactive.stability import concatenated
from soundflow.cli.app import app
from soundflow.schemas.base import InputError
from tests.bench.proactive_world import PUBLISHED, SMALL, rows_of, write, write_recordings


def test_every_sound_is_heard_once_for_every_n(tmp_path: Path) -> None:
    sounds = read_sounds(write(tmp_path / "meta.jsonl", rows_of(PUBLISHED)))
    for count in range(1, 6):
        streams = concatenated(sounds, count)
        assert sorted(name for stream in streams for name in stream.sounds) == sorted(sound.id for sound in sounds)
        assert all(len(stream.sounds) == count for stream in streams[:-1])
    assert concatenated(sounds[::-1], 3) == concatenated(sounds, 3) != concatenated(sounds, 3, seed=1)


def test_the_stability_command_runs_every_n_and_resumes(checkpoint: Path, tmp_path: Path) -> None:
    meta, data = write(tmp_path / "meta.jsonl", SMALL), write_recordings(tmp_path / "data", SMALL)
    command = ["bench", "proactive", "stability", "--meta", str(meta), "--audio", str(data), "--model", str(checkpoint)]
    command += ["-o", str(tmp_path / "run"), "--longest", "3", "--threshold", "0.999"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["curve"]) == {"1", "2", "3"} and result["complete"]
    assert result["figures"]["kept, N = 1"] == 100.0
    assert [row[0] for row in result["grid"]["rows"]] == ["N = 1", "N = 2", "N = 3"]
    before = (tmp_path / "run" / "n3" / "predictions.jsonl").read_bytes()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (tmp_path / "run" / "n3" / "predictions.jsonl").read_bytes() == before


def take(root: Path, name: str, labels: str | None, seconds: float = 8.0) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(3).standard_normal(round(seconds * 16_000)), 16_000)
    if labels is not None:
        path.with_suffix(".txt").write_text(labels)


def row(responses: list[int], chunks: int = 20) -> dict[str, object]:
    levels = [-60.0] * chunks
    levels[5] = -10.0
    return {
        "seconds": 0.4 * chunks,
        "chunk_seconds": 0.4,
        "chunks": [0.0] * chunks,
        "levels": levels,
        "said": [{"chunk": chunk, "text": ""} for chunk in responses],
    }


def test_rates_of_takes_by_hand(tmp_path: Path) -> None:
    take(tmp_path, "home/a.wav", "1.0\t2.0\tRESPOND glass\n4.0\t4.5\tIGNORE: spoon\n6.0\t6.2\tignore\n")
    take(tmp_path, "work/b.wav", None)
    takes = read_recordings(tmp_path)
    # chunk k ends at 0.4 (k + 1): 1.2 and 2.8 s answer the glass (slack 2 s), 4.4 s the spoon
    rows = {"home/a.wav": row([2, 6, 10]), "work/b.wav": row([0])}
    found = recording_rates(takes, rows)
    model = found["model"]
    assert model["recall"] == 1.0 and model["specificity"] == 0.5 and model["trigger_accuracy"] == pytest.approx(2 / 3)
    assert model["false_alarms_per_hour"] == pytest.approx(1 / (8 / 3600)) and model["precision"] == pytest.approx(2 / 3)
    assert model["responses_per_hour"] == pytest.approx(4 / (16 / 3600)) and model["silence"] == pytest.approx(36 / 40)
    assert found["never respond"]["trigger_accuracy"] == pytest.approx(2 / 3) and found["never respond"]["recall"] == 0.0
    assert found["always respond"]["recall"] == 1.0 and found["always respond"]["specificity"] == 0.0
    # always: 20 responses, those that end at 1.2 ... 4.0 s answer the glass
    assert found["always respond"]["false_alarms_per_hour"] == pytest.approx(12 / (8 / 3600))
    assert found["energy threshold"]["responses_per_hour"] == pytest.approx(2 / (16 / 3600))
    assert found["  work"]["recall"] is None and found["  home"]["recall"] == 1.0


@pytest.mark.parametrize(
    "labels",
    [
        "1.0 2.0 RESPOND\n",
        "1\t2\tMAYBE\n",
        "x\t2\tRESPOND\n",
        "3\t2\tRESPOND\n",
        "nan\t2\tIGNORE\n",
        "9\t9.5\tRESPOND\n",
        "-1\t2\tIGNORE\n",
    ],
)
def test_bad_labels_are_reported_with_their_line(labels: str, tmp_path: Path) -> None:
    take(tmp_path, "a.wav", "0\t1\tIGNORE\n\n" + labels)
    with pytest.raises(InputError, match=r"a\.txt, line 3"):
        read_recordings(tmp_path)
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"a\.wav: unusable recording: unreadable"):
        read_recordings(tmp_path)


def test_the_recordings_command_plays_takes_as_they_are(checkpoint: Path, tmp_path: Path) -> None:
    take(tmp_path / "takes", "home/a.wav", "1.0\t2.0\tRESPOND\n", seconds=3.0)
    command = [
        "bench",
        "proactive",
        "recordings",
        str(tmp_path / "takes"),
        "--model",
        str(checkpoint),
        "-o",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) == {"model", "always respond", "never respond", "energy threshold", "  home"}
    assert "false alarms/h" in CliRunner().invoke(app, [*command, "--label", "mine"]).output
    take(tmp_path / "takes", "home/b.wav", None, seconds=1.0)  # another set of takes: the run is refused
    assert "contains a run with another takes" in str(CliRunner().invoke(app, command).exception)
    page = tmp_path / "bench.html"
    assert CliRunner().invoke(app, ["bench", "report", str(tmp_path / "run"), "-o", str(page)]).exit_code == 0
    text = page.read_text()
    assert "mine: responses in long recordings." in text and "home/a.wav" in text and "calls for a response" in text
    assert text.index("<td>mine</td>") < text.index("<td>always respond</td>") < text.index("<td>  home</td>")
    with pytest.raises(InputError, match="contains no recordings"):
        read_recordings(tmp_path / "run")
