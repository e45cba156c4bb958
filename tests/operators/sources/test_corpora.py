"""The readers of the 26 corpora, each on a miniature of its published layout."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from soundflow.operators.sources.corpora import READERS, CorpusFolder, CorpusItem, Recording
from soundflow.operators.sources.corpora.reader import parse_split
from soundflow.operators.sources.corpora.speech import sentence_case
from soundflow.schemas.base import InputError
from soundflow.schemas.clip import ClipRejection, ClipRole
from soundflow.schemas.sources import SOURCES
from soundflow.schemas.speech import Dialogue
from tests.support.corpora_in_small import COMMON_VOICE, CORPORA, librispeech, lines, put, sound, table


def read(name: str, root: Path | str) -> list[CorpusItem]:
    corpus = CorpusFolder.of(str(root))
    return [found for unit in READERS[name].units(corpus) for found in READERS[name].read(corpus, unit, SOURCES[name])]


def recordings(name: str, root: Path) -> dict[str, Recording]:
    return {found.id: found for found in read(name, root) if isinstance(found, Recording)}


def dialogues(name: str, root: Path) -> list[Dialogue]:
    return [found for found in read(name, root) if isinstance(found, Dialogue)]


def test_every_row_of_the_papers_table_has_a_reader_and_a_miniature() -> None:
    assert list(SOURCES) == list(READERS) == list(CORPORA)
    assert len(SOURCES) == 26
    assert sum(source.items for source in SOURCES.values()) == 2_336_455  # what the table adds up to; the text says 2.6 million


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_read_in_its_published_layout(name: str, tmp_path: Path) -> None:
    write, usable, unusable = CORPORA[name]
    write(tmp_path)
    found = read(name, tmp_path)
    rejected = [row for row in found if isinstance(row, ClipRejection)]
    assert (len(found) - len(rejected), len(rejected)) == (usable, unusable), found
    assert all(str(tmp_path) in row.path and row.reason and row.detail for row in rejected)
    corpus = CorpusFolder.of(str(tmp_path))
    for row in found:
        if isinstance(row, Recording):
            assert row.data is not None or corpus.has_file(row.audio), row.audio
            assert row.id and (row.label or row.transcript)
    ids = [row.id for row in found if not isinstance(row, ClipRejection)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_read_the_same_from_any_file_system(name: str, tmp_path: Path) -> None:
    CORPORA[name][0](tmp_path)
    memory = fsspec.filesystem("memory")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            memory.pipe(f"/{tmp_path.name}/{path.relative_to(tmp_path)}", path.read_bytes())
    try:
        here, there = (
            [row for row in read(name, where) if not isinstance(row, ClipRejection)]
            for where in (tmp_path, f"memory://{tmp_path.name}")
        )
        assert here == there
    finally:
        memory.rm(f"/{tmp_path.name}", recursive=True)


def test_common_voice_has_language_voice_and_split_and_keeps_quotes(tmp_path: Path) -> None:
    CORPORA["common-voice"][0](tmp_path)
    found = recordings("common-voice", tmp_path)
    assert found["common_voice_en_0"].transcript == 'The cat\'s "quoted" home.'
    assert (found["common_voice_zh-CN_1"].language, found["common_voice_zh-CN_1"].split) == ("zh-CN", "validation")
    assert found["common_voice_en_0"].voice == "a" * 32


def test_gigaspeech_tags_become_punctuation(tmp_path: Path) -> None:
    CORPORA["gigaspeech"][0](tmp_path)
    (row,) = recordings("gigaspeech", tmp_path).values()
    assert row.transcript == "As they're leaving, can kash pull zahra aside really quickly? I think so."
    assert row.data == sound(1)


def test_quoting_of_published_tables_is_undone(tmp_path: Path) -> None:
    head = "path\tsentence\ttranslation\tclient_id\n"
    cells = ['\\"Come in,\\" said he.', "It\\'s a \\\\ here.", "A\\\tB.", '"""Yes,"" he said."', 'The "old" mill.', '"No."']
    rows = [f"c{number}.mp3\t{cell}\t" + '\\"好\\"。\tx\n' for number, cell in enumerate(cells)]
    put(tmp_path / "en/covost_v2.en_zh-CN.train.tsv", head + "".join(rows))
    found = recordings("covost2-en-zh", tmp_path)
    assert [row.transcript for row in found.values()] == [
        '"Come in," said he.',
        "It's a \\ here.",
        "A B.",
        '"Yes," he said.',
        'The "old" mill.',
        '"No."',
    ]
    assert {row.translation for row in found.values()} == {'"好"。'}


def test_transcript_lines_may_be_separated_by_tabs(tmp_path: Path) -> None:
    put(tmp_path / "dev/84/121/84-121.trans.txt", "84-121-0000\tTHE KETTLE SINGS\n84-121-0001  BEFORE NOON\r\n84-121-0002\t...\n")
    found = read("librispeech", tmp_path)
    assert [row.transcript for row in found if isinstance(row, Recording)] == ["The kettle sings", "Before noon"]
    assert [row.reason for row in found if isinstance(row, ClipRejection)] == ["missing_transcript"]


def test_covost_pairs_each_sentence_with_its_translation_in_one_direction_only(tmp_path: Path) -> None:
    CORPORA["covost2-zh-en"][0](tmp_path)
    (row,) = recordings("covost2-zh-en", tmp_path).values()
    assert (row.language, row.transcript, row.translation_language, row.translation) == (
        "zh-CN",
        "早上好。",
        "en",
        "Good morning.",
    )


def test_audioset_is_named_by_the_label_that_calls_for_a_response(tmp_path: Path) -> None:
    CORPORA["audioset-events"][0](tmp_path)
    row = recordings("audioset-events", tmp_path)["--PJHxphWEs"]
    assert (row.label, row.caption) == ("Smoke detector, smoke alarm", "speech, smoke detector, smoke alarm")
    assert row.attribution == "https://youtu.be/--PJHxphWEs"


def test_fma_tracks_keep_their_own_licence_and_artist(tmp_path: Path) -> None:
    CORPORA["fma-open"][0](tmp_path)
    (row,) = recordings("fma-open", tmp_path).values()
    assert row.licence.startswith("Attribution-NonCommercial-ShareAlike")
    assert row.attribution == "AWOL, the band: Food"


def test_musan_noise_is_event_like_or_ambient_by_its_annotation(tmp_path: Path) -> None:
    CORPORA["musan"][0](tmp_path)
    roles = {key: row.role for key, row in recordings("musan", tmp_path).items()}
    assert roles == {
        "noise-free-sound-0000": ClipRole.NOISE_AMBIENT,
        "noise-free-sound-0001": ClipRole.NOISE_EVENT,
        "music-fma-0000": ClipRole.NOISE_AMBIENT,
    }


def test_moss_loses_its_marks_is_cut_at_fifteen_turns_and_its_language_is_detected(tmp_path: Path) -> None:
    CORPORA["moss"][0](tmp_path)
    long, chinese = dialogues("moss", tmp_path)
    assert [turn.user for turn in long.turns] == [f"question {at}" for at in range(1, 16)]
    assert long.turns[9].assistant == "answer 10"
    assert (chinese.language, chinese.turns[0].assistant) == ("zh", "我是一个助手。")


def test_messages_become_turns_and_those_that_do_not_alternate_are_rejected(tmp_path: Path) -> None:
    CORPORA["ultrachat"][0](tmp_path)
    found = read("ultrachat", tmp_path)
    assert isinstance(found[0], Dialogue) and [turn.user for turn in found[0].turns] == ["Tell me of tea.", "And coffee?"]
    assert isinstance(found[1], ClipRejection) and "take turns" in found[1].detail and "row 2" in found[1].path


def test_instruction_and_input_are_one_question_and_a_rows_own_copyright_is_kept(tmp_path: Path) -> None:
    CORPORA["coig-cqia"][0](tmp_path)
    (found,) = dialogues("coig-cqia", tmp_path)
    assert (found.turns[0].user, found.licence) == ("解释成语\n画蛇添足", "CC BY-SA 4.0")


def test_a_table_of_another_release_names_file_column_and_what_it_has(tmp_path: Path) -> None:
    put(tmp_path / "en/train.tsv", "client_id\tpath\ttext\n")
    with pytest.raises(
        InputError, match=r"en/train.tsv: sentence: column is missing. Columns of the file: client_id, path, text"
    ):
        read("common-voice", tmp_path)
    table(tmp_path / "x.parquet", [{"video_id": "a"}])
    with pytest.raises(InputError, match=r"x.parquet: audio: column is missing"):
        read("audioset-events", tmp_path)


def test_a_broken_row_is_rejected_by_file_and_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    row = f"{'b' * 9}\tok.mp3\t1\tHello there.\t\t2\t0\t\t\t\t\ten\t"
    put(tmp_path / "en/train.tsv", f"\ufeff{COMMON_VOICE}\r\n{row}\r\ntorn\toff\r\n{row.replace('ok', 'ok2')}\r\n")
    found = read("common-voice", tmp_path)
    assert [type(part) for part in found] == [Recording, ClipRejection, Recording]
    assert isinstance(found[1], ClipRejection) and found[1].path.endswith("train.tsv: row 3") and found[1].reason == "bad_row"
    put(tmp_path / "moss.jsonl", b'{"chat": 1}\n\xff\xfe\n[]\n{"chat": {"turn_1": []}}\n')
    assert [part.reason for part in read("moss", tmp_path) if isinstance(part, ClipRejection)] == [
        "bad_dialogue",
        "bad_row",
        "bad_row",
        "bad_dialogue",
    ]


def test_a_file_that_is_no_table_names_itself(tmp_path: Path) -> None:
    put(tmp_path / "data/train.parquet", b"PAR1 not really")
    with pytest.raises(InputError, match=r"train.parquet: is not a readable parquet file"):
        read("voxpopuli", tmp_path)
    put(tmp_path / "train.json", b'[{"input": "a", ')
    with pytest.raises(InputError, match=r"train.json: is not JSON"):
        read("web-qa", tmp_path)
    put(tmp_path / "moss.json", b"[" * 100_000)
    with pytest.raises(InputError, match=r"moss.json: is not JSON: it is nested too deeply"):
        read("moss", tmp_path)


def test_text_that_is_not_utf8_is_rejected_by_row_and_never_guessed(tmp_path: Path) -> None:
    put(tmp_path / "en/train.tsv", b"client_id\tpath\tsentence\na\tb\tCaf\xe9.\na\tc\tTea.\n")
    put(tmp_path / "dev/1/2/1-2.trans.txt", b"1-2-3 CAF\xc9\n1-2-4 TEA\n")
    words = pa.array([b"CAF\xc9", b"TEA"], pa.binary()).buffers()
    columns = {
        "segment_id": pa.array(["a", "b"]),
        "text": pa.Array.from_buffers(pa.string(), 2, words),
        "audio": pa.array([{"bytes": sound(1), "path": "a.wav"}] * 2),
    }
    (tmp_path / "xs").mkdir()
    parquet.write_table(pa.table(columns), tmp_path / "xs/train-0.parquet")
    for name, row in (("common-voice", 2), ("librispeech", 1), ("gigaspeech", 1)):
        wrong, right = read(name, tmp_path)
        assert isinstance(wrong, ClipRejection) and wrong.path.endswith(f"row {row}") and "not UTF-8" in wrong.detail
        assert isinstance(right, Recording) and right.transcript.lower().startswith("tea")


def test_rows_without_an_id_or_with_labels_that_are_no_list_are_rejected(tmp_path: Path) -> None:
    sounds = {"bytes": sound(1), "path": "a.wav"}
    table(tmp_path / "g/train-0.parquet", [{"segment_id": None, "text": "HELLO <PERIOD>", "audio": sounds}])
    (found,) = read("gigaspeech", tmp_path / "g")
    assert isinstance(found, ClipRejection) and "column segment_id is empty" in found.detail
    table(tmp_path / "a/x.parquet", [{"video_id": "v", "audio": sounds, "human_labels": "Dog bark"}])
    (found,) = read("audioset-open", tmp_path / "a")
    assert isinstance(found, ClipRejection) and "expected a list of label names" in found.detail


def test_links_that_lead_back_are_not_followed_and_others_are(tmp_path: Path) -> None:
    librispeech(tmp_path / "elsewhere")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/LibriSpeech").symlink_to(tmp_path / "elsewhere/LibriSpeech")
    whole = read("librispeech", tmp_path / "corpus")
    (tmp_path / "elsewhere/LibriSpeech/dev-clean/loop").symlink_to("..")
    (tmp_path / "corpus/self").symlink_to(tmp_path / "corpus")
    assert len(whole) == 2 and read("librispeech", tmp_path / "corpus") == whole


def test_a_name_that_is_not_utf8_is_reported_where_it_matters(tmp_path: Path) -> None:
    librispeech(tmp_path)
    whole = read("librispeech", tmp_path)
    stray = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    try:
        Path(os.fsdecode(stray)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert read("librispeech", tmp_path) == whole
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
    with pytest.raises(InputError, match=r"caf\\xe9: the name is not UTF-8. Rename it"):
        read("librispeech", tmp_path)


def test_a_folder_that_does_not_exist_is_reported() -> None:
    with pytest.raises(InputError, match="no such folder"):
        CorpusFolder.of("/nowhere/at/all")
    with pytest.raises(InputError, match="cannot be reached"):
        CorpusFolder.of("nosuchprotocol://x")


def test_memory_does_not_grow_with_a_corpus(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        root = tmp_path / str(rows)
        lines(root / "gammacorpus.jsonl", [{"question": f"Question {at}?", "answer": "An answer. " * 20} for at in range(rows)])
        corpus = CorpusFolder.of(str(root))
        tracemalloc.start()
        count = sum(1 for _ in READERS["gammacorpus-fact-qa"].read(corpus, "gammacorpus.jsonl", SOURCES["gammacorpus-fact-qa"]))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == rows
        return most

    peak(10)
    assert peak(4_000) < peak(400) + 200_000


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-clean-100", "train"),
        ("dev-other", "validation"),
        ("cv", "validation"),
        ("tt", "test"),
        ("eval", "test"),
        ("bal_train", "train"),
        ("training", "train"),
        ("test_sft", "test"),
    ],
)
def test_the_many_names_of_splits_are_understood(name: str, split: str) -> None:
    assert parse_split(name) == split


@given(st.text(max_size=60))
def test_sentence_case_changes_capitals_and_spaces_only(words: str) -> None:
    assert "".join(sentence_case(words).lower().split()) == "".join(words.lower().split()) or not words.isprintable()


def test_a_table_with_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "en/train.tsv", b"client_id\tpath\tsentence\tsentence\na\tb\tTea.\tNo.\n")
    with pytest.raises(InputError, match=r"\.tsv: sentence: column is given twice"):
        read("common-voice", tmp_path)
