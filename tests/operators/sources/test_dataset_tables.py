"""Labels from the published tables of datasets, in trees like those of the downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.operators.sources.manifest import read_source
from soundflow.operators.sources.naming import name_clips
from soundflow.operators.sources.rows import SourceRow

ESC50 = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
2-7-B-30.wav,2,30,door_wood_knock,False,7,B
"""
FSD50K = """fname,labels,mids,split
64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train
16399,Walk_and_footsteps,/m/07pbtc8,val
"""
AUDIOSET = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=2, num_segs=2
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/0bt9lr,/m/07q6cd_"
AbCdEfGhIjK, 30.000, 40.000, "/m/04rlf,/m/03kmc9"
"""
URBANSOUND = "slice_file_name,fsID,start,end,salience,fold,classID,class\n100032-3-0-0.wav,100032,0.0,0.3,1,5,3,dog_bark\n"
TAU = "filename\tscene_label\tidentifier\tsource_label\naudio/airport-lisbon-1000-a.wav\tairport\tlisbon-1000\ta\n"
CLOTHO = "file_name,caption_1,caption_2\nBell 01.wav,A bell rings twice.,Somebody rings a bell.\n"
OWN = "file;label\na/1.wav;owl\nb/1.wav;crow\nc.wav;/m/0bt9lr\n"
TREES = {
    "ESC-50": (
        {"meta/esc50.csv": ESC50, "audio/1-100032-A-0.wav": "", "audio/2-7-B-30.wav": ""},
        {"1-100032-A-0": ("dog", "metadata", "train"), "2-7-B-30": ("door knock", "metadata", "train")},
    ),
    "ESC-50 without its table": (
        {"esc/1-100032-A-0.wav": "", "esc/2-7-B-30.wav": "", "esc/3-8-A-45.wav": "", "dogs/1-9-A-0.wav": ""},
        {
            "1-100032-A-0": ("dog", "map", "train"),
            "2-7-B-30": ("door knock", "map", "train"),
            "3-8-A-45": ("train", "map", "train"),
            "1-9-A-0": ("dogs", "folder", "train"),
        },
    ),
    "FSD50K": (
        {"FSD50K.ground_truth/dev.csv": FSD50K, "FSD50K.dev_audio/64760.wav": "", "FSD50K.dev_audio/16399.flac": ""},
        {"64760": ("electric guitar", "metadata", "train"), "16399": ("footsteps", "metadata", "val")},
    ),
    "AudioSet": (
        {"eval_segments.csv": AUDIOSET, "x/--4gqARaEJE_0.000_10.000.wav": "", "x/YAbCdEfGhIjK.wav": ""},
        {"--4gqARaEJE_0.000_10.000": ("dog", "metadata", "eval"), "YAbCdEfGhIjK": ("siren", "metadata", "eval")},
    ),
    "UrbanSound8K": (
        {"metadata/UrbanSound8K.csv": URBANSOUND, "audio/fold5/100032-3-0-0.wav": ""},
        {"100032-3-0-0": ("dog_bark", "metadata", "train")},
    ),
    "TAU Urban Acoustic Scenes": (
        {"meta.csv": TAU, "audio/airport-lisbon-1000-a.wav": ""},
        {"airport-lisbon-1000-a": ("airport", "metadata", "train")},
    ),
    "a table of one's own": (
        {"labels.csv": OWN, "a/1.wav": "", "b/1.wav": "", "c.wav": "", "d/4.wav": ""},
        {"a/1": ("owl", "metadata", "train"), "b/1": ("crow", "metadata", "train"), "c": ("dog", "metadata", "train")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_published_tables_give_the_labels(tmp_path: Path, name: str) -> None:
    files, expected = TREES[name]
    for path, text in files.items():
        (tmp_path / "corpus" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / path).write_text(text)
    warnings: list[str] = []
    rows = list(name_clips(read_source(tmp_path / "corpus", warn=warnings.append)))
    found = {row.id.rpartition(".")[0]: row for row in rows if isinstance(row, SourceRow)}
    for stem, values in expected.items():
        [row] = [row for key, row in found.items() if key == stem or key.endswith(f"/{stem}")]
        assert (row.label, row.label_source, row.split) == values
    used = [path for path in files if path.endswith(".csv")]
    assert len(warnings) == len(used) and all(path in text for path, text in zip(used, warnings, strict=True))


def test_the_table_beside_the_folder_of_recordings_is_found(tmp_path: Path) -> None:
    for path, text in {"FSD50K.ground_truth/dev.csv": FSD50K, "FSD50K.dev_audio/64760.wav": ""}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    [row] = read_source(tmp_path / "FSD50K.dev_audio")
    assert isinstance(row, SourceRow) and row.label == "electric guitar"


def test_captions_of_a_table_are_read_and_speech_keeps_its_label(tmp_path: Path) -> None:
    (tmp_path / "clotho.csv").write_text(CLOTHO)
    (tmp_path / "Bell 01.wav").write_text("")
    [row] = read_source(tmp_path)
    assert isinstance(row, SourceRow)
    assert (row.label, row.label_source, row.caption) == ("bell", "file name", "A bell rings twice.")
    (tmp_path / "labels.csv").write_text("fname,label\nBell 01,bell\n")
    (tmp_path / "Bell 01.txt").write_text("Ring the bell.")
    [row] = read_source(tmp_path)
    assert isinstance(row, SourceRow)
    assert (row.label, row.label_source) == ("speech", "transcript")


def test_two_tables_that_disagree_about_a_recording_decide_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("fname,label\n1,owl\n")
    (tmp_path / "b.csv").write_text("fname,label\n1,crow\n")
    (tmp_path / "bell").mkdir()
    (tmp_path / "bell/1.wav").write_text("")
    [row] = read_source(tmp_path)
    assert isinstance(row, SourceRow) and (row.label, row.label_source) == ("bell", "folder")


def test_other_tables_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "owl.wav").write_text("")
    [row] = read_source(tmp_path)
    assert isinstance(row, SourceRow) and row.label == "owl"
