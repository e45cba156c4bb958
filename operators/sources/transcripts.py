"""Text files that lie beside recordings: what is a transcript, and what is an annotation of another kind.

Formats are recognised by content, since many share the suffix `.txt`. Recognised annotations without a transcript: label tracks
(Audacity, scaper, Sonic Visualiser, HTK), tables of events (DCASE, Raven), Praat TextGrid, ELAN and other XML, JSON (JAMS), RTTM,
CTM, STM, MLF, LRC and cue sheets. Any other text is an annotation if most of its lines have a time stamp, or if it consists of
settings (`key=value`) or numbers. The words of SRT, WebVTT, SBV and Whisper subtitles are a transcript, and so are those behind
the sample numbers of TIMIT.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from soundflow.schemas.text import one_line

SUFFIXES: Final = (".normalized.txt", ".txt", ".lab", ".srt", ".vtt")
"""Suffixes of files that may hold the transcript of the recording of the same name; the first one that does counts."""
ANNOTATIONS: Final = frozenset(".phn .wrd .textgrid .eaf .jams .rttm .ctm .stm .mlf .lrc .cue .trs .svl .lbl .ass".split())
"""Suffixes of annotations that are not read."""


class SidecarText(NamedTuple):
    """The content of a text file beside a recording."""

    transcript: str
    """Empty when the file is an annotation or has no text."""
    annotation: str = ""
    """Name of the format, when the file is an annotation without a transcript."""


def read_sidecar(text: str, name: str, stem: str) -> SidecarText:
    """Return what the text of the file `name` beside the recording `stem` is."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    if not lines:
        return SidecarText("")
    if "-->" in text or _SBV.match(lines[0]):
        cues = _read_whisper(lines) if _WHISPER.fullmatch(lines[0]) else _read_cues(lines)
        if cues is not None:
            return SidecarText(cues)
    timit = _TIMIT.fullmatch(lines[0].strip()) if len(lines) == 1 and not name.lower().endswith(".lab") else None
    if timit and (timit[1] == "0" or int(timit[2]) - int(timit[1]) >= _SAMPLES):
        return SidecarText(one_line(timit[3]))
    for annotation, matches in _ANNOTATIONS.items():
        if matches(lines):
            return SidecarText("", annotation)
    head, _, rest = " ".join(lines).partition("\t" if "\t" in lines[0] else " ")
    names_itself = len(lines) == 1 and head == stem and (re.search(r"\d", stem) or "\t" in lines[0])
    return SidecarText(one_line(rest if names_itself and rest.strip() else " ".join(lines)))


_BRACKETS: Final = "<> [] () {} （） 【】 〈〉 〔〕 ［］ ＜＞ ｛｝ 〖〗 ⟨⟩"
_TAGS: Final = re.compile(
    "|".join(rf"\{pair[0]}[^\{pair[0]}\{pair[1]}]*\{pair[1]}" for pair in _BRACKETS.split()) + r"|\*[^*]*\*"
)
"""Remarks of transcribers, such as `<SIL>`, `[music]`, `(laughter)` and `*coughs*`."""
_UNCLOSED: Final = re.compile(r"\s*[<\[({（【〈〔［＜｛〖⟨][^\W\d_][\w -]{0,30}|[\w -]{1,30}[>\])}）】〉〕］＞｝〗⟩]\s*")
"""A remark that is the whole transcript and has lost one of its brackets, such as `[noise`."""
_MARKERS: Final = frozenset(
    "sil sp spn nsn unk n/a null nan undefined yyy www inaudible unintelligible ignore_time_segment_in_scoring".split()
)
"""Words that stand for the absence of words in the transcripts of speech recognition, and in tables with missing values."""
_MARKED: Final = re.compile(r"[%#&~+=!/]{1,2}-?[^\W\d].*|x{3,}")
"""A token for a sound or for speech that was not understood, such as `%HESITATION`, `++NOISE++`, `!SIL` and CHAT's `xxx`."""


def has_words(transcript: str) -> bool:
    """Return whether a transcript has at least one word, besides the remarks of a transcriber."""
    if transcript == "None" or _UNCLOSED.fullmatch(transcript):
        return False
    last, spoken = "", transcript
    while spoken != last:  # nested brackets
        last, spoken = spoken, _TAGS.sub(" ", spoken)
    words = (word.casefold() for word in spoken.split() if any(map(str.isalnum, word)))
    return any(word.strip(".,:;!?-_") not in _MARKERS and not _MARKED.fullmatch(word.rstrip(".,:;?-_")) for word in words)


_CLOCK: Final = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_CUE: Final = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_SBV: Final = re.compile(rf"\s*{_CLOCK},{_CLOCK}\s*$")
_VTT_BLOCK: Final = re.compile(r"(WEBVTT|NOTE|STYLE|REGION)\b")
_WHISPER: Final = re.compile(rf"\s*\[{_CLOCK}\s*-->\s*{_CLOCK}\]\s*(.*)")
_TIMIT: Final = re.compile(r"(\d+) +(\d{3,}) +(.*[^\W\d_].*)")
_SAMPLES: Final = 4000
"""Minimum length of an utterance of TIMIT in samples; two numbers that are closer, such as 1914 1918, are words."""


def _read_cues(lines: list[str]) -> str | None:
    """Return the text of subtitles without remarks; None when the lines are not subtitles."""
    times = [at for at, line in enumerate(lines) if _CUE.fullmatch(line) or _SBV.fullmatch(line)]
    if not times or (times[0] > 1 and not _VTT_BLOCK.match(lines[0])):
        return None
    cues: list[str] = []
    for start, end in zip(times, [*times[1:], len(lines)], strict=True):
        cue = lines[start + 1 : end]
        if end < len(lines) and cue and re.fullmatch(r"\s*\d+\s*", cue[-1]):
            cue.pop()  # the number of the next cue
        cues.append(" ".join(cue))
    return _join_cues(cues)


def _read_whisper(lines: list[str]) -> str | None:
    """Return the text of Whisper's lines `[START --> END] TEXT`; None when there are other lines."""
    found = [_WHISPER.fullmatch(line) for line in lines]
    return _join_cues([match[1] for match in found if match]) if all(found) else None


def _join_cues(cues: list[str]) -> str:
    """Return the words of cues, without markup, remarks and repeated cues."""
    spoken: list[str] = []
    for cue in cues:
        plain = re.sub(r"<[^<>]*>|\{\\[^{}]*\}", "", cue)
        text = one_line(re.sub(r"&#?\w+;", lambda entity: html.unescape(entity[0]), plain))
        if has_words(text) and spoken[-1:] != [text]:
            spoken.append(text)
    return " ".join(spoken)


_NUMBER: Final = r"-?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?"
_TIMED: Final = re.compile(rf"({_NUMBER})(\s+|[;,]\s*)({_NUMBER})(?:(?:\s+|[;,]\s*)(.*))?")
_POINT: Final = re.compile(r"\d+[.,]\d+(?:[\t;,]\s*\S.*)?")
_TIME_COLUMN: Final = re.compile(
    r"(event_)?(onset|offset|start|end|begin|stop|duration|time|tmin|tmax)(_?times?)?(_?(s|sec|seconds|ms))?"
)


def _is_label_track(lines: list[str]) -> bool:
    """Return whether every line is an interval in seconds (Audacity, scaper), or in samples or 100 ns (TIMIT, HTK)."""
    found = [_TIMED.fullmatch(line.strip()) for line in lines if not line.startswith("\\")]  # Audacity: \ LOW HIGH in Hz
    intervals = [match for match in found if match is not None]
    if not intervals or len(intervals) != len(found):
        return False
    starts, ends = ([float(match[group].replace(",", ".")) for match in intervals] for group in (1, 3))
    if any(start > end for start, end in zip(starts, ends, strict=True)):
        return False
    exact = all(re.search(r"[.,]", match[1]) and re.search(r"[.,]", match[3]) for match in intervals)
    labelled = any(match[4] and any(map(str.isalpha, match[4])) for match in intervals)
    separated = all("\t" in match[2] for match in intervals)
    long = ends[-1] >= 1000 if len(intervals) > 1 else ends[0] - starts[0] >= _SAMPLES
    integers = labelled and starts == sorted(starts) and (starts[0] == 0 or long)
    return exact or separated or integers


def _is_event_table(lines: list[str]) -> bool:
    """Return whether the lines are a table with columns of times (DCASE, Raven, Whisper), with or without a header."""
    if all(sum(bool(re.fullmatch(_NUMBER, cell.strip())) for cell in line.split("\t")) >= 2 for line in lines):
        return True
    mark = next((mark for mark in "\t,;" if mark in lines[0]), None)
    if mark is None:
        return False
    header = [re.sub(r"\W+", "_", cell.strip().lower()).strip("_") for cell in lines[0].split(mark)]
    return sum(bool(_TIME_COLUMN.fullmatch(cell)) for cell in header) >= 2 and all(line.count(mark) >= 1 for line in lines)


def _is_point_track(lines: list[str]) -> bool:
    return (len(lines) > 1 or bool(re.search(r"[\t;]", lines[0]))) and all(_POINT.fullmatch(line.strip()) for line in lines)


def _is_json(lines: list[str]) -> bool:
    if lines[0].lstrip()[:1] not in ("{", "["):
        return False
    if re.match(r"\s*(\{\s*$|\[\s*$|\{\s*\"|\[\s*\{\s*\"|\[\[\d)", lines[0]):  # also JSON lines, and JSON that was cut off
        return True
    try:
        return isinstance(json.loads("\n".join(lines)), dict | list)
    except (ValueError, RecursionError):
        return False


def _all(pattern: str) -> Callable[[list[str]], bool]:
    compiled = re.compile(pattern)
    return lambda lines: all(compiled.match(line) for line in lines)


def _first(pattern: str) -> Callable[[list[str]], bool]:
    compiled = re.compile(pattern)
    return lambda lines: bool(compiled.match(lines[0]))


_HMS: Final = r"\d{1,2}:\d{2}:\d{2}(?:[.,:]\d{1,3})?|\d{1,3}:\d{2}[.,]\d{1,3}"
_UNIT: Final = r"(?:\d{1,3} ?m(?:in)? ?)?\d+(?:[.,]\d+)? ?(?:ms|s|secs?)\b"
_DECIMAL: Final = r"\d+[.,]\d+"
_TO: Final = r"\s*(?:-+>?|\u2013|\u2014|\u2192|\.\.+|~|[,;|/]|\s)\s*"
_EXACT: Final = rf"(?:{_HMS}|{_UNIT})"
_STAMP: Final = rf"(?:{_HMS}|{_UNIT}|\d{{1,3}}:\d{{2}}|{_DECIMAL})"
_CLEAR_STAMP: Final = re.compile(
    rf"<?[\[(<{{|]\s*{_STAMP}\s*[\])>}}|].*|00?:\d{{2}}\s.*|{_DECIMAL}:\s.*|.*?[\[(<{{]\s*{_STAMP}{_TO}{_STAMP}\s*[\])>}}].*"
    rf"|\s*{_STAMP}{_TO}{_EXACT}(?!\w).*|\s*(?:{_HMS})(?:[\s,;:|-].*)?|\w+:.*(?:{_HMS}),(?:{_HMS}),.*"
    rf"|\S+(?:\s|[,;]\s?){_DECIMAL}{_TO}{_DECIMAL}"
)
"""A line with a certain time stamp: in brackets, an interval with units, hours to seconds, or one name and two times."""
_INTERVAL: Final = re.compile(rf"(?:{_HMS}){_TO}(?:{_HMS})")
"""A line that is an interval and nothing else, as subtitles of any format have one above their text."""
_POSSIBLE_STAMP: Final = re.compile(
    rf"\s*{_STAMP}(?:[\s,;:|-].*)?|.*(?:\s|[,;]){_DECIMAL}(?:\s+|[,;]\s*){_DECIMAL}\s*"
    rf"|.*\s[\[(]?(?:{_HMS}|\d{{1,3}}:\d{{2}})[\])]?:?"
)
"""A line with what may be a time stamp at its start or end, or the first words of a sentence, such as `10:30 is fine`."""


def _is_timed(lines: list[str]) -> bool:
    """Return whether half of the lines have a time stamp, of which a single one must be clear, or one line is an interval."""
    lines = [" ".join(line.split()) for line in lines]  # bounds the time of the search
    clear = [bool(_CLEAR_STAMP.fullmatch(line)) for line in lines]
    timed = [found or bool(_POSSIBLE_STAMP.fullmatch(line)) for found, line in zip(clear, lines, strict=True)]
    if any(_INTERVAL.fullmatch(line) for line in lines):
        return True
    return 2 * sum(timed) >= len(lines) and (any(clear) or sum(timed) > 1)


_SECTION: Final = re.compile(r"\s*\[[^\[\]]+\]\s*")
_SETTING: Final = re.compile(r"\s*[\w.-]{2,}=[^=].*|\s*[^\W\d][\w .-]*\s=\s.*")
_FIELD: Final = re.compile(r"\s*([^\W\d][^:]*):.*")
_FIELD_NAMES: Final = re.compile(
    r"conf(idence)?|score|(sample_?)?rate|sr|channels?|labels?|class|category|text|transcript(ion)?|identity|reference"
)


def _is_settings(lines: list[str]) -> bool:
    """Return whether the lines are sections and settings (INI, ASS), or fields such as `start: 0.5` (LRS, YAML)."""
    lines = [" ".join(line.split()) for line in lines]
    content = [line for line in lines if not _SECTION.fullmatch(line) and not re.match(r"\s*[;#]", line)]
    settings = sum(bool(_SETTING.fullmatch(line)) for line in content)
    fields = [match for line in content if not _SETTING.fullmatch(line) and (match := _FIELD.fullmatch(line))]
    if not content or settings + len(fields) < len(content):
        return False
    if settings:
        return len(content) > 1 or len(lines) > 1 or not re.match(r"[^=]* =", content[0])
    names = [re.sub(r"\W+", "_", field[1].lower()).strip("_") for field in fields]
    known = sum(bool(_FIELD_NAMES.fullmatch(name) or _TIME_COLUMN.fullmatch(name)) for name in names)
    return known > 1 or (len(fields) > 1 and len(lines) > len(content) and any(_CLEAR_STAMP.fullmatch(line) for line in content))


def _is_numeric(lines: list[str]) -> bool:
    """Return whether all is numbers: in several lines, decimals, or the zeros and ones of a voice activity detector."""
    numbers = [number for line in lines for number in re.split(r"[\s,;]+", line.strip()) if number]
    if len(numbers) < 2 or not all(re.fullmatch(_NUMBER, number) for number in numbers):
        return False
    return len(lines) > 1 or all("." in number for number in numbers) or (len(numbers) > 4 and set(numbers) == {"0", "1"})


_FLOAT: Final = r"\d+\.\d+"
_ANNOTATIONS: Final[dict[str, Callable[[list[str]], bool]]] = {
    "label track": _is_label_track,
    "event table": _is_event_table,
    "point track": _is_point_track,
    "TextGrid": _first(r'.*"?ooTextFile'),
    "XML": _first(r"\s*<(\?xml|!DOCTYPE|[A-Za-z_]\w*( [\w:]+=\"[^\"]*\")+\s*/?>)"),
    "JSON": _is_json,
    "MLF": _first(r"#!MLF!#"),
    "LRC": _all(r"\s*\[(\d+:\d+([.:]\d+)?|[A-Za-z#]+:.*)\]"),
    "cue sheet": lambda lines: any(re.match(r"\s*(FILE\s+.+\s(WAVE|MP3|AIFF|BINARY)|TRACK\s+\d+\s+AUDIO)\s*$", x) for x in lines),
    "RTTM": _all(
        r"(SPEAKER|LEXEME|SPKR-INFO|SEGMENT|NOSCORE|NO_RT_METADATA|NON-LEX|NON-SPEECH|FILLER|EDIT|SU|IP|CB|A/P)\s+\S+\s+\S"
    ),
    "CTM": _all(rf"(;;.*|\S+\s+\S+\s+{_FLOAT}\s+{_FLOAT}\s+\S+(\s+{_FLOAT})?(\s+\S+)?\s*$)"),
    "STM": _all(rf"(;;.*|\S+\s+\S+\s+\S+\s+{_FLOAT}\s+{_FLOAT}(\s.*)?$)"),
    "CHAT": _first(r"@(UTF8|Begin|Loc|PID|Font|Window|Languages|Participants)\b|\*[A-Z0-9]{2,4}:|%[a-z]{3}:"),
    "ASS": _first(r"\s*\[Script Info\]"),
    "settings": _is_settings,
    "numbers": _is_numeric,
    "time stamps": _is_timed,
}
