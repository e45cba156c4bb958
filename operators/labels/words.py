"""Tell texts that describe a sound from remains of file names: ids, hashes, numbers, names that cameras and recorders give."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from soundflow.schemas.text import is_letter


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEVICES: Final = _words(
    "img dsc dscn dscf dscn dcim mvi mov vid gopr gopro gp gx gh pxl pano sam cimg imag imgp hpim dji zoom ste "
    "vlc mah snd rec ptt aud wa msg"
)
"""Words that cameras, recorders and messengers begin file names with."""
_FILE_WORDS: Final = _words(
    "user username file files filename final finalfinal version ver copy kopie copie copia take edit edited export "
    "exported bounce mix mixdown master mastered untitled unnamed new tmp temp test tests testing draft backup old "
    "sample samples clip clips audio sound sounds track recording recordings recorded recorder record voice memo "
    "note whatsapp telegram screen download downloads upload output input out data dataset caption description "
    "label title name text untagged unlabeled unlabelled unknown undefined none null nan todo tbd na foo bar baz "
    "asdf asdfg asdfgh qwerty qwertz lorem ipsum xxx yyy zzz mono stereo left right hq lq hd raw orig original "
    "converted trimmed cut part pt nr no num id idx index uid wav wave mp3 mp4 flac ogg opus aac aif aiff m4a "
    "freesound youtube "
    "registrazione gravação opname nagranie запись 录音 錄音 录制 新录音 "
    "新規録音 録音 녹음 aufnahme enregistrement grabacion grabación"
)
"""Words of file names that say nothing about a sound on their own."""
_GRAMMAR: Final = _words(
    "a an the of in on at and with while as is are was were by from near over under behind into through then being "
    "its his her their"
)
"""Words of sentences, which file names rarely have."""
_UNITS: Final = re.compile(
    r"\d+(?:st|nd|rd|th|s|ms|m|km|cm|mm|hz|khz|db|k|kg|kmh|mph|am|pm|v|w|cc|x|d)|[a-z]{1,2}\d{1,3}|\d{1,3}[a-z]|mp[34]", re.I
)
"""Digits and letters in one word that people say: 2nd, 50hz, V8, 3D."""
_SPELLED: Final = _words("brr grr hmm mmm shh psst pfft tsk zzz tv dj cd dvd sms gps mph nth mc hvac bmw pc pvc")
"""Words without a vowel that people say."""
_AUDIO: Final = r"(?:wav|wave|mp3|flac|ogg|oga|opus|m4a|aac|aiff?|wma|amr|3gp|mp4|webm|mov|caf|au)"
_FILE_NAME: Final = re.compile(rf".+\.{_AUDIO}", re.I | re.S)
_ADDRESS: Final = re.compile(r"\S*(?:https?://|www\.|://)\S*|\S*[/\\]\S+[/\\]\S*|[A-Za-z]:\\.*")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.I)
_HEX: Final = re.compile(r"(?=[a-f]*\d)[0-9a-f]{7,}|[0-9a-f]{24,}", re.I)
_ONTOLOGY_ID: Final = re.compile(r"/?[mtg]/[0-9a-z_]+")
_MIXED_CASE: Final = re.compile(r"[a-z][A-Z]+[a-z]+[A-Z]|[A-Z]{2,}[a-z][A-Z]|[a-z][A-Z]{2,}[a-z]")
"""Case as in random ids; `DogBark` and `iPhone` do not match."""


_VERSIONS: Final = _words(
    "final finalfinal v ver version copy kopie copie copia take edit edited bounce mix mixdown master mastered export exported "
    "new mono stereo hq lq hd raw orig original trimmed cut wav mp3 flac ogg aiff"
)
"""Words at the end of a file name that tell versions of one recording apart."""


def without_version(words: list[str]) -> list[str]:
    """Return the words of a file name without those at its end that name a version: `glass smash final v` → glass, smash."""
    count = len(words)
    while count > 1 and (words[count - 1] in _VERSIONS or (len(words[count - 1]) == 1 and words[count - 1].isascii())):
        count -= 1
    return words[:count]


def has_no_description(text: str, *, is_title: bool = False) -> bool:
    """Return whether a caption describes nothing: it is a file name or its remains, an id, a hash or a number.

    A text with sentence words, or with more words than marks of a file name, is a description. A text without any word is none.
    With `is_title`, the text is the title in a file name, and its numbers do not count as marks of a file name.
    """
    text = text.strip()
    if _FILE_NAME.fullmatch(text) or _UUID.search(text) or _ONTOLOGY_ID.fullmatch(text):
        return True
    words, file_words, marks, numbers, grammar = _count(_ADDRESS.sub(" ", text))
    if not words:
        return True
    marks += 0 if is_title else numbers
    return marks > 0 and not grammar and words <= marks + file_words


def has_no_name(label: str) -> bool:
    """Return whether a label names nothing: an id, a hash, a number or the file name of a device.

    Unlike captions, labels are chosen: `test`, `unknown` and `recording` are names.
    """
    text = label.strip()
    if _FILE_NAME.fullmatch(text) or _UUID.fullmatch(text) or _ONTOLOGY_ID.fullmatch(text):
        return True
    words, file_words, marks, numbers, _ = _count(text)
    return (
        not words
        and (marks + numbers > 0 or not file_words)
        and not (text.isascii() and re.fullmatch(r"[A-Za-z][\w +#&-]{0,3}", text))
    )


def has_sentence_words(text: str) -> bool:
    """Return whether a text has words of sentences, such as `a` or `while`."""
    return _count(text).grammar > 0


class _TokenCounts(NamedTuple):
    words: int
    file_words: int
    """Words of file names."""
    marks: int
    """Ids and names of devices."""
    numbers: int
    """Numbers as in file names: long, or with leading zeros."""
    grammar: int
    """Words of sentences."""


def _count(text: str) -> _TokenCounts:
    words = file_words = marks = numbers = grammar = 0
    for token in _tokens(text):
        lower = token.lower()
        if lower in _GRAMMAR:
            grammar += 1
        elif token.isdigit():
            numbers += len(token) > 4 or (len(token) > 1 and token[0] == "0")
        elif lower in _DEVICES or _is_mark(token):
            marks += 1
        elif lower in _FILE_WORDS or re.fullmatch(r"v\d{1,2}", lower):
            file_words += 1
        elif _is_word(token):
            words += 1
    return _TokenCounts(words, file_words, marks, numbers, grammar)


def _tokens(text: str) -> list[str]:
    """Return the runs of letters and digits; in other scripts than Latin, letters and digits are separate runs."""
    spaced = "".join(char if is_letter(char) or char.isdigit() or char in "'’" else " " for char in text)
    tokens: list[str] = []
    for run in spaced.replace("’", "'").split():
        run = run.strip("'")
        if run.isascii():
            numbered = None if _UNITS.fullmatch(run) or _HEX.fullmatch(run) else re.fullmatch(r"([A-Za-z]{2,})(\d{1,8})", run)
            tokens += numbered.groups() if numbered else (run,)
        else:
            tokens += re.findall(r"\d+|\D+", run)
    return [token for token in tokens if token]


def _is_mark(token: str) -> bool:
    """Return whether a word occurs in file names and ids only."""
    if not token.isascii():
        return False
    if _UNITS.fullmatch(token):
        return False
    if _HEX.fullmatch(token) or (len(token) > 5 and _MIXED_CASE.search(token)):
        return True
    return any(map(str.isdigit, token)) and len(token) > 3


def _is_word(token: str) -> bool:
    if not token.isascii():
        return any(map(str.isalpha, token))
    lower = token.lower().replace("'", "")
    if not lower.isalpha():
        return False
    return len(lower) > 1 and (bool(re.search("[aeiouy]", lower)) or lower in _SPELLED)
