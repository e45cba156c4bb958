"""Manifests of other tools: Hugging Face audio folders, LJSpeech, NeMo, lhotse and Kaldi."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from soundflow.operators.sources.manifest import read_manifest, read_source
from soundflow.operators.sources.rows import SourceRow
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write_lines(path: Path, *objects: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in objects)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def rows(source: Path, **options: Any) -> list[SourceRow]:
    return [row for row in read_source(source, **options) if isinstance(row, SourceRow)]


def reasons(source: Path) -> list[str]:
    return [row.reason for row in read_source(source) if isinstance(row, ClipRejection)]


@pytest.mark.parametrize("suffix", ["csv", "CSV", "jsonl", "parquet"])
def test_the_metadata_of_an_audio_folder_lists_its_recordings(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, "data/0.wav", "data/1.wav", "data/not_listed.wav")
    records = [{"file_name": f"data/{number}.wav", "transcription": f"Sentence {number}."} for number in range(2)]
    path = tmp_path / f"metadata.{suffix}"
    if suffix == "jsonl":
        write_lines(path, *records)
    elif suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist(records), path)
    else:
        table = "\ufefffile_name,transcription\r\n" + "".join(f"{r['file_name']},{r['transcription']}\r\n" for r in records)
        path.write_text(table, encoding="utf-8")
    assert [(row.id, row.path, row.transcript, row.label) for row in rows(tmp_path)] == [
        (f"data/{number}.wav", str(tmp_path / f"data/{number}.wav"), f"Sentence {number}.", "speech") for number in range(2)
    ]


def test_recordings_without_a_row_are_reported(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", "b.wav", "more/c.WAV", ".hidden.wav", "notes.txt", "out/cache.flac")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,Hello one\n")
    warnings: list[str] = []
    assert [row.id for row in rows(tmp_path, skip=tmp_path / "out", warn=warnings.append)] == ["a.wav"]
    assert warnings == [
        f"{tmp_path}: recordings without a valid row in metadata.csv are left out (2; first: b.wav)."
        " Add rows for them, or move them to another folder"
    ]
    warnings.clear()
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,Hello one\nb.wav,Two\nmore/c.WAV,Three\n")
    assert len(rows(tmp_path, skip=tmp_path / "out", warn=warnings.append)) == 3
    assert warnings == []


def test_each_split_of_an_audio_folder_has_its_metadata(tmp_path: Path) -> None:
    put(tmp_path, "train/0.wav", "test/0.wav", "noise/fan.wav")
    for split in ("train", "test"):
        (tmp_path / split / "metadata.csv").write_text(f"file_name,text,label\n0.wav,,{split} horn\n")
    assert [(row.id, row.label, row.split) for row in rows(tmp_path)] == [
        ("noise/fan.wav", "fan", "train"),
        ("test/0.wav", "test horn", "test"),
        ("train/0.wav", "train horn", "train"),
    ]


def test_metadata_of_another_kind_is_no_manifest(tmp_path: Path) -> None:
    put(tmp_path, "dog/0.wav")
    (tmp_path / "metadata.csv").write_text("title,year\nx,2020\n")
    assert [row.label for row in rows(tmp_path)] == ["dog"]


def test_ljspeech_metadata(tmp_path: Path) -> None:
    put(tmp_path, "wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav")
    (tmp_path / "metadata.csv").write_text('LJ001-0001|In 1455, "so"|In fourteen fifty-five, "so"\nLJ001-0002|Being|Being\n')
    assert [(row.path, row.transcript) for row in rows(tmp_path)] == [
        (str(tmp_path / "wavs/LJ001-0001.wav"), 'In fourteen fifty-five, "so"'),
        (str(tmp_path / "wavs/LJ001-0002.wav"), "Being"),
    ]


def test_nemo_manifests_with_offset_and_duration(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", "b.wav")
    path = write_lines(
        tmp_path / "train_manifest.json",
        {"audio_filepath": "a.wav", "text": "first words", "duration": 1.5, "offset": 0.0, "lang": "English", "speaker": "s1"},
        {"audio_filepath": "a.wav", "text": "more words", "duration": 2.25, "offset": 1.5},
        {"audio_filepath": "b.wav", "text": "all of it", "duration": None},
        {"audio_filepath": "b.wav", "text": "the rest", "offset": 3},
    )
    for source in (path, tmp_path):
        assert [(row.id, row.transcript, row.excerpt) for row in rows(source)] == [
            ("a.wav", "first words", "0.0+1.5"),
            ("a.wav#1.5", "more words", "1.5+2.25"),
            ("b.wav", "all of it", ""),
            ("b.wav#3", "the rest", "3.0+"),
        ]
    assert (rows(path)[0].language, rows(path)[0].voice) == ("en", "s1")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"offset": -1}, "bad_value"),
        ({"duration": "long"}, "bad_value"),
        ({"duration": 0}, "bad_value"),
        ({"text": "..."}, "transcript_without_words"),
        ({"audio_filepath": ["a.wav", "b.wav"]}, "bad_value"),
        ({"audio_filepath": "missing.wav", "shard_id": 3}, "audio_in_tar"),
    ],
)
def test_rows_of_nemo_that_cannot_be_used_are_rejected(tmp_path: Path, cells: dict[str, Any], reason: str) -> None:
    put(tmp_path, "a.wav")
    path = write_lines(tmp_path / "m.json", {"audio_filepath": "a.wav", "text": "words"} | cells)
    assert reasons(path) == [reason]


def test_a_json_manifest_may_be_an_array(tmp_path: Path) -> None:
    put(tmp_path, "a.wav")
    (tmp_path / "m.json").write_text(json.dumps([{"path": "a.wav", "label": "dog"}, 3], indent=1))
    found = list(read_manifest(tmp_path / "m.json"))
    assert [row.label for row in found if isinstance(row, SourceRow)] == ["dog"]
    assert [row.reason for row in found if isinstance(row, ClipRejection)] == ["bad_row"]


def test_tab_separated_manifests_keep_quotation_marks(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text('path\tsentence\na.wav\tThe "old" mill.\nb.wav\t"""Come in,"" she said."\n')
    assert [row.transcript for row in rows(tmp_path / "m.tsv")] == ['The "old" mill.', '"Come in," she said.']


RECORDING = {
    "id": "rec", "sources": [{"type": "file", "channels": [0], "source": "audio/rec.wav"}],
    "sampling_rate": 16000, "num_samples": 64000, "duration": 4.0,
}  # fmt: skip


def supervision(key: str, start: float, duration: float, text: str, **cells: Any) -> dict[str, Any]:
    return {"id": key, "recording_id": "rec", "start": start, "duration": duration, "channel": 0, "text": text} | cells


def cut(key: str, start: float, duration: float, *supervisions: dict[str, Any], **cells: Any) -> dict[str, Any]:
    return {
        "id": key, "start": start, "duration": duration, "channel": 0, "supervisions": list(supervisions),
        "recording": RECORDING, "type": "MonoCut",
    } | cells  # fmt: skip


def test_lhotse_cuts(tmp_path: Path) -> None:
    put(tmp_path, "audio/rec.wav")
    path = write_lines(
        tmp_path / "cuts.jsonl.gz",
        cut(
            "whole",
            0,
            4.0,
            supervision("b", 2.0, 1.0, "there."),
            supervision("a", 0.5, 1.0, "Hello", language="English", speaker="s"),
        ),
        cut("part", 1.5, 2.0, supervision("b", 0.5, 1.0, "there.")),
        cut("cut-off", 1.0, 1.0, supervision("a", -0.5, 1.0, "Hello")),
        {"id": "mix", "tracks": [], "type": "MixedCut"},
    )
    for source in (path, tmp_path):
        assert [(row.id, row.transcript, row.excerpt, row.language) for row in rows(source)] == [
            ("whole", "Hello there.", "", "en"),
            ("part", "there.", "1.5+2.0", ""),
        ]
        assert reasons(source) == ["partial_supervision", "unsupported_cut"]
    assert {row.path for row in rows(path)} == {str(tmp_path / "audio/rec.wav")}


def test_lhotse_supervisions_with_recordings_beside_them(tmp_path: Path) -> None:
    put(tmp_path, "audio/rec.wav")
    write_lines(tmp_path / "x_recordings_dev.jsonl", RECORDING)
    path = write_lines(
        tmp_path / "x_supervisions_dev.jsonl",
        supervision("a", 0.5, 1.0, "Hello"),
        supervision("b", 0.0, 4.0, "All of it", speaker="s"),
        supervision("c", 0.0, 4.0, "x") | {"recording_id": "other"},
    )
    for source in (path, tmp_path):
        assert [(row.id, row.transcript, row.excerpt) for row in rows(source)] == [
            ("a", "Hello", "0.5+1.0"),
            ("b", "All of it", ""),
        ]
        assert reasons(source) == ["missing_recording"]


def kaldi(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("_scp", ".scp")).write_text(text)
    return root


def test_a_kaldi_directory(tmp_path: Path) -> None:
    put(tmp_path, "audio/u1.wav", "audio/u2.flac")
    scp = "u1 audio/u1.wav\nu2 flac -c -d -s audio/u2.flac |\nu3 sox audio/u1.wav -r 8k -t wav - |\nu4 raw.ark:17\n"
    scp += "u5 audio/u5.wav\n"
    kaldi(tmp_path, wav_scp=scp, text="u1 HELLO THERE\nu2\tWORDS\nu3 X\nu4 Y\n", utt2spk="u1 ann\nu2 bob\n")
    for source in (tmp_path, tmp_path / "wav.scp"):
        assert [(row.id, row.path, row.transcript, row.voice) for row in rows(source)] == [
            ("u1", str(tmp_path / "audio/u1.wav"), "HELLO THERE", "ann"),
            ("u2", str(tmp_path / "audio/u2.flac"), "WORDS", "bob"),
        ]
        assert reasons(source) == ["audio_from_command", "audio_from_command", "missing_transcript"]


def test_the_segments_of_a_kaldi_directory(tmp_path: Path) -> None:
    put(tmp_path, "egs/corpus/r.wav")
    segments = "r-1 r 0.50 2.00\nr-2 r 2.0 -1\nr-3 missing 0 1\nr-4 r a b\n"
    words = "r-1 one\nr-2 two\nr-3 three\nr-4 four\n"
    kaldi(tmp_path / "egs/data/train", wav_scp="r corpus/r.wav\n", text=words, segments=segments)
    assert [(row.id, row.path, row.transcript, row.excerpt) for row in rows(tmp_path / "egs") if row.transcript] == [
        ("r-1", str(tmp_path / "egs/corpus/r.wav"), "one", "0.5+1.5"),
        ("r-2", str(tmp_path / "egs/corpus/r.wav"), "two", "2.0+"),
    ]
    assert reasons(tmp_path / "egs") == ["missing_recording", "bad_row"]


def test_commands_in_wav_scp_are_never_run(tmp_path: Path) -> None:
    scp = f"u touch {tmp_path}/evil.txt |\nv cat x.wav ; touch {tmp_path}/evil.txt |\nw cat ' |\n"
    kaldi(tmp_path, wav_scp=scp, text="u a\nv b\nw c\n")
    assert not rows(tmp_path / "wav.scp")
    assert not (tmp_path / "evil.txt").exists()


def test_paths_match_in_any_unicode_form_and_with_backslashes(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    put(tmp_path, f"{decomposed}/1.wav", "data/2.wav", f"x/{composed}.wav")
    (tmp_path / "m.csv").write_text(f"path,label\n{composed}/1.wav,a\ndata\\2.wav,b\nx/{decomposed}.wav,c\n", encoding="utf-8")
    assert [row.path for row in rows(tmp_path / "m.csv")] == [
        str(tmp_path / decomposed / "1.wav"),
        str(tmp_path / "data/2.wav"),
        str(tmp_path / f"x/{composed}.wav"),
    ]


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "a"}\n' * 1000)[:-30])
    with pytest.raises(InputError, match=r"cuts\.jsonl\.gz: is not a complete gzip file"):
        list(read_manifest(path))
