"""Columns about speech in a manifest: language, dialogue, turn, voice, translation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from soundflow.operators.sources.languages import parse_language
from soundflow.operators.sources.manifest import read_manifest
from soundflow.operators.sources.rows import SourceRow
from soundflow.schemas.clip import ClipRejection


def read(folder: Path, *rows: dict[str, Any]) -> list[SourceRow | ClipRejection]:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps({"path": "a.wav", "transcript": "Hello."} | row) + "\n" for row in rows))
    return list(read_manifest(path))


def test_columns_about_speech_are_read(tmp_path: Path) -> None:
    cells = {
        "language": "EN_us",
        "dialogue": "d7",
        "turn": 2,
        "voice": "heart",
        "wer": 0.05,
        "translation": "你好。",
        "emotion": "happy",
    }
    (row,) = read(tmp_path, cells | {"translation_language": "zh"})
    assert isinstance(row, SourceRow)
    assert (row.language, row.dialogue, row.turn, row.voice) == ("en-US", "d7", 2, "heart")
    assert row.wer == 0.05 and row.emotion == "happy"
    assert (row.translation, row.translation_language) == ("你好。", "zh")


@pytest.mark.parametrize("reply", ["One.\nTwo.\n\n  - three", "می\u200cخواهم", "👩\u200d👧 yes", "tab\there"])
def test_a_reply_keeps_its_lines_and_joiners(reply: str, tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"reply": reply})
    assert isinstance(row, SourceRow) and row.reply == reply


def test_thoughts_in_replies_are_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path,transcript,reply\na.wav,Hi.,"<think>Hm.\nYes.</think>\nHello."\nb.wav,Hi.,Hello.\n')
    warnings: list[str] = []
    rows = list(read_manifest(tmp_path / "m.csv", warn=warnings.append))
    assert [row.reply for row in rows if isinstance(row, SourceRow)] == ["Hello.", "Hello."]
    assert warnings == [f"{tmp_path / 'm.csv'}: column reply: thoughts of a reasoning model are left out (rows: 1)"]


def test_a_row_without_them_has_empty_values(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {})
    assert isinstance(row, SourceRow)
    assert (row.language, row.dialogue, row.voice, row.translation_language, row.emotion) == ("", "", "", "", "")
    assert (row.turn, row.translation, row.wer) == (None, None, None)


@pytest.mark.parametrize(
    ("cells", "reason", "why"),
    [
        ({"language": "Klingonish"}, "bad_language", "'Klingonish' is not a language"),
        ({"translation_language": "chinese, spoken fast"}, "bad_language", "translation_language"),
        ({"transcript": "[music]"}, "transcript_without_words", "'[music]'"),
        ({"translation": "..."}, "translation_without_words", "'...'"),
        ({"reply": "\u2026"}, "reply_without_words", "column reply"),
        ({"reply": "<think>Hm."}, "unclosed_thoughts", "column reply"),
        ({"reply": "<think>Hm.</think>"}, "only_thoughts", "column reply"),
        ({"reply": "Hi.<|im_end|>"}, "control_string", "<|im_end|>"),
        ({"transcript": "Hello.<|im_end|>"}, "control_string", "column transcript: contains <|im_end|>"),
        ({"translation": "Hallo.[TOOL_CALLS]"}, "control_string", "column translation: contains [TOOL_CALLS]"),
        ({"reply": "word " * 4000}, "response_too_long", "1,024"),
        ({"reply": "a\0b"}, "not_text", "U+0000"),
        ({"dialogue": "d", "turn": "two"}, "bad_turn", "'two' is not an integer"),
        ({"dialogue": "d", "turn": -1}, "bad_turn", "'-1'"),
        ({"dialogue": "d", "turn": 1.5}, "bad_turn", "'1.5'"),
        ({"dialogue": "d"}, "bad_turn", "one of them is empty"),
        ({"turn": 1}, "bad_turn", "one of them is empty"),
        ({"wer": "5 %"}, "bad_wer", "'5 %' is not a word error rate"),
        ({"wer": -0.1}, "bad_wer", "'-0.1'"),
    ],
)
def test_an_invalid_cell_is_named_and_other_rows_are_read(tmp_path: Path, cells: dict, reason: str, why: str) -> None:
    first, wrong, last = read(tmp_path, {}, cells, {"dialogue": "d", "turn": 3.0})
    assert isinstance(wrong, ClipRejection) and wrong.reason == reason and why in wrong.detail and "row 2" in wrong.path
    assert isinstance(first, SourceRow) and isinstance(last, SourceRow) and last.turn == 3


@pytest.mark.parametrize(("text", "code"), [("en", "en"), ("ZH-cn", "zh-CN"), ("e", None), ("en ", None), ("", None)])
def test_language_codes(text: str, code: str | None) -> None:
    assert parse_language(text) == code
