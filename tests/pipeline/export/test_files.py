"""Exports for other systems: moshi-finetune, the paper's own release, scaper."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundflow.bench.speed.mixing import load_scaper
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.export.files import SILENT_TURN, WRITERS, _write, export_files
from soundflow.pipeline.export.licences import LicenceSurvey
from soundflow.pipeline.export.rows import row as row_of
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.stream import StreamPlan


@pytest.fixture(scope="module")
def streams(built: Path) -> dict[str, tuple[StreamPlan, np.ndarray]]:
    import io

    build = BuildDir(built)
    samples = Samples(build, build.record())
    return {
        key: (StreamPlan.from_json(members["json"]), soundfile.read(io.BytesIO(members["flac"]), dtype="int16")[0])
        for manifest in build.manifests()
        for key, members in samples.read(manifest)
    }


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_moshi_has_the_stream_on_the_right_and_word_times(built: Path, streams: dict, tmp_path: Path) -> None:
    assert export_files("moshi", built, tmp_path / "moshi") == 12
    rows = lines(tmp_path / "moshi" / "data.jsonl")
    assert len(rows) == 12
    for row in rows:
        path = tmp_path / "moshi" / row["path"]
        plan, pcm = streams[path.stem]
        stereo, rate = soundfile.read(path, dtype="int16")
        assert rate == 16_000 and row["duration"] == len(stereo) / rate
        assert not stereo[:, 0].any() and np.array_equal(stereo[: len(pcm), 1], pcm) and not stereo[len(pcm) :, 1].any()
        words = json.loads(path.with_suffix(".json").read_text())["alignments"]
        assert " ".join(word for word, _, _ in words).split() == " ".join(text for _, text in plan.timeline()).split()
        starts = [start for _, (start, end), _ in words]
        assert starts == sorted(starts) and all(end > start for _, (start, end), _ in words)
        opened = {round(chunk * 0.4, 3) for chunk, _ in plan.timeline()}
        assert opened <= set(starts)
        last = max((end for _, (_, end), _ in words), default=0.0)
        assert last <= row["duration"] < max(last, plan.seconds) + 0.4, (
            "every word lies within the WAV, which is no longer than needed"
        )


@pytest.mark.parametrize(("words", "seconds"), [(0, 0.8), (1, 1.2), (2, 1.6), (3, 2.0), (9, 4.4)])
def test_a_moshi_wav_lasts_until_its_last_word(streams: dict, tmp_path: Path, words: int, seconds: float) -> None:
    # The response opens at the end of the second chunk, 0.8 s; a word takes 0.4 s.
    plan = next(plan for plan, _ in streams.values() if plan.responses)
    said = [plan.responses[0].model_copy(update={"chunk": 2, "text": " ".join(["word"] * words)})] if words else []
    short = plan.model_copy(update={"chunks": 2, "samples": 12_800, "responses": tuple(said)})
    WRITERS["moshi"](tmp_path, None, None).add(short, np.ones(12_800, np.int16))
    (row,) = lines(tmp_path / "data.jsonl")
    assert row["duration"] == soundfile.info(tmp_path / row["path"]).duration == seconds
    placed = json.loads((tmp_path / row["path"]).with_suffix(".json").read_text())["alignments"]
    assert len(placed) == words and all(end <= seconds for _, (_, end), _ in placed)


def test_times_of_the_other_exports_lie_within_their_audio(built: Path, streams: dict, tmp_path: Path) -> None:
    export_files("scaper", built, tmp_path / "scaper")
    for path in (tmp_path / "scaper").glob("*.jams"):
        (annotation,) = json.loads(path.read_text())["annotations"]
        seconds = soundfile.info(tmp_path / "scaper" / "audio" / f"{path.stem}.wav").duration
        assert annotation["duration"] == seconds
        assert all(row["time"] + row["duration"] <= seconds + 1e-9 for row in annotation["data"])
        assert all(response["time"] <= seconds + 1e-9 for response in annotation["sandbox"]["soundflow"]["responses"])
        for row in annotation["data"]:
            clip = soundfile.info(tmp_path / "scaper" / row["value"]["source_file"]).duration
            is_repeated = row["value"]["role"] == "background"
            assert is_repeated or row["value"]["source_time"] + row["duration"] <= clip + 1e-9
    for plan, _ in streams.values():
        stored = row_of(plan, b"", "flac")
        assert all(event["end"] <= plan.seconds for event in stored["events"])
        assert all(response["time"] <= plan.seconds + 1e-9 for response in stored["responses"])


def test_the_turns_of_the_authors_format_add_up_to_the_stream(built: Path, streams: dict, tmp_path: Path) -> None:
    export_files("authors", built, tmp_path / "authors")
    conversations, rows = lines(tmp_path / "authors" / "conversations.jsonl"), lines(tmp_path / "authors" / "corpus.jsonl")
    for conversation, row in zip(conversations, rows, strict=True):
        plan, pcm = streams[row["id"]]
        turns = conversation["conversation"]
        parts = [soundfile.read(tmp_path / "authors" / turn["audio_path"], dtype="int16")[0] for turn in turns]
        assert np.array_equal(np.concatenate(parts), pcm)
        responses = [turn["assistant"] for turn in turns if turn["assistant"] != SILENT_TURN]
        assert responses == [text for _, text in plan.timeline()]
        ends = np.cumsum([len(part) for part in parts]) // 6400
        opened = [int(end) for end, turn in zip(ends, turns, strict=True) if turn["assistant"] != SILENT_TURN]
        assert opened == [chunk for chunk, _ in plan.timeline()]
        assert row["num_turns"] == len(turns) and [turn["assistant"] for turn in row["turns"]] == [t["assistant"] for t in turns]


def test_jams_reads_what_scaper_would_have_written(built: Path, streams: dict, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jams = pytest.importorskip("jams")
    export_files("scaper", built, tmp_path / "scaper")
    paths = sorted((tmp_path / "scaper").glob("*.jams"))
    assert len(paths) == 12
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = jams.load(str(path), validate=True, strict=True)
        plan, pcm = streams[path.stem]
        (annotation,) = document.search(namespace="scaper")
        events = [row.value for row in annotation.data]
        assert {(e["label"], e["event_time"]) for e in events} >= {(clip.label, clip.offset / 16_000) for clip in plan.clips}
        assert sum(event["role"] == "background" for event in events) == bool(plan.noises)
        for noise in plan.noises[1:]:
            copies = [event for event in events if event["label"] == noise.label and event["role"] == "foreground"]
            assert sum(event["event_duration"] for event in copies) >= plan.seconds - 1e-6
        for event in events:
            info = soundfile.info(tmp_path / "scaper" / event["source_file"])
            end = event["source_time"] + event["event_duration"]
            assert info.samplerate == 16_000 and (event["role"] == "background" or end * 16_000 <= info.frames + 1e-6)
        assert np.array_equal(soundfile.read(tmp_path / "scaper" / "audio" / f"{path.stem}.wav", dtype="int16")[0], pcm)


def test_scaper_mixes_an_exported_stream_again(
    built: Path, streams: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaper = load_scaper()
    if scaper is None:
        pytest.skip("scaper is not installed (apt-get install sox libsox-dev; pip install '.[scaper]')")
    export_files("scaper", built, tmp_path / "scaper")
    monkeypatch.chdir(tmp_path / "scaper")
    name = min(streams)
    plan, pcm = streams[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        audio, _, listed, _ = scaper.generate_from_jams(f"{name}.jams", str(tmp_path / "again.wav"))
    assert audio.shape == (plan.samples, 1)
    assert {(clip.offset / 16_000, clip.label) for clip in plan.clips} <= {(begin, label) for begin, _, label in listed}
    assert np.corrcoef(audio[:, 0], pcm)[0, 1] > 0.6, "its levels are by loudness, its places are ours"


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_an_interrupted_export_leaves_nothing_and_an_existing_folder_is_rejected(built: Path, tmp_path: Path, kind: str) -> None:
    calls: list[int] = []
    with pytest.raises(Interrupted):
        export_files(kind, built, tmp_path / "out", should_stop=lambda: calls.append(1) or len(calls) > 3)
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="already exists"):
        export_files(kind, built, tmp_path / "out")


def test_a_recording_that_cannot_be_written_is_an_os_error(built: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written"):
        _write(tmp_path / "not" / "there.wav", np.zeros(16, np.int16))


def test_other_exports_count_the_streams_that_may_not_be_published(built: Path, tmp_path: Path) -> None:
    survey = LicenceSurvey()
    export_files("authors", built, tmp_path / "authors", survey=survey)
    assert survey.streams == {"a licence is unknown": 12}
