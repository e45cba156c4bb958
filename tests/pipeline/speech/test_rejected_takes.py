"""`speak --keep-rejected` keeps what the gate rejects; `--pronunciations` is read row by row and shapes the speech."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.speech.pronunciation_file import read_pronunciations
from soundflow.pipeline.speech.speak import record_of, speak
from soundflow.pipeline.speech.speak_once import read_config
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import SpeechConfig
from tests.support.spoken import begin, dialogue, lenient, rows, write_dialogues

GARBLED = {"id": "..:Lärm", "turns": [{"user": "Tell me three facts about whales."}, {"user": "Xylyl phthisis at $5. " * 8}]}


def test_rejected_takes_are_kept_with_texts_and_reason_and_never_indexed(tmp_path: Path) -> None:
    config = lenient(pronunciations={"phthisis": "tie-sis"})
    lines = write_dialogues(tmp_path / "d.jsonl", [GARBLED, dialogue(0, 1)])
    out = begin(tmp_path / "out", config)
    summary = speak(lines, out, config, keep_rejected=True)
    assert summary.spoken == 1 and sum(summary.rejected.values()) == 1
    [row] = rows(out / "rejected.jsonl")
    kept = sorted((out / "rejected").glob("*.wav"))
    assert [str(path.relative_to(out)) for path in kept] == sorted(tried["audio"] for tried in row["tried"]) and len(kept) == 2
    for take, tried in enumerate(row["tried"]):
        path = out / tried["audio"]
        assert path.name.startswith("_._L_rm-") and path.name.endswith(f"-turn1-take{take}-{tried['refused']}.wav")
        assert soundfile.info(path).samplerate == 16_000 and soundfile.info(path).frames > 16_000
        document = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert (document["dialogue"], document["turn"], document["take"]) == (GARBLED["id"], 1, take)
        assert document["reason"] == tried["refused"] and document["transcript"] == tried.get("transcript", "")
        assert document["written"] == GARBLED["turns"][1]["user"] and "phthisis at five dollars" in document["text"]
        assert "tie-sis at five dollars" in document["spoken"] and "phthisis" not in document["spoken"]
    index_clips([out], tmp_path / "clips", workers=1)
    assert len(ClipIndex.open(tmp_path / "clips")) == 1


def test_without_the_option_nothing_is_kept_and_the_speech_is_the_same(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [GARBLED])
    for name, keep in (("with", True), ("without", False)):
        speak(lines, begin(tmp_path / name, lenient()), lenient(), keep_rejected=keep)
    assert not (tmp_path / "without" / "rejected").exists() and (tmp_path / "with" / "rejected").is_dir()
    commits = [sorted(path.read_bytes() for path in (tmp_path / name).glob("dialogues/*/*")) for name in ("with", "without")]
    assert commits[0] == commits[1] and commits[0]


def test_a_list_is_read_with_or_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text('word,spoken as\nNguyen,win\n\n"Smith, John", smith john \n', encoding="utf-8-sig")
    assert read_pronunciations(path) == {"Nguyen": "win", "Smith, John": "smith john"}
    path.write_text("Nguyen,win\nSQL,sequel\n")
    assert read_pronunciations(path) == {"Nguyen": "win", "SQL": "sequel"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Nguyen,win\nSQL\n", "line 2: has 1 cells instead of 2"),
        ("Nguyen,win,x\n", "line 1: has 3 cells instead of 2"),
        ("Nguyen,\n", "line 1: the spelling by which it is spoken has no letters"),
        ("word,spoken as\n,win\n", "line 2: the word has no letters"),
        ("Nguyen,win\nNguyen,nuyen\n", "line 2: the word is already in line 1"),
        (f"Nguyen,{'n' * 201}\n", "line 1: the spelling by which it is spoken has more than 200 characters"),
        ("Ngu\u200byen,win\n", "line 1: the word has invisible characters"),
        ('Nguyen,"win\n', "is not CSV"),
        ("word,spoken as\n", "has no words"),
    ],
)
def test_a_bad_row_is_named(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"names\.csv: .*{why}|names\.csv: {why}"):
        read_pronunciations(tmp_path / "names.csv")


def test_a_list_adds_to_the_config_and_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("Nguyen,win\n")
    (tmp_path / "speech.yaml").write_text("pronunciations: {SQL: sequel}\n")
    config = read_config(tmp_path / "speech.yaml", tmp_path / "names.csv")
    assert config.pronunciations == {"SQL": "sequel", "Nguyen": "win"}
    pool = open_voice_pool(config.speakers, config.voices)
    assert record_of(config, pool).fingerprint != record_of(read_config(tmp_path / "speech.yaml"), pool).fingerprint
    with pytest.raises(InputError, match="pronunciations: 'Nguyen': the spelling by which it is spoken has no letters"):
        SpeechConfig.from_text("pronunciations: {Nguyen: '7'}")
