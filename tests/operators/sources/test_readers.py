"""Sources: what a path says, what a walk finds, what a manifest may get wrong."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from soundflow.operators.sources.folder import walk
from soundflow.operators.sources.manifest import COLUMNS, read_manifest, read_source
from soundflow.operators.sources.paths import guess_from_path
from soundflow.operators.sources.rows import LabelSource, SourceRow, is_storable, parse_role, safe_id
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import Clip, ClipRejection, ClipRole

DOG = "\u0915\u0941\u0924\u094d\u0924\u093e"
"""Hindi for dog, with three combining marks."""


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def rows(found: Any) -> list[SourceRow]:
    return [row for row in found if isinstance(row, SourceRow)]


def rejections(found: Any) -> list[ClipRejection]:
    return [row for row in found if isinstance(row, ClipRejection)]


@pytest.mark.parametrize(
    ("folders", "stem", "role", "label", "split", "label_source"),
    [
        (("Animal",), "Dog1", ClipRole.FOREGROUND, "Animal", "train", "folder"),
        (("dev", "dog_bark"), "0001", ClipRole.FOREGROUND, "dog_bark", "dev", "folder"),
        (("Household", "audio"), "GlassBreak", ClipRole.FOREGROUND, "Household", "train", "folder"),
        (("noise",), "fan", ClipRole.NOISE_EVENT, "fan", "train", "file name"),
        (("noise", "free-sound"), "n12", ClipRole.NOISE_EVENT, "free-sound", "train", "folder"),
        (("noise", "ambience"), "cafe", ClipRole.NOISE_AMBIENT, "cafe", "train", "file name"),
        (("noise_ambient",), "cafe", ClipRole.NOISE_AMBIENT, "cafe", "train", "file name"),
        (("Ambient", "forest"), "a1", ClipRole.AMBIENT, "forest", "train", "folder"),
        (("background", "typing"), "k", ClipRole.BACKGROUND, "typing", "train", "folder"),
        (("noise", "foreground", "siren"), "s", ClipRole.FOREGROUND, "siren", "train", "folder"),
        ((), "ambi_choir", ClipRole.FOREGROUND, "ambi choir", "train", "file name"),
        ((), "0001", ClipRole.FOREGROUND, "", "train", "file name"),
        (("test-clean", "61"), "61-70968-0000", ClipRole.FOREGROUND, "", "test", "file name"),
        (
            ("\u0915\u0941\u0924\u094d\u0924\u093e",),
            "1",
            ClipRole.FOREGROUND,
            "\u0915\u0941\u0924\u094d\u0924\u093e",
            "train",
            "folder",
        ),
        (("Tu\u0308rklingel",), "1", ClipRole.FOREGROUND, "T\u00fcrklingel", "train", "folder"),
        (("\u9418",), "1", ClipRole.FOREGROUND, "\u9418", "train", "folder"),
        ((), "406087__inspectorj__dog_barking_01", ClipRole.FOREGROUND, "dog barking", "train", "file name"),
        ((), "12345__user_name__rain", ClipRole.FOREGROUND, "rain", "train", "file name"),
        ((), "Y--4gqARaEJE_0.000_10.000", ClipRole.FOREGROUND, "", "train", "file name"),
        ((), "glass_break_01", ClipRole.FOREGROUND, "glass break", "train", "file name"),
        ((), "kettle_whistle_final_v2", ClipRole.FOREGROUND, "kettle whistle", "train", "file name"),
        ((), "Glass-Smash-Bottle-A", ClipRole.FOREGROUND, "glass smash bottle", "train", "file name"),
        ((), "12__me__rain on tent (stereo mix)", ClipRole.FOREGROUND, "rain on tent", "train", "file name"),
        ((), "siren_0001", ClipRole.FOREGROUND, "siren", "train", "file name"),
        ((), "20240311_doorbell", ClipRole.FOREGROUND, "doorbell", "train", "file name"),
    ],
)
def test_a_path_gives_role_label_and_split(
    folders: tuple[str, ...], stem: str, role: ClipRole, label: str, split: str, label_source: str
) -> None:
    assert guess_from_path(folders, stem, "kitchen") == (role, label, split, LabelSource(label_source))


def test_the_file_name_in_a_labelled_folder_is_no_caption(tmp_path: Path) -> None:
    touch(tmp_path, "dog_bark/406087__user__img-final-v2.wav", "siren/img_2034.wav")
    assert {(row.label, row.caption) for row in rows(walk(tmp_path))} == {("dog_bark", ""), ("siren", "")}


def test_the_name_of_the_source_itself_tells_the_role() -> None:
    assert guess_from_path((), "fan", "noise").role is ClipRole.NOISE_EVENT


@pytest.mark.parametrize(
    ("text", "role"), [("noise", ClipRole.NOISE_EVENT), ("FG", ClipRole.FOREGROUND), ("noise-ambient", ClipRole.NOISE_AMBIENT)]
)
def test_roles_are_understood_as_people_write_them(text: str, role: ClipRole) -> None:
    assert parse_role(text) is role


def test_a_mistyped_role_is_answered_with_the_nearest() -> None:
    assert "did you mean 'foreground'?" in str(parse_role("foregroud"))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_every_name_becomes_an_id_a_clip_accepts(text: str) -> None:
    made = safe_id(text)
    field = Clip.__pydantic_validator__
    field.validate_assignment(Clip.model_construct(), "id", made)
    assert safe_id(made) == made


@given(st.sets(st.text(st.sampled_from("a \n\t/\\\x00"), min_size=1, max_size=6), min_size=2, max_size=6))
def test_different_names_become_different_ids(names: set[str]) -> None:
    assert len({safe_id(name) for name in names}) == len(names)


def test_a_walk_is_sorted_and_takes_recordings_only(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.WAV", "b/10.flac", "a/x.mp3", "a/notes.md", "a/.hidden.wav", ".git/y.wav", "a/cover.jpg", "z.ogg")
    assert [row.id for row in walk(tmp_path)] == ["z.ogg", "a/x.mp3", "b/10.flac", "b/2.WAV"]  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", "wv 3gp mov MP2 m4a aac opus webm amr mp4 mka wma ape caf w64 rf64 sph oga tta".split())
def test_a_recording_is_never_passed_over(tmp_path: Path, suffix: str) -> None:
    """What no decoder reads is rejected when it is read, with the reason and a remedy."""
    touch(tmp_path, f"dog/x.{suffix}", "dog/notes.pdf")
    assert [row.id for row in rows(walk(tmp_path))] == [f"dog/x.{suffix}"]


def test_symlink_loops_end_and_a_linked_folder_is_entered_once(tmp_path: Path) -> None:
    touch(tmp_path, "src/z_real/x.wav", "elsewhere/y.wav")
    source = tmp_path / "src"
    (source / "a_link").symlink_to("z_real")
    (source / "z_real" / "up").symlink_to("..")
    (source / "far").symlink_to(tmp_path / "elsewhere")
    (source / "far2").symlink_to(tmp_path / "elsewhere")
    (source / "self").symlink_to("self")
    assert [row.id for row in walk(source)] == ["z_real/x.wav", "far/y.wav"]  # type: ignore[union-attr]


def test_the_index_itself_is_not_walked(tmp_path: Path) -> None:
    touch(tmp_path, "x.wav", "index/cache/y.wav")
    assert [row.id for row in walk(tmp_path, skip=tmp_path / "index")] == ["x.wav"]  # type: ignore[union-attr]


def test_text_next_to_speech_is_its_transcript(tmp_path: Path) -> None:
    touch(tmp_path, "84/1/84_1_0.wav", "84/1/84_1_1.flac", "84/1/84-1-2.flac", "dog/bark.wav", "bad/b.wav")
    (tmp_path / "84/1/84_1_0.normalized.txt").write_text("Hello there.\n")
    (tmp_path / "84/1/84_1_0.original.txt").write_text("Hello  there.\n")
    (tmp_path / "84/1/84_1_1.lab").write_text("\ufeffgood\nmorning", encoding="utf-8")
    (tmp_path / "84/1/84-1.trans.txt").write_text("84-1-2 AS I WENT\n")
    (tmp_path / "bad/b.txt").write_bytes(b"caf\xe9")
    found = {row.id: row for row in rows(walk(tmp_path))}
    facts = {name: (row.transcript, row.label, row.source.split("/")[1:]) for name, row in found.items()}
    assert facts == {
        "84/1/84_1_0.wav": ("Hello there.", "speech", ["84"]),
        "84/1/84_1_1.flac": ("good morning", "speech", ["84"]),
        "84/1/84-1-2.flac": ("AS I WENT", "speech", ["84"]),
        "dog/bark.wav": (None, "dog", []),
    }
    assert [row.reason for row in rejections(walk(tmp_path))] == ["bad_transcript"]


def write_manifest(path: Path, records: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for record in records for name in record))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({name: [record.get(name) for record in records] for name in names}), path)
    else:
        lines = [",".join(names), *(",".join(f'"{record.get(name, "")}"' for name in names) for record in records)]
        path.write_text("\n".join(lines) + "\n")
    return path


RECORDS = [
    {"id": "one", "path": "a/1.wav", "label": "dog", "caption": "a dog, far off", "role": "background", "licence": "CC0-1.0",
     "source": "mine", "transcript": "", "reply": "", "split": "test", "attribution": "me"},
    {"id": "two", "path": "./a/../b/2.wav", "label": "", "caption": "", "role": "", "licence": "", "source": "",
     "transcript": "Hello.", "reply": "Hi!", "split": "", "attribution": ""},
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_rows_come_from_every_kind_of_manifest(tmp_path: Path, suffix: str) -> None:
    found = rows(read_manifest(write_manifest(tmp_path / f"m{suffix}", RECORDS)))
    assert [(row.id, row.path, row.role, row.label, row.split) for row in found] == [
        ("one", str(tmp_path / "a/1.wav"), ClipRole.BACKGROUND, "dog", "test"),
        ("two", str(tmp_path / "b/2.wav"), ClipRole.FOREGROUND, "speech", "train"),
    ]
    first = found[0]
    assert (first.caption, first.transcript, first.reply) == ("a dog, far off", None, None)
    assert (first.licence, first.attribution, first.source) == ("CC0-1.0", "me", "mine")
    assert (found[1].transcript, found[1].reply, found[1].licence) == ("Hello.", "Hi!", "unknown")


def test_licences_are_indexed_by_their_ids(tmp_path: Path) -> None:
    spellings = ["Attribution-NoDerivs", "http://creativecommons.org/licenses/by-sa/3.0/", "Apache 2.0", "My own terms", "N/A"]
    records = [{"path": f"{number}.wav", "licence": text} for number, text in enumerate(spellings)]
    found = rows(read_manifest(write_manifest(tmp_path / "m.csv", records)))
    assert [row.licence for row in found] == ["CC-BY-ND", "CC-BY-SA-3.0", "Apache-2.0", "My own terms", "unknown"]


BAD_ROWS: list[tuple[dict[str, Any], str, str]] = [
    ({"path": "../outside.wav"}, "path_escapes", "leaves the manifest's folder"),
    ({"path": "a/../../outside.wav"}, "path_escapes", "leaves the manifest's folder"),
    ({"path": "/etc/passwd"}, "path_escapes", "leaves the manifest's folder"),
    ({"path": ""}, "missing_path", "column path"),
    ({"path": "x.wav", "role": "foregroud"}, "bad_role", "did you mean 'foreground'?"),
    ({"path": "x.wav", "decision": "repond"}, "bad_decision", "column decision: 'repond' is not a decision. Did you mean"),
    ({"path": "x.wav", "decision": "maybe"}, "bad_decision", "Known: respond, ignore, borderline"),
    ({"path": "x.wav", "id": "/root"}, "bad_id", "does not start with a slash"),
    ({"path": "x.wav", "id": "i" * 201}, "bad_id", "1 to 200 characters"),
    ({"path": "x\0.wav"}, "bad_value", "NUL"),
    ({"path": "x\ny.wav"}, "bad_row", "quotation mark"),
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("record", "reason", "detail"), BAD_ROWS, ids=[f"{number}-{row[1]}" for number, row in enumerate(BAD_ROWS)]
)
def test_a_bad_row_is_named_and_its_neighbours_go_on(
    tmp_path: Path, suffix: str, record: dict[str, Any], reason: str, detail: str
) -> None:
    path = write_manifest(tmp_path / f"m{suffix}", [{"path": "a.wav"}, record, {"path": "b.wav"}])
    found = list(read_manifest(path))
    assert [row.id for row in rows(found)] == ["a.wav", "b.wav"]
    [rejection] = rejections(found)
    assert (rejection.path, rejection.reason) == (f"{path}: row 2", reason)
    assert detail in rejection.detail


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("m.csv", b"caf\xe9.wav,dog", "not_utf8"),
        ("m.csv", b"x.wav,dog,too,many", "bad_row"),
        ("m.jsonl", b'{"path": "caf\xe9.wav"}', "not_utf8"),
        ("m.jsonl", b'{"path": "\\ud800.wav"}', "not_utf8"),
        ("m.jsonl", b'{"path": ["x.wav"]}', "bad_value"),
        ("m.jsonl", b'{"path": "x.wav"', "bad_row"),
        ("m.jsonl", b'["x.wav"]', "bad_row"),
        ("m.jsonl", b'{"path": "' + b"x" * (1 << 21) + b'"}', "bad_row"),
        ("m.jsonl", b"[" * 100_000, "bad_row"),
    ],
)
def test_a_broken_line_is_named_and_its_neighbours_go_on(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    good = (b"a.wav,dog", b"b.wav,dog") if name == "m.csv" else (b'{"path": "a.wav"}', b'{"path": "b.wav"}')
    head = [b"path,label"] if name == "m.csv" else []
    (tmp_path / name).write_bytes(b"\n".join([*head, good[0], line, good[1]]))
    found = list(read_manifest(tmp_path / name))
    assert [row.id for row in rows(found)] == ["a.wav", "b.wav"]
    assert [(row.reason, row.path) for row in rejections(found)] == [(reason, f"{tmp_path / name}: row 2")]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("m.csv", b"file,label\nx.wav,dog\n", "m.csv: path: required column is missing. Rename the column 'file' to 'path'"),
        ("m.csv", b"label\ndog\n", "required column is missing. Columns of the file: label"),
        ("m.csv", b"path;label\nx.wav;dog\n", "Separate the columns by commas"),
        ("m.csv", b"path,PATH\nx.wav,y.wav\n", "path: column is given twice"),
        ("m.csv", b"", "is empty"),
        ("m.csv", b"path\n", "has no rows"),
        ("m.jsonl", b"", "has no rows"),
        ("m.csv", "path\nx.wav\n".encode("utf-16"), "UTF-16"),
        ("m.csv", b'path\n"x.wav\n' + b"y.wav\n" * 40_000, "Close every quotation mark"),
        ("m.jsonl", b'{"file": "x.wav"}\n', "no row has a path"),
        ("m.parquet", b"PAR1 no", "is not a readable parquet file"),
    ],
)
def test_a_manifest_that_is_wrong_as_a_whole_is_refused_with_the_remedy(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        list(read_manifest(tmp_path / name))
    assert why in str(error.value) and str(tmp_path / name) in str(error.value)


CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(COLUMNS), CELL), st.text(max_size=3))
def test_whatever_stands_in_a_row_it_is_a_row_a_clip_can_be_made_of_or_a_rejection(cells: dict[str, Any], name: str) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "m.jsonl"
        path.write_text(json.dumps({"path": "a.wav"}) + "\n" + json.dumps({"path": f"dog/{name}"} | cells) + "\n")
        first, second = read_manifest(path)
        assert isinstance(first, SourceRow)
        if isinstance(second, SourceRow):
            assert Path(second.path).is_relative_to(place)
            texts = {field: value for field in SourceRow.model_fields if isinstance(value := getattr(second, field), str)}
            assert all(field in ("id", "path") or value == " ".join(value.split()) for field, value in texts.items())
            assert all(is_storable(value) for value in texts.values()) and second.label and second.source
            Clip.__pydantic_validator__.validate_assignment(Clip.model_construct(), "id", second.id)


def test_unknown_columns_are_ignored_and_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,lable,license\nx.wav,dog,CC0-1.0\n")
    warnings: list[str] = []
    [row] = rows(read_manifest(tmp_path / "m.csv", warn=warnings.append))
    assert warnings == [f"{tmp_path / 'm.csv'}: unknown column 'lable' is ignored (did you mean 'label'?)"]
    assert row.licence == "CC0-1.0"


def test_a_second_root_may_be_pointed_into(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = write_manifest(tmp_path / "here" / "m.csv", [{"path": str(tmp_path / "audio/dog/x.wav")}, {"path": "../audio2/y.wav"}])
    found = list(read_manifest(path, roots=[tmp_path / "audio"]))
    assert [row.path for row in rows(found)] == [str(tmp_path / "audio/dog/x.wav")]
    assert [row.reason for row in rejections(found)] == ["path_escapes"]


def test_a_source_may_be_a_folder_a_folder_with_a_manifest_a_manifest_or_a_recording(tmp_path: Path) -> None:
    touch(tmp_path, "plain/x.wav", "listed/x.wav", "listed/y.wav")
    (tmp_path / "listed/manifest.csv").write_text("path\ny.wav\n")
    for source, expected in {"plain": "x.wav", "listed": "y.wav", "listed/manifest.csv": "y.wav", "plain/x.wav": "x.wav"}.items():
        assert [row.id for row in rows(read_source(tmp_path / source))] == [expected], source
    (tmp_path / "listed/manifest.jsonl").write_text("{}")
    for source, why in {
        "listed": "contains several manifests: manifest.csv and manifest.jsonl",
        "none": "no such file",
        "listed/../plain": "",
    }.items():
        if why:
            with pytest.raises(InputError, match=why):
                read_source(tmp_path / source)
    touch(tmp_path, "notes.md")
    with pytest.raises(InputError, match=r"is neither a manifest nor a recording\. Pass a folder, a manifest"):
        read_source(tmp_path / "notes.md")


def test_memory_does_not_grow_with_the_rows_of_a_manifest(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"m{count}.csv"
        path.write_text("path,label\n" + "".join(f"x{number}.wav,dog\n" for number in range(count)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_manifest(path)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < 1_000_000  # held as a list, 20,000 rows are more than ten times that
