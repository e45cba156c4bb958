"""The clip index: accepted and rejected files, what a second run changes, what readers can rely on."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from soundflow.operators.compose.clips import ClipPool
from soundflow.pipeline.clips import audio as clip_audio
from soundflow.pipeline.clips import table as clip_table
from soundflow.pipeline.clips.index import ClipIndex, IndexSummary, index_clips
from soundflow.pipeline.clips.ledger import IndexLedger
from soundflow.pipeline.clips.table import IndexReplacedError
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRole, TfjpConfig
from tests.support.bad_audio import BAD_FILES, ODD_FILES, build, burst, raw, wav


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, real_audio: dict[str, np.ndarray]) -> Path:
    """A small tree of a user's recordings: never written to."""
    root = tmp_path_factory.mktemp("user") / "sounds"
    files = {f"dog/{number}.wav": wav(burst(0.6, pitch=200 + 37 * number)) for number in range(4)}
    files |= {f"bell/{number}.wav": wav(burst(0.6, pitch=900 + 37 * number)) for number in range(4)}
    files |= {
        "dog/4.wav": wav(burst(0.9)),
        "noise/fan.wav": wav(burst(1.5, seed=7) * 0.1),
        "ambient/rain.wav": wav(burst(2.0, seed=8)),
    }
    for name, audio in real_audio.items():
        files[f"speech/{name}.wav"] = wav(audio)
        files[f"speech/{name}.txt"] = raw(f"This is the {name}.".encode())
    for name, write in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name)
    return root


@pytest.fixture(scope="module")
def indexed(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `sounds`, for reading only."""
    out = tmp_path_factory.mktemp("index")
    index_clips([sounds], out, workers=1)
    return out


def rejected(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    return {Path(line["path"]).name: line["reason"] for line in lines}


def copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_are_listed_with_their_reason_and_the_rest_goes_on(tmp_path: Path, workers: int) -> None:
    build(tmp_path / "src", {name: write for name, (write, _) in BAD_FILES.items()})
    build(tmp_path / "src", ODD_FILES)
    summary = index_clips([tmp_path / "src"], tmp_path / "out", workers=workers)
    assert rejected(tmp_path / "out") == {name: reason for name, (_, reason) in BAD_FILES.items()}
    assert {clip.id for clip in ClipIndex.open(tmp_path / "out").clips()} == set(ODD_FILES)
    assert summary.clips == len(ODD_FILES) and sum(summary.rejected.values()) == len(BAD_FILES)


def test_the_index_is_the_same_for_any_number_of_workers_and_any_place(sounds: Path, indexed: Path, tmp_path: Path) -> None:
    moved = copy(sounds, tmp_path / "elsewhere" / "sounds")
    summary = index_clips([moved], tmp_path / "out", workers=2)
    here, there = ClipIndex.open(indexed), ClipIndex.open(tmp_path / "out")
    assert summary.content_hash == here.content_hash == there.content_hash
    assert [clip.model_copy(update={"path": ""}) for clip in here.clips()] == [
        clip.model_copy(update={"path": ""}) for clip in there.clips()
    ]
    assert index_clips([sounds], tmp_path / "again", workers=2).clips == len(here)
    assert (tmp_path / "again/clips.parquet").read_bytes() == (indexed / "clips.parquet").read_bytes()


def test_rows_have_role_treatment_and_words(indexed: Path) -> None:
    index = ClipIndex.open(indexed)
    pool: ClipPool = index
    briefs = {brief.id: brief for brief in pool.briefs()}
    assert list(briefs) == sorted(briefs) and len(briefs) == len(index)
    assert briefs["noise/fan.wav"].role is ClipRole.NOISE_EVENT and index.get("noise/fan.wav").cleaning is None
    assert briefs["ambient/rain.wav"].role is ClipRole.AMBIENT and not index.get("ambient/rain.wav").cleaning.denoised  # type: ignore[union-attr]
    assert (briefs["dog/4.wav"].label, briefs["dog/4.wav"].kind) == ("dog", "sound")
    assert (briefs["speech/question.wav"].kind, index.get("speech/question.wav").transcript) == (
        "speech",
        "This is the question.",
    )
    for clip in index.clips():
        audio = index.audio(clip)
        assert audio.shape == (clip.samples,) and audio.dtype == np.float32 and not audio.flags.writeable
        assert 0 < clip.active_end <= clip.samples and clip.peak == np.abs(audio).max()
    with pytest.raises(KeyError):
        index.get("dog/9.wav")


def test_sources_are_never_touched(sounds: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, int, bytes]]:
        files = [path for path in sounds.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in files}

    before = state()
    index_clips([sounds], tmp_path / "out", workers=2)
    assert state() == before


def counts(summary: IndexSummary) -> tuple[int, int, int]:
    return summary.clips, summary.cleaned, summary.reused


def test_a_second_run_touches_only_what_changed(sounds: Path, tmp_path: Path) -> None:
    source, out = copy(sounds, tmp_path / "sounds"), tmp_path / "out"
    first = index_clips([source], out, workers=1)
    total = first.clips
    assert counts(first) == (total, total, 0)
    entries = {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.*")}
    assert counts(index_clips([source], out, workers=1)) == (total, 0, total)
    assert {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.*")} == entries

    os.utime(source / "dog/0.wav")  # looks changed, is not
    (source / "dog/1.wav").rename(source / "bell/moved.wav")
    (source / "speech/short.txt").write_text("Other words.")
    assert counts(index_clips([source], out, workers=1)) == (total, 0, total)
    assert ClipIndex.open(out).get("speech/short.wav").transcript == "Other words."

    wav(burst(0.7, pitch=999))(source / "dog/0.wav")
    wav(burst(0.7, pitch=888))(source / "dog/new.wav")
    (source / "dog/2.wav").unlink()
    changed = index_clips([source], out, workers=1)
    assert counts(changed) == (total, 2, total - 2)
    ids = {clip.id for clip in ClipIndex.open(out).clips()}
    assert {"dog/new.wav", "bell/moved.wav"} <= ids and not {"dog/1.wav", "dog/2.wav"} & ids
    assert changed.content_hash == index_clips([source], tmp_path / "fresh", workers=1).content_hash


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    build(tmp_path / "src", {"a.wav": wav(burst(pitch=300))})
    first = index_clips([tmp_path / "src"], tmp_path / "out")
    before = (tmp_path / "src/a.wav").stat()
    wav(burst(pitch=500))(tmp_path / "src/a.wav")
    os.utime(tmp_path / "src/a.wav", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (tmp_path / "src/a.wav").stat().st_size == before.st_size
    assert index_clips([tmp_path / "src"], tmp_path / "out").content_hash != first.content_hash


def test_another_configuration_cleans_again_and_keeps_the_older_entries(sounds: Path, tmp_path: Path) -> None:
    first = index_clips([sounds], tmp_path / "out", workers=1)
    other = index_clips([sounds], tmp_path / "out", workers=1, tfjp=TfjpConfig(silence_limit_ms=100))
    assert other.content_hash != first.content_hash and other.reused == 1  # the noise clip knows no TFJP
    back = index_clips([sounds], tmp_path / "out", workers=1)
    assert (back.content_hash, back.cleaned) == (first.content_hash, 0)


def test_the_content_hash_covers_every_field_but_path_and_provenance(indexed: Path) -> None:
    row = next(ClipIndex.open(indexed).rows())
    base = clip_table.shaping_bytes(row)
    for name, value in row.items():
        other = clip_table.shaping_bytes(row | {name: f"{value}x"})
        assert (other == base) == (name in ("path", *clip_table.PROVENANCE.names)), name
    assert sorted(row) == sorted(clip_table.SCHEMA.names)


def test_an_older_index_without_provenance_can_be_read(indexed: Path, tmp_path: Path) -> None:
    table = parquet.read_table(indexed / "clips.parquet")
    footer = parquet.read_metadata(indexed / "clips.parquet").metadata[clip_table.FOOTER_KEY]
    table = table.drop_columns(clip_table.PROVENANCE.names).replace_schema_metadata({clip_table.FOOTER_KEY: footer})
    parquet.write_table(table, tmp_path / "clips.parquet")
    shutil.copytree(indexed / "cache", tmp_path / "cache")
    older, newer = ClipIndex.open(tmp_path), ClipIndex.open(indexed)
    assert list(older.clips()) == list(newer.clips()) and older.content_hash == newer.content_hash
    assert older.check() == []


def test_the_index_stores_where_labels_come_from(tmp_path: Path) -> None:
    build(
        tmp_path / "recordings/audio",
        {f"{name}.wav": wav(burst(pitch=300 + 50 * at)) for at, name in enumerate(("owl", "a", "b", "c", "IMG_1"))},
    )
    build(tmp_path / "recordings/audio/dog", {"x.wav": wav(burst(pitch=900))})
    (tmp_path / "recordings/m.jsonl").write_text(
        '{"path": "audio/a.wav", "label": "bell"}\n{"path": "audio/b.wav", "label": "horn", "label_source": "model"}\n'
        '{"path": "audio/c.wav", "transcript": "Hello there."}\n{"path": "audio/owl.wav", "label_source": "model"}\n'
        '{"path": "audio/dog/x.wav"}\n{"path": "audio/IMG_1.wav"}\n'
    )
    index_clips([tmp_path / "recordings/m.jsonl"], tmp_path / "out", workers=1)
    found = {(row["label"], row["label_source"]) for row in ClipIndex.open(tmp_path / "out").rows()}
    assert found == {
        ("bell", "manifest"),
        ("horn", "model"),
        ("speech", "transcript"),
        ("owl", "file name"),
        ("dog", "folder"),
        ("", ""),
    }


def test_labels_and_captions_without_words_are_left_out_counted_and_named(tmp_path: Path) -> None:
    build(tmp_path / "src", {f"{name}.wav": wav(burst(pitch=300 + 50 * at)) for at, name in enumerate("abc")})
    (tmp_path / "m.csv").write_text(
        "path,label,caption\nsrc/a.wav,siren,user img final v\nsrc/b.wav,IMG_2034,\nsrc/c.wav,dog,a dog barks twice\n"
    )
    summary = index_clips([tmp_path / "m.csv"], tmp_path / "out", workers=1)
    rows = {row["path"][-5]: row for row in ClipIndex.open(tmp_path / "out").rows()}
    assert [rows[key]["caption"] for key in "abc"] == ["", "", "a dog barks twice"]
    assert [rows[key]["label"] for key in "abc"] == ["siren", "", "dog"]
    assert rows["a"]["unused_caption"] == "user img final v" and rows["b"]["unused_label"] == "IMG_2034"
    assert (summary.unused_labels, summary.unused_captions, summary.unlabelled) == (1, 1, 1)
    assert '1 label and 1 caption ("user img final v", "IMG_2034")' in summary.describe()
    assert "without a label: 1 foreground clip," in summary.describe() and ": 3 clips, " in summary.describe()


def test_rejected_files_do_not_count_as_cleaned_in_any_run(tmp_path: Path) -> None:
    build(
        tmp_path / "src/dog",
        {"ok.wav": wav(burst()), "text.wav": BAD_FILES["text.wav"][0], "dc.wav": BAD_FILES["dc_only.wav"][0]},
    )
    first = index_clips([tmp_path / "src"], tmp_path / "out", workers=1)
    assert (first.clips, first.cleaned, first.reused) == (1, 1, 0)
    assert "1 clip, 0.00 h; 1 file cleaned in this run, 0 known from earlier runs" in first.describe()
    again = index_clips([tmp_path / "src"], tmp_path / "out", workers=1)
    assert (again.clips, again.cleaned, again.reused) == (1, 0, 2)  # text.wav is unreadable, which another decoder may change


def test_the_same_recording_twice_is_one_clip_in_folders_and_two_rows_in_a_manifest(tmp_path: Path) -> None:
    same = wav(burst())
    build(tmp_path / "src/dog", {"a.wav": same, "b.wav": same})
    build(tmp_path / "src/wolf", {"a.wav": same})
    index_clips([tmp_path / "src"], tmp_path / "out")
    assert [clip.id for clip in ClipIndex.open(tmp_path / "out").clips()] == ["dog/a.wav", "wolf/a.wav"]
    assert rejected(tmp_path / "out") == {"b.wav": "duplicate_content"}
    (tmp_path / "src/m.csv").write_text("id,path,label\none,dog/a.wav,dog\ntwo,dog/b.wav,dog\none,wolf/a.wav,wolf\n")
    summary = index_clips([tmp_path / "src/m.csv"], tmp_path / "out")
    assert [(clip.id, clip.label) for clip in ClipIndex.open(tmp_path / "out").clips()] == [("one", "dog"), ("two", "dog")]
    assert rejected(tmp_path / "out") == {"a.wav": "duplicate_id"} and summary.cleaned == 0
    assert len(list((tmp_path / "out/cache").rglob("*.pcm"))) == 1


def test_ids_of_two_sources_that_collide_get_the_sources_names_in_any_order(tmp_path: Path) -> None:
    build(tmp_path / "one/dog", {"a.wav": wav(burst(pitch=300)), "only.wav": wav(burst(pitch=310))})
    build(tmp_path / "two/dog", {"a.wav": wav(burst(pitch=320))})
    hashes = set()
    for sources in ([tmp_path / "one", tmp_path / "two"], [tmp_path / "two", tmp_path / "one"]):
        hashes.add(index_clips(sources, tmp_path / "out").content_hash)
        assert [clip.id for clip in ClipIndex.open(tmp_path / "out").clips()] == [
            "dog/only.wav",
            "one/dog/a.wav",
            "two/dog/a.wav",
        ]
    assert len(hashes) == 1


def test_progress_has_files_rejections_and_seconds(tmp_path: Path) -> None:
    build(tmp_path / "src", {f"{n}.wav": wav(burst(pitch=200 + 20 * n)) for n in range(5)} | {"e.wav": raw(b"")})
    progress: list[tuple[int, int, int, float]] = []
    summary = index_clips([tmp_path / "src"], tmp_path / "out", on_progress=lambda *state: progress.append(state))
    assert progress[-1] == (6, 6, 1, pytest.approx(summary.seconds))
    assert [state[0] for state in progress] == sorted(state[0] for state in progress) and {state[1] for state in progress} == {6}
    document = json.loads((tmp_path / "out/index.json").read_text())
    assert document["content_hash"] == summary.content_hash and document["rejected"] == {"empty": 1}
    assert {"tfjp", "ingress"} <= set(document["config"]) and "tfjp" in document["versions"]
    assert "1 empty" in summary.describe() and summary.to_json()["clips"] == 5


def test_a_pickled_index_opens_the_same_rows_and_refuses_others(sounds: Path, tmp_path: Path) -> None:
    source = copy(sounds / "dog", tmp_path / "dog")
    index_clips([source], tmp_path / "out")
    index = ClipIndex.open(tmp_path / "out")
    data = pickle.dumps(index)
    assert len(data) < 1000
    assert pickle.loads(data).briefs() == index.briefs()
    (source / "0.wav").unlink()
    index_clips([source], tmp_path / "out")
    with pytest.raises(IndexReplacedError, match="expected content hash"):
        pickle.loads(data)


def test_decoded_clips_are_kept_within_a_bound(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = ClipIndex.open(indexed)
    clips = list(index.clips())
    monkeypatch.setattr(clip_audio, "DECODED_BYTES", 4 * max(clip.samples for clip in clips))
    first = index.audio(clips[0])
    assert index.audio(clips[0]) is first
    for clip in clips:
        index.audio(clip)
        assert index._audio._decoded_bytes <= clip_audio.DECODED_BYTES
    assert np.array_equal(index.audio(clips[0]), first)


@pytest.mark.parametrize(
    ("sources", "out", "why"),
    [
        ([], "out", "no source given"),
        (["nowhere"], "out", "no such file or folder"),
        (["empty"], "out", "contains no recordings"),
        (["src"], "src", "is also a source"),
        (["src"], "a_file", "is a file, not a directory"),
        (["src", "src"], "out", "overlaps the source"),
        (["src", "src/dog"], "out", "overlaps the source"),
    ],
)
def test_a_wrong_command_is_refused_with_a_reason(tmp_path: Path, sources: list[str], out: str, why: str) -> None:
    build(tmp_path / "src/dog", {"a.wav": wav(burst())})
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("")
    with pytest.raises(InputError, match=why):
        index_clips([tmp_path / name for name in sources], tmp_path / out)
    assert not (tmp_path / "out/clips.parquet").exists()


def test_an_index_inside_its_source_does_not_index_itself(tmp_path: Path) -> None:
    build(tmp_path / "src", {"a.wav": wav(burst())})
    for _ in range(2):
        assert index_clips([tmp_path / "src"], tmp_path / "src/index").clips == 1


def test_two_runs_do_not_share_a_directory(tmp_path: Path) -> None:
    build(tmp_path / "src", {"a.wav": wav(burst())})
    index_clips([tmp_path / "src"], tmp_path / "out")
    with IndexLedger(tmp_path / "out"), pytest.raises(InputError, match="another run is using"):
        index_clips([tmp_path / "src"], tmp_path / "out")
    assert index_clips([tmp_path / "src"], tmp_path / "out").reused == 1


@pytest.mark.parametrize("damage", ["nothing there", "text", "another table", "another version"])
def test_a_directory_that_is_not_an_index_is_rejected_with_the_command_that_creates_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "clips.parquet"
    if damage == "text":
        path.write_text("id,path\n")
    elif damage == "another table":
        parquet.write_table(pa.table({"id": ["a"]}), path)
    elif damage == "another version":
        schema = clip_table.SCHEMA.with_metadata({clip_table.FOOTER_KEY: b'{"version": 99}'})
        parquet.write_table(schema.empty_table(), path)
    with pytest.raises(InputError, match=r"soundflow clips index SRC\.\.\. -o"):
        ClipIndex.open(tmp_path)


def test_rows_without_number_take_bounded_memory_and_lose_no_good_one(tmp_path: Path) -> None:
    """Measured alone: 100,000 rows take 46 MB, a million 50."""
    build(tmp_path, {"a.wav": wav(burst(pitch=300)), "b.wav": wav(burst(pitch=350))})
    with (tmp_path / "m.csv").open("w") as manifest:
        manifest.write("id,path,label\n")
        for number in range(250_000):
            good = number % 1000 == 0
            manifest.write(
                f"c{number:07d},{'ab'[number % 2000 // 1000]}.wav,dog\n" if good else f"c{number:07d},../{number}.wav,dog\n"
            )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = index_clips([tmp_path / "m.csv"], tmp_path / "out", workers=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert summary.clips == 250 and summary.rejected == {"path_escapes": 249_750} and summary.cleaned == 2
    assert grown < 70, f"{grown} MB"
    index = ClipIndex.open(tmp_path / "out")
    assert index.get("c0249000").label == "dog" and len(index.briefs()) == 250
