"""Text beside recordings: transcripts, annotations of other kinds, transcripts without a word, and how names are compared."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from soundflow.operators.sources.folder import walk
from soundflow.operators.sources.languages import parse_language
from soundflow.operators.sources.rows import SourceRow
from soundflow.operators.sources.transcripts import has_words, read_sidecar
from soundflow.schemas.clip import ClipRejection


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("The kettle sings.\n", "The kettle sings."),
        ("\ufeffThe kettle\r\nsings.\r\n", "The kettle sings."),
        ("0 46797 She had your dark suit in greasy wash water.\n", "She had your dark suit in greasy wash water."),
        ("1 2 buckle my shoe", "1 2 buckle my shoe"),
        ("1, 2 buckle my shoe\n3, 4 knock at the door", "1, 2 buckle my shoe 3, 4 knock at the door"),
        ("3 4 5", "3 4 5"),
        ("1984 was a bad year", "1984 was a bad year"),
        ("x-1\tHELLO THERE", "HELLO THERE"),
        ("x-1 HELLO THERE", "HELLO THERE"),
        ("1\n00:00:00,000 --> 00:00:01,500\nHello <i>there</i>.\n\n2\n00:00:01,600 --> 00:00:02,000\n[music]\n\n"
         "3\n00:00:02,000 --> 00:00:03,000\nIt is 12\no'clock.\n", "Hello there. It is 12 o'clock."),
        ("WEBVTT\n\nNOTE by me\n\n00:00.000 --> 00:01.000 align:start\n<v Ann>Good morning.\n", "Good morning."),
        ("0:00:00.599,0:00:04.160\nHi there.\n\n0:00:04.160,0:00:06.770\nBye.\n", "Hi there. Bye."),
        ("[00:00.000 --> 00:02.000]  Hello world\n[00:02.000 --> 00:03.000]  42\n", "Hello world 42"),
        ("[00:00:00.000 --> 00:00:02.000]   Hello world\n[00:00:02.000 --> 00:00:03.000]   [BLANK_AUDIO]\n", "Hello world"),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\n<v Bob>Hello &amp; bye,&nbsp;AT&T&#33;\n", "Hello & bye, AT&T!"),
        ("2190 46797 She had your dark suit.\n", "She had your dark suit."),
        ("1914 1918 were the years of war", "1914 1918 were the years of war"),
        ("10:30 is fine with me.", "10:30 is fine with me."),
        ("The time is 10:30:45", "The time is 10:30:45"),
        ("We meet at 5:30.\nBring 2.5 kilos of apples.\n", "We meet at 5:30. Bring 2.5 kilos of apples."),
        ("2 seconds later he left", "2 seconds later he left"),
        ("3.5 - 4.5 million people live here", "3.5 - 4.5 million people live here"),
        ("Bob: Hello.\nAnn: Hi, Bob.\n", "Bob: Hello. Ann: Hi, Bob."),
        ("[music]\nBob: Hello.\n[laughter]\nAnn: Hi.\n", "[music] Bob: Hello. [laughter] Ann: Hi."),
        ("Note: bring your own cup.", "Note: bring your own cup."),
        ("E = mc squared", "E = mc squared"),
        ("E=mc squared", "E=mc squared"),
        ("1.5 litres of milk", "1.5 litres of milk"),
        ("5 minutes and 3 s to go", "5 minutes and 3 s to go"),
        ("10:30\nHello", "10:30 Hello"),
        ("He ran 100 metres (10.5)", "He ran 100 metres (10.5)"),
        ("0 1 1 0", "0 1 1 0"),
    ],
)  # fmt: skip
def test_transcripts_are_read(text: str, transcript: str) -> None:
    assert read_sidecar(text, "x-1.txt", "x-1") == (transcript, "")


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("0.000000\t0.750000\tbark\n1.100000\t1.800000\tbark\n", "label track"),
        ("0.500000\t1.200000\ttrill\n\\\t2000.000000\t6000.000000\n", "label track"),
        ("0,500000\t1,200000\ttrill\n", "label track"),
        ("1.5\t1.5\t\n", "label track"),
        ("0\t2\tsiren\n", "label track"),
        ("0.18131 1.127892 siren\n0.8938 1.881943 car_horn\n", "label track"),
        ("0 3050 h#\n3050 4559 sh\n4559 5723 ix\n", "label track"),
        ("0 3050 she\n3050 4559 had\n", "label track"),
        ("0.5,1.25,speech\n", "label track"),
        ("onset\toffset\tevent_label\n0.1\t0.9\tDog\n", "event table"),
        ("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\n1\tSpectrogram\t1\t0.1\t0.9\n", "event table"),
        ("x.wav\t0.1\t0.9\tDog\n", "event table"),
        ("0.512\n1.024\n", "point track"),
        ("0.5\tbeat\n", "point track"),
        ('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n', "TextGrid"),
        ('"ooTextFile"\n"TextGrid"\n0\n1\n', "TextGrid"),
        ('<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT AUTHOR="x"></ANNOTATION_DOCUMENT>', "XML"),
        ('{"annotations": [], "file_metadata": {"duration": 1.0}}', "JSON"),
        ('#!MLF!#\n"*/x.lab"\n0 100000 sil\n.\n', "MLF"),
        ("[ar:Someone]\n[00:12.00]First line\n[00:15.30]Second line\n", "LRC"),
        ('REM GENRE x\nFILE "x.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n', "cue sheet"),
        ("SPEAKER x 1 0.00 1.20 <NA> <NA> ann <NA> <NA>\n", "RTTM"),
        ("x 1 0.00 0.20 HELLO 0.95\nx A 0.20 0.30 THERE\n", "CTM"),
        (";; comment\nx 1 ann 0.00 1.20 <o,f0,female> hello there\n", "STM"),
        ("[Script Info]\nTitle: x\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,Hello\n", "ASS"),
        ("@UTF8\n@Begin\n@Participants:\tCHI Target_Child\n*CHI:\tmore cookie .\n@End\n", "CHAT"),
        ("[General]\nTitle=Foo\nSampleRate=44100\n", "settings"),
        ("label = dog\nonset = 0.5\n", "settings"),
        ("label=dog\n", "settings"),
        ("label: dog\nonset: 0.5\n", "settings"),
        ("Text:  HELLO THERE\nConf: 4\n", "settings"),
        ("0 0 1 1 1 0 1\n", "numbers"),
        ("0\n0\n1\n", "numbers"),
        ("100 200\n300 400\n", "numbers"),
        ("0.50s - 1.20s: dog barks\n1.50s - 1.90s: cat\n", "time stamps"),
        ("0.50s - 1.20s: dog barks\n", "time stamps"),
        ("500 ms, 1200 ms, dog\n", "time stamps"),
        ("00:00:01 door closes\n00:00:03 dog barks\n", "time stamps"),
        ("00:00:01 door closes\n", "time stamps"),
        ("0:01 door closes\n0:03 dog barks\n", "time stamps"),
        ("0:01-0:03 door\n0:05-0:08 dog\n", "time stamps"),
        ("dog_bark 0.5 1.0\ncar_horn 1.2 1.9\n", "time stamps"),
        ("dog_bark,0.5,1.0\n", "time stamps"),
        ("dog barks (0:01-0:03)\n", "time stamps"),
        ("[0.50 - 1.20] dog\n", "time stamps"),
        ("(00:05) Speaker 1: Hello.\n", "time stamps"),
        ("SPEAKER_00 [0.50 - 1.20]: Hello.\n", "time stamps"),
        ("Speaker 1  00:00:05\nHello there.\nSpeaker 2  00:00:09\nHi.\n", "time stamps"),
        ("1\n00:00:01.000 - 00:00:02.000\nHello\nthere.\n", "time stamps"),
        ("dog: 0.5-1.2\n", "time stamps"),
        ("dog 0.5-1.2\ncat 1.5-1.9\n", "time stamps"),
        ("00:01 Hello\n", "time stamps"),
        ("0.5: dog\n", "time stamps"),
        ("1m30s dog\n1m40s cat\n", "time stamps"),
        ("<|0.00|> Hello there<|1.20|>\n", "time stamps"),
        ("start_time=0.5; label=dog\n", "settings"),
        ("*CHI:\thello .\n%mor:\tco|hello .\n", "CHAT"),
        ("Detected language: English\n[00:00.000 --> 00:02.000] Hello\n", "time stamps"),
        ('{"start": 0.5}\n{"start": 0.9}\n', "JSON"),
        ('{"start": 0.5, "text": "He', "JSON"),
    ],
)  # fmt: skip
def test_annotations_are_no_transcript(text: str, annotation: str) -> None:
    assert read_sidecar(text, "x.txt", "x") == ("", annotation)


def test_long_lines_are_read_in_linear_time() -> None:
    for text in ("1.1" + " " * 60_000 + "x", "(0:01 " * 10_000, "a" + " " * 60_000, "0:00:00," * 8_000):
        read_sidecar(text, "x.txt", "x")  # takes minutes where an expression backtracks


def test_one_interval_of_htk_is_no_transcript() -> None:
    assert read_sidecar("0 46797000 sil\n", "x.lab", "x").annotation == "label track"
    assert read_sidecar("2190 46797 sil\n", "x.lab", "x").annotation == "label track"


@pytest.mark.parametrize(
    "text",
    ["...", "\u266a\u266a", "<SIL>", "[music]", "(laughter)", "<unk> <unk>", "\u2014", "*coughs*", 
     "[MUSIC [loud]]", "\u3010\u97f3\u4e50\u3011", 
     "sil", "SPN.", "?!", "{BREATH}", "\U0001f3b5", "N/A",
     "null", "NaN", "nan nan", "#N/A", "None", "%HESITATION", "%hesitation.", "xxx", "XXX .", "yyy", "++NOISE++", "!SIL",
     "&-um", "~SIL", "//laugh//", "\u3008\u7b11\u3009", "\uff3b\u7b11\uff3d", "[noise", "(laughter", "noise]",
     "<sil", "(inaudible) xxx"],
)  # fmt: skip
def test_transcripts_without_a_word(text: str) -> None:
    assert not has_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "42",
        "[music] hello",
        "\u4f60\u597d",
        "\u266a la la \u266a",
        "\u0915\u0941",
        "sil vous plait",
        "a < b",
        "None of them.",
        "none",
        "null problem",
        "%HESITATION well",
        "[noise] yes",
        "(hello, are you there?",
        "&-um I see",
        "+49 30 1234",
        "\u300c\u3053\u3093\u306b\u3061\u306f\u300d",
        "\u300a\u7ea2\u697c\u68a6\u300b",
    ],
)
def test_transcripts_with_a_word(text: str) -> None:
    assert has_words(text)


def write(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        (root / f"{name}.wav").write_bytes(b"x")
        (root / f"{name}.txt").write_text(text, encoding="utf-8")


def test_annotations_beside_recordings_leave_the_label_and_are_reported(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    write(tmp_path / "dog", bark="0.0\t0.7\tbark\n", howl="0.0\t0.9\thowl\n")
    (tmp_path / "dog/yelp.wav").write_bytes(b"x")
    (tmp_path / "dog/yelp.TextGrid").write_text("x")
    warnings: list[str] = []
    found = list(walk(tmp_path, warn=warnings.append))
    assert [(row.label, row.transcript) for row in found if isinstance(row, SourceRow)] == [("dog", None)] * 3
    assert warnings == [
        f"{tmp_path}: annotations beside recordings are not read"
        f" (1 .textgrid, 2 label track; first: {tmp_path / 'dog/bark.txt'})."
        " Write a manifest with one row per event if they matter"
    ]


def test_transcripts_without_a_word_are_rejected_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, dots="...", empty="", music="[music]", ok="Real words here.")
    found = list(walk(tmp_path))
    assert [row.transcript for row in found if isinstance(row, SourceRow)] == ["Real words here."]
    assert {(row.reason, row.detail) for row in found if isinstance(row, ClipRejection)} == {
        ("transcript_without_words", "dots.txt: '...' has no word"),
        ("transcript_without_words", "empty.txt is empty"),
        ("transcript_without_words", "music.txt: '[music]' has no word"),
    }


def test_transcripts_with_control_strings_are_rejected_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, asr="Hello there.<|im_end|>", mistral="Hello [TOOL_CALLS]", ok="Hello [laughs] there.")
    found = list(walk(tmp_path))
    assert [row.transcript for row in found if isinstance(row, SourceRow)] == ["Hello [laughs] there."]
    assert {(row.reason, row.detail) for row in found if isinstance(row, ClipRejection)} == {
        ("control_string", "asr.txt: contains <|im_end|>, a control string of chat templates; remove it"),
        ("control_string", "mistral.txt: contains [TOOL_CALLS], a control string of chat templates; remove it"),
    }


def test_an_annotation_does_not_hide_the_transcript_in_another_file(tmp_path: Path) -> None:
    write(tmp_path, x="0.0\t0.7\thello\n")
    (tmp_path / "x.lab").write_text("hello there")
    assert [row.transcript for row in walk(tmp_path) if isinstance(row, SourceRow)] == ["hello there"]


def test_suffixes_match_in_any_case_and_names_in_any_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    names = {"SX101.WAV": "SX101.TXT", "u2.wav": "u2.Txt", f"{composed}.wav": f"{decomposed}.txt", "u3.Flac": "u3.NORMALIZED.txt"}
    for audio, text in names.items():
        (tmp_path / audio).write_bytes(b"x")
        (tmp_path / text).write_text("Some words.")
    assert [row.transcript for row in walk(tmp_path) if isinstance(row, SourceRow)] == ["Some words."] * 4


def test_lists_of_transcripts_are_separated_by_spaces_or_tabs(tmp_path: Path) -> None:
    for name in ("1-2-0.flac", "1-2-1.flac", "1-2-2.FLAC"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "1-2.TRANS.TXT").write_bytes("\ufeff1-2-0\tTHE KETTLE\r\n1-2-1   SINGS\r\n1-2-2.flac\tNOW\r\n".encode())
    assert [row.transcript for row in walk(tmp_path) if isinstance(row, SourceRow)] == ["THE KETTLE", "SINGS", "NOW"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("English", "en"), ("english", "en"), ("eng", "en"), ("EN_us", "en-US"), ("zh-hans-cn", "zh-Hans-CN"), ("Deutsch", "de"),
        ("ger", "de"), ("Chinese (Taiwan)", "zh-TW"), ("Mandarin Chinese", "zh"), ("Chinese, Mandarin", "zh"),
        ("\u4e2d\u6587", "zh"), ("Cantonese", "yue"), ("English (US)", "en-US"), ("British English", "en-GB"),
        ("Portuguese (Brazil)", "pt-BR"), ("tlh", "tlh"), ("Klingon", None), ("", None),
    ],
)  # fmt: skip
def test_languages_may_be_named(text: str, code: str | None) -> None:
    assert parse_language(text) == code
