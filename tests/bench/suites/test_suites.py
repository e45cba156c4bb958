"""The seven benchmarks: their published formats, what is wrong with a file, and metrics computed by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from soundflow.bench.suites.covost2 import bleu
from soundflow.bench.suites.item import Embedded, ItemPrompt, Mode, Spoken, check_recordings
from soundflow.bench.suites.judging import fill_rubric, rating, rubric, verdict
from soundflow.bench.suites.librispeech import whisper_error_rate, word_error_rate
from soundflow.bench.suites.mmau import string_match
from soundflow.bench.suites.pedant import pedant
from soundflow.bench.suites.registry import BENCHMARKS, benchmark
from soundflow.bench.suites.run import _loaded
from soundflow.bench.suites.spoken_qa import has_answer, tokens
from soundflow.schemas.base import InputError
from tests.bench.miniatures import MINIATURES, encoded, hugging_face, tone

SIZES = {"mmau": 3, "alpaca-eval": 3, "sd-qa": 4, "llama-questions": 2, "web-questions": 2, "librispeech": 4, "covost2": 2}


def test_there_are_seven() -> None:
    assert set(BENCHMARKS) == set(MINIATURES) == set(SIZES)
    with pytest.raises(InputError, match="Benchmarks: mmau"):
        benchmark("mmlu")


@pytest.mark.parametrize("name", SIZES)
def test_every_reader_reads_its_published_format(name: str, tmp_path: Path) -> None:
    items = BENCHMARKS[name].read(MINIATURES[name](tmp_path), None)
    assert len(items) == SIZES[name] and len({item.id for item in items}) == len(items)
    levels = [np.abs(_loaded(item.recording, item.where)).max() for item in items]
    assert all(level == pytest.approx(np.abs(tone(0)).max() * round(level / 0.05), rel=0.02) for level in levels)
    assert len({round(float(level), 2) for level in levels}) == len(levels), "each item has its own recording"
    for mode in Mode:
        asks = [BENCHMARKS[name].prompt(item, mode) for item in items]
        assert all(isinstance(ask, ItemPrompt) and ask.text for ask in asks)
        assert all(ask.audio or mode is Mode.TEXT for ask in asks)
    spoken = [any(isinstance(piece, Spoken) for piece in BENCHMARKS[name].prompt(item, Mode.AUDIO).audio) for item in items]
    assert all(spoken) if name in ("mmau", "librispeech", "covost2") else not any(spoken)


@pytest.mark.parametrize("name", [name for name in SIZES if not BENCHMARKS[name].rubric])
def test_perfect_answers_are_perfect_and_none_are_worthless(name: str, tmp_path: Path) -> None:
    items = BENCHMARKS[name].read(MINIATURES[name](tmp_path), None)
    best, worst = (0.0, 100.0) if name == "librispeech" else (100.0, 0.0)
    perfect = BENCHMARKS[name].score(items, {item.id: item.references[0] for item in items}, {})
    assert all(value is None or value == pytest.approx(best) for value in perfect.values.values()) and not perfect.missing
    nothing = BENCHMARKS[name].score(items, {}, {})
    assert all(value is None or value == worst for value in nothing.values.values()) and nothing.missing == len(items)


def test_groups_are_what_the_paper_tells_apart(tmp_path: Path) -> None:
    groups = {}
    for name in ("mmau", "sd-qa", "librispeech", "covost2"):
        groups[name] = {item.group for item in BENCHMARKS[name].read(MINIATURES[name](tmp_path / name), None)}
    assert groups["mmau"] == {"sound", "music", "speech"} and groups["sd-qa"] == {"aus", "usa"}
    assert groups["librispeech"] == {"clean", "other"} and groups["covost2"] == {"en-zh", "zh-en"}


def test_quotation_marks_in_a_tsv_are_text(tmp_path: Path) -> None:
    items = {item.group: item for item in BENCHMARKS["covost2"].read(MINIATURES["covost2"](tmp_path), None)}
    assert items["zh-en"].references == ('He said "fine."',) and items["zh-en"].text == '他说"好"。'


def test_the_published_match_of_mmau() -> None:
    choices = ["A man", "A woman", "An old man"]
    assert string_match("A man", "a MAN.", choices) and string_match("A man", "It is a man", choices)
    assert not string_match("A man", "an old man", choices), "a word only wrong choices have"
    assert not string_match("A man", "man", choices), "a word of the answer is missing"
    assert not string_match("A man", "a man or a woman", choices) and not string_match("A man", "", choices)


def test_contiguous_tokens_are_a_match() -> None:
    assert has_answer(["the Nile"], "It is The Nile, I think.") and not has_answer(["the Nile"], "the long Nile")
    assert has_answer(["x", "Zoë"], "I'd say zoe\u0308!") and not has_answer(["Paris"], "Parisian")
    assert not has_answer([" "], "anything"), "an empty reference matches nothing"
    assert tokens("Don't, 3.5 km") == ["don", "'", "t", ",", "3", ".", "5", "km"]


def test_word_error_rates_by_hand() -> None:
    references = ["HE HOPED THERE WOULD BE STEW", "I DON'T KNOW"]
    # one substitution, one deletion; one insertion: 3 edits of 9 words
    assert word_error_rate(references, ["He hoped, there could be.", "i don't really know"]) == pytest.approx(100 * 3 / 9)
    assert word_error_rate(references, ["", "  "]) == 100.0 and word_error_rate(["A"], ["b c"]) == 200.0
    assert whisper_error_rate(["MISTER SMITH HAS TWO COLOURS"], ["Mr. Smith has 2 colors"]) == 0.0
    assert whisper_error_rate(["UH", "NO"], ["what", "no"]) == 100.0  # insertions count even if the reference is empty
    assert whisper_error_rate(["UH", "NO"], ["um", "no"]) == 0.0 and whisper_error_rate(["UH"], ["uh"]) is None
    assert whisper_error_rate(["BECAUSE", "DUNNO"], ["cause", "do not know"]) == 200.0  # as Whisper's, not as the package's
    assert word_error_rate(["MISTER SMITH HAS TWO COLOURS"], ["Mr. Smith has 2 colors"]) == 60.0


def test_a_rate_over_no_words_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "test-clean").mkdir()
    (tmp_path / "test-clean" / "1-2.trans.txt").write_text("1-2-0000 UH\n")
    items = BENCHMARKS["librispeech"].read(tmp_path, None)
    found = BENCHMARKS["librispeech"].score(items, {"1-2-0000": "uh"}, {})
    assert found.values["clean"] == 0.0 and found.values["clean, whisper"] is None
    assert len(found.notes) == 1 and "no word" in found.notes[0]


def test_pedant_is_asked_in_a_python_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = "import sys, types; p = types.ModuleType('p'); sys.modules.update({'qa_metrics': p, 'qa_metrics.pedant': p})\n"
    package += "class PEDANT:\n    evaluate = lambda self, wanted, said, question: print('Loading') or wanted[0] in said\n"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{package}p.PEDANT = PEDANT; exec(sys.argv[1])" "$3"\n')
    python.chmod(0o755)
    monkeypatch.setenv("SOUNDFLOW_PEDANT", str(python))
    assert pedant([("Paris", "It is PARIS", "Where?"), ("Paris", "", "Where?"), ("é", "e", "?")]) == [True, False, False]
    monkeypatch.setenv("SOUNDFLOW_PEDANT", sys.executable)
    with pytest.raises(InputError, match=r"No module named 'qa_metrics'.*0\.2\.17"):
        pedant([("Paris", "Paris", "Where?")])
    monkeypatch.setenv("SOUNDFLOW_PEDANT", str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be started"):
        pedant([("Paris", "Paris", "Where?")])


def test_bleu_by_hand() -> None:
    # precisions 4/5, 3/4, 2/3, 1/2 and no brevity penalty
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu(["the cat sat down now"], ["the cat sat down here"], "zh-en") == pytest.approx(expected)
    assert bleu(["我们今天去公园"], ["我们今天去公园"], "en-zh") == pytest.approx(100.0)
    # characters are the words: 5 of 6, 4 of 5, 3 of 4, 2 of 3
    assert bleu(["我们今天去玩"], ["我们今天去看"], "en-zh") == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_votes_of_a_judge() -> None:
    assert [rating(vote) for vote in ("4", " 5.0 ", "Rating: [[3]]", "6", "0", "good", "")] == [4, 5, 3, None, None, None, None]
    assert verdict(["Yes", "yes.", "No"]) is True and verdict(["no", "maybe", "Yes"]) is False and verdict(["?", ""]) is None
    values = {"prompt": "{response} {reference}", "reference": "{prompt}", "response": "r"}
    text = fill_rubric(rubric("qa"), values)
    assert "### Question\n{response} {reference}\n" in text and "### Reference answer\n{prompt}\n" in text, (
        "data is not filled in"
    )


def test_ratings_and_majorities_by_hand(tmp_path: Path) -> None:
    items = BENCHMARKS["alpaca-eval"].read(MINIATURES["alpaca-eval"](tmp_path), None)
    answers = {items[0].id: "a", items[1].id: "b", items[2].id: " "}
    votes = {items[0].id: ["5", "4", "3"], items[1].id: ["2", "nonsense", "2"]}
    found = BENCHMARKS["alpaca-eval"].score(items, answers, votes)
    assert found.values["rating"] == pytest.approx((4 + 2 + 1) / 3)
    unjudged = BENCHMARKS["alpaca-eval"].score(items, answers, {items[0].id: ["5"]})
    assert unjudged.values["rating"] is None and "1 answers have no readable rating" in unjudged.notes[0]
    assert "name a judge" in unjudged.notes[0]
    unread = BENCHMARKS["alpaca-eval"].score(items, answers, {items[0].id: ["5"], items[1].id: ["I would say four"]})
    assert unread.values["rating"] is None and "delete the folder `judge`" in unread.notes[0]
    items = BENCHMARKS["sd-qa"].read(MINIATURES["sd-qa"](tmp_path), None)
    answers = {item.id: "x" for item in items[:3]}
    votes = {items[0].id: ["yes", "Yes", "no"], items[1].id: ["no"] * 3, items[2].id: ["Yes."]}
    found = BENCHMARKS["sd-qa"].score(items, answers, votes)
    assert found.values["judge"] == 50.0 and found.values["judge, usa"] == 50.0 and found.missing == 1


def broken(name: str, root: Path) -> tuple[Path, str]:
    """A miniature with something wrong in it, and the expected message."""
    source = MINIATURES[name](root)
    if name == "mmau":
        rows = json.loads(source.read_text())
        source.write_text(json.dumps([*rows, rows[1]]))
        return source, r"mini\.json, row 4: id: is a duplicate"
    if name == "alpaca-eval":
        hugging_face(source / "test-00000-of-00001.parquet", {"prompt": ["fine", None, "fine"]})
        return source, r"parquet, row 2: prompt: required field is missing"
    if name == "sd-qa":
        hugging_face(source / "usa-00000-of-00001.parquet", {"prompt": ["fine"], "reference": [" "]})
        return source, r"usa-.*parquet, row 1: reference: is empty"
    if name == "llama-questions":
        (source / "audios" / "1.wav").unlink()
        return source, r"llama_questions\.csv, row 2: audio: recording not found.*--audio"
    if name == "web-questions":
        hugging_face(source / "test-00000-of-00001.parquet", {"question": ["who?"], "answers": [["", "x"]]})
        return source, r"parquet, row 1: answers: is not a list of strings"
    if name == "librispeech":
        (source / "test-other" / "1688" / "134686" / "1688-134686-0001.flac").unlink()
        return source, r"1688-134686\.trans\.txt, line 2: audio: recording not found"
    (source / "tsv" / "covost_v2.zh-CN_en.tsv").rename(source / "tsv" / "covost.tsv")
    return source, r"covost\.tsv: the path does not contain a direction.*zh-CN_en"


@pytest.mark.parametrize("name", SIZES)
def test_a_bad_file_is_reported_with_file_row_and_remedy(name: str, tmp_path: Path) -> None:
    source, message = broken(name, tmp_path)
    with pytest.raises(InputError, match=message) as found:
        check_recordings(BENCHMARKS[name].read(source, None))
    assert found.value.remedy


@pytest.mark.parametrize("name", SIZES)
def test_a_folder_without_the_files_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no file of this benchmark"):
        BENCHMARKS[name].read(tmp_path, None)
    with pytest.raises(InputError, match="no such file or folder"):
        BENCHMARKS[name].read(tmp_path / "nothing", None)


def test_a_pointer_instead_of_a_parquet_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"not a readable parquet file.*Git LFS pointer"):
        BENCHMARKS["alpaca-eval"].read(path, None)


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("librispeech", "test-other/1688/134686/1688-134686.trans.txt", "\n"),
        ("covost2", "tsv/covost_v2.zh-CN_en.tsv", "<html>404</html>"),
        ("llama-questions", "llama_questions.csv", "Questions,Answer,audio_filename\n"),
    ],
)
def test_a_file_without_rows_is_reported_though_others_have_some(name: str, file: str, text: str, tmp_path: Path) -> None:
    source = MINIATURES[name](tmp_path)
    (source / file).write_text(text)
    with pytest.raises(InputError, match=rf"{Path(file).name}: contains no rows.*Download it again"):
        BENCHMARKS[name].read(source, None)


def test_recordings_that_are_no_audio_are_reported_with_their_row(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["a", "b", "c"], "audio": [{"bytes": encoded(0)}, {"bytes": b""}, {"bytes": b"RIFF no audio"}]})
    parquet.write_table(table, tmp_path / "a.parquet")
    items = BENCHMARKS["alpaca-eval"].read(tmp_path / "a.parquet", None)
    assert isinstance(items[1].recording, Embedded)
    with pytest.raises(InputError, match="row 2: audio: contains no audio"):
        _loaded(items[1].recording, items[1].where)
    with pytest.raises(InputError, match="row 3: unusable recording"):
        _loaded(items[2].recording, items[2].where)


def test_of_a_whole_data_set_only_the_test_part_is_read(tmp_path: Path) -> None:
    for subset in ("alpacaeval_full", "alpacaeval", "commoneval"):
        hugging_face(tmp_path / "voicebench" / subset / "test-00000-of-00001.parquet", {"prompt": [f"a question of {subset}"]})
    assert [item.text for item in BENCHMARKS["alpaca-eval"].read(tmp_path / "voicebench", None)] == [
        "a question of alpacaeval_full"
    ]
    root = MINIATURES["librispeech"](tmp_path)
    for split in ("train-clean-100", "dev-other"):
        (root / split).mkdir()
        (root / split / "1-2.trans.txt").write_text("1-2-0000 NOT FOR TESTING\n")
    assert len(BENCHMARKS["librispeech"].read(root, None)) == SIZES["librispeech"]
    columns = {"file": ["t.mp3"], "sentence": ["No."], "translation": ["不。"], "id": ["train_1"]}
    data = MINIATURES["covost2"](tmp_path / "covost")
    hugging_face(data / "en_zh-CN" / "train-00000-of-00001.parquet", columns)
    hugging_face(data / "en_zh-CN" / "validation-00000-of-00001.parquet", columns)
    assert len(BENCHMARKS["covost2"].read(data, None)) == SIZES["covost2"]


def test_scoring_needs_no_recordings_but_running_does(tmp_path: Path) -> None:
    source = MINIATURES["mmau"](tmp_path)
    for path in source.parent.rglob("*.wav"):
        path.unlink()
    items = BENCHMARKS["mmau"].read(source, None)
    assert BENCHMARKS["mmau"].score(items, {}, {}).missing == 3
    with pytest.raises(InputError, match=r"row 1: audio: recording not found.*--audio"):
        check_recordings(items)
    parquet.write_table(pa.table({"prompt": ["who?"]}), tmp_path / "names.parquet")
    with pytest.raises(InputError, match=r"names\.parquet: audio: missing column"):
        check_recordings(BENCHMARKS["alpaca-eval"].read(tmp_path / "names.parquet", None))
