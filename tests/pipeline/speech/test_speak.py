"""`soundflow speak`: written dialogues become clips of an index; a second run does only what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.speech.dialogue_lines import read_dialogues
from soundflow.pipeline.speech.directory import speech_licence
from soundflow.pipeline.speech.speak import SpeakProgress, speak
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.speech import Dialogue
from tests.support.spoken import begin, dialogue, lenient, rows, write_dialogues

LINES = [dialogue(0), dialogue(1, split="test"), "not json", dialogue(1), dialogue(2, language="fr"), dialogue(3, 3)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(dialogues, output) of a finished run. Shared: tests only read it."""
    root = tmp_path_factory.mktemp("spoken")
    speak(write_dialogues(root / "dialogues.jsonl", LINES), begin(root / "out", lenient()), lenient())
    return root / "dialogues.jsonl", root / "out"


def test_every_turn_of_a_spoken_dialogue_is_a_clip_of_one_voice_with_its_words_and_reply(spoken: tuple[Path, Path]) -> None:
    found = rows(spoken[1] / "manifest.jsonl")
    assert [row["id"] for row in found] == ["d0/000", "d0/001", "d1/000", "d1/001", "d3/000", "d3/001", "d3/002"]
    assert {row["voice"] for row in found} == {"hibari:heart"}
    assert {row["licence"] for row in found} == {"CC0-1.0 AND Apache-2.0"}
    assert {row["attribution"] for row in found} == {"voice: hibari-tts, voice heart (Apache-2.0)"}
    assert [row["split"] for row in found][:3] == ["train", "train", "test"]
    assert found[1]["transcript"] == "Could you explain how a bicycle stays upright?" and found[1]["reply"].startswith("Steering")
    assert found[4]["transcript"].endswith("at five PM.") and "reply" not in found[6]
    for row in found:
        assert soundfile.info(spoken[1] / row["path"]).samplerate == 16_000


def test_speech_has_the_licence_of_its_voice_and_that_of_a_text_of_others() -> None:
    assert speech_licence("", "Apache 2.0") == "Apache-2.0" == speech_licence("Apache-2.0", "Apache-2.0")
    assert speech_licence("Attribution-ShareAlike 4.0", "MIT") == "CC-BY-SA-4.0 AND MIT"
    assert speech_licence("unknown", "MIT") == "unknown AND MIT" and speech_licence("", "") == "unknown"


def test_rejected_dialogues_are_listed_with_line_and_reason(spoken: tuple[Path, Path]) -> None:
    assert [(row["line"], row["reason"]) for row in rows(spoken[1] / "rejected.jsonl")] == [
        (3, "bad_line"),
        (4, "duplicate_id"),
        (5, "no_voice"),
    ]
    assert rows(spoken[1] / "rejected.jsonl")[2]["detail"].startswith(
        "no voice speaks fr (available: hibari:heart). Configure more voices"
    )


def test_a_clip_index_takes_the_output_as_it_is(spoken: tuple[Path, Path], tmp_path: Path) -> None:
    index_clips([spoken[1]], tmp_path / "clips", workers=1)
    index = ClipIndex.open(tmp_path / "clips")
    clip = index.get("d3/001")
    assert clip.wer is not None and clip.wer <= 0.7
    assert len(index) == 7 and (clip.dialogue, clip.turn, clip.voice, clip.language) == ("d3", 1, "hibari:heart", "en")


def test_a_second_run_renders_nothing_and_writes_the_same(spoken: tuple[Path, Path]) -> None:
    progress: list[SpeakProgress] = []
    before = {path: path.stat().st_mtime_ns for path in spoken[1].rglob("*") if path.parent.parent.name in ("audio", "dialogues")}
    manifest = (spoken[1] / "manifest.jsonl").read_bytes()
    summary = speak(*spoken, lenient(), on_event=progress.append)
    assert not progress and summary.spoken == 3 and summary.rejected == {"bad_line": 1, "duplicate_id": 1, "no_voice": 1}
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (spoken[1] / "manifest.jsonl").read_bytes() == manifest


def test_a_changed_config_is_reported_and_never_mixed_in(spoken: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"config\.seed: 0 -> 1"):
        speak(*spoken, lenient(seed=1))


def test_settings_that_do_not_shape_speech_do_not_change_the_fingerprint(spoken: tuple[Path, Path]) -> None:
    assert speak(*spoken, lenient(patience_seconds=7.0)).spoken == 3


def test_a_run_that_is_stopped_and_resumed_gives_the_same(spoken: tuple[Path, Path], tmp_path: Path) -> None:
    committed = tmp_path / "out" / "dialogues"
    with pytest.raises(Interrupted):
        speak(
            spoken[0],
            begin(tmp_path / "out", lenient()),
            lenient(),
            should_stop=lambda: any(path.is_file() for path in committed.rglob("*")),
        )
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    speak(spoken[0], tmp_path / "out", lenient())
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == (spoken[1] / "manifest.jsonl").read_bytes()


def test_lost_audio_is_made_again(spoken: tuple[Path, Path], tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "one.jsonl", [dialogue(0, 1)])
    speak(lines, begin(tmp_path / "out", lenient()), lenient())
    clip = tmp_path / "out" / rows(tmp_path / "out" / "manifest.jsonl")[0]["path"]
    audio = clip.read_bytes()
    clip.write_bytes(audio[:100])
    speak(lines, tmp_path / "out", lenient())
    assert clip.read_bytes() == audio


def test_a_dialogue_is_discarded_whole_with_what_was_tried(spoken: tuple[Path, Path], tmp_path: Path) -> None:
    garbled = {"id": "long", "turns": [{"user": "Tell me three facts about whales."}, {"user": "Xylyl phthisis. " * 8}]}
    summary = speak(write_dialogues(tmp_path / "d.jsonl", [garbled]), begin(tmp_path / "out", lenient()), lenient())
    assert sum(summary.rejected.values()) == 1 and not summary.spoken
    row = rows(tmp_path / "out" / "rejected.jsonl")[-1]
    assert row["dialogue"] == "long" and row["takes"] == 2 and row["tried"][1]["changed"] == ["seed", "speed"]
    assert not (tmp_path / "out" / "manifest.jsonl").read_bytes() and not list((tmp_path / "out").glob("audio/*/*"))


def test_a_file_without_a_dialogue_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: bad_line"):
        speak(write_dialogues(tmp_path / "d.jsonl", ["{}"]), tmp_path / "out", lenient())
    with pytest.raises(InputError, match="cannot be read"):
        speak(tmp_path / "none.jsonl", tmp_path / "out2", lenient())
    assert not (tmp_path / "out2").exists()


def test_an_output_that_cannot_be_created_is_rejected(tmp_path: Path) -> None:
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0)])
    with pytest.raises(InputError, match="cannot be used as an output directory: No such file or directory"):
        speak(lines, Path("/proc/none"), lenient())


def test_thoughts_are_left_out_of_answers_and_reported_and_unreadable_answers_are_rejected(tmp_path: Path) -> None:
    user = dialogue(0, 1)["turns"][0]["user"]
    answers = {
        "thinks": "<think>They greet.</think>\nHi.\nHow are you?",
        "endless": "<think>They greet.",
        "template": "Hi.<|im_end|>",
        "long": "word " * 3900,
    }
    lines = [{"id": name, "turns": [{"user": user, "assistant": answer}]} for name, answer in answers.items()]
    out = begin(tmp_path / "out", lenient())
    summary = speak(write_dialogues(tmp_path / "d.jsonl", lines), out, lenient())
    assert summary.rejected == {"control_string": 1, "response_too_long": 1, "unclosed_thoughts": 1}
    assert (summary.spoken, summary.thoughts) == (1, 1)
    assert "  answers with thoughts of a reasoning model, which are left out: 1" in summary.lines()
    [row] = rows(out / "manifest.jsonl")
    assert row["reply"] == "Hi.\nHow are you?"
    assert [one["line"] for one in rows(out / "rejected.jsonl")] == [2, 3, 4]
    index_clips([out], tmp_path / "clips", workers=1)
    assert [clip.reply for clip in ClipIndex.open(tmp_path / "clips").clips()] == ["Hi.\nHow are you?"]


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    lines = tmp_path / "d.jsonl"
    lines.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(dialogue(number)).encode() for number in range(2)))
    assert [line.id for _, line in read_dialogues(lines) if isinstance(line, Dialogue)] == ["d0", "d1"]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    lines = write_dialogues(tmp_path / "d.jsonl", [dialogue(0)])
    with pytest.raises(InputError, match="not empty"):
        speak(lines, tmp_path, lenient())
