"""Corpora of transcribed speech."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from soundflow.operators.sources.corpora.place import Place, is_utf8
from soundflow.operators.sources.corpora.reader import Need, Read, Reader, Recording, folders_of, reject, split_of
from soundflow.operators.sources.corpora.tables import NOT_UTF8, Row, embedded, parquet_rows, separated, text
from soundflow.operators.sources.rows import tidy
from soundflow.schemas.sources import Source


class CommonVoice(Reader):
    """`LANG/{train,dev,test}.tsv` (or a release folder above) with client_id, path, sentence, and `clips/*.mp3` beside."""

    needs = (
        Need(("**/train.tsv",), "the table of a language's split; unpack cv-corpus-*-LANG.tar.gz"),
        Need(("**/clips/*.mp3",), "the recordings, in `clips` beside the tables"),
    )
    SPLITS: ClassVar[Sequence[str]] = ("train", "dev", "test")

    def units(self, place: Place) -> Iterator[str]:
        """A table each."""
        for split in self.SPLITS:
            yield from place.find(f"**/{split}.tsv")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its rows."""
        folder, _, name = unit.rpartition("/")
        below = f"{folder}/" if folder else ""
        language = folder.rpartition("/")[2]
        for number, row in separated(place, unit, ("client_id", "path", "sentence")):
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            file = text(row, "path")
            if not file or not text(row, "sentence"):
                yield reject(place, unit, number, "missing_transcript", "column sentence or path is empty")
                continue
            file = file if file.endswith(".mp3") else f"{file}.mp3"  # the first releases leave it out
            yield Recording(
                id=file.removesuffix(".mp3"),
                audio=f"{below}clips/{file}",
                transcript=text(row, "sentence"),
                language=text(row, "locale") or language,
                voice=text(row, "client_id")[:32],
                split=split_of(name.removesuffix(".tsv")),
            )


class LibriSpeech(Reader):
    """`SUBSET/READER/CHAPTER/READER-CHAPTER.trans.txt` and the .flac files it names."""

    needs = (
        Need(("**/*.trans.txt",), "transcripts; unpack train-clean-100.tar.gz and its like"),
        Need(("**/*.flac",), "the recordings beside them"),
    )

    def units(self, place: Place) -> Iterator[str]:
        """A chapter each."""
        return place.find("**/*.trans.txt")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its utterances."""
        *folders, _ = unit.split("/")
        subset = next((name for name in folders if name.startswith(("train", "dev", "test"))), "train")
        with place.open(unit) as lines:
            for number, line in enumerate(lines, 1):
                key, _, words = line.decode("utf-8", "surrogateescape").strip().partition(" ")
                if not key:
                    continue
                if not is_utf8(words):
                    yield reject(place, unit, number, "bad_row", NOT_UTF8)
                    continue
                if not words:
                    yield reject(place, unit, number, "missing_transcript", f"{key} has no words")
                    continue
                path = "/".join((*folders, f"{key}.flac"))
                yield Recording(
                    id=key, audio=path, transcript=sentence_case(words), voice=key.split("-")[0], split=split_of(subset)
                )


class Aishell(Reader):
    """AISHELL-1: `transcript/aishell_transcript_v0.8.txt` and `wav/{train,dev,test}/SPEAKER/*.wav`."""

    needs = (
        Need(("**/transcript/aishell_transcript_v0.8.txt",), "transcripts; unpack data_aishell.tgz"),
        Need(("**/wav/*/*/*.wav",), "recordings; unpack the archives in data_aishell/wav too"),
    )

    def units(self, place: Place) -> Iterator[str]:
        """A speaker each, named by its folder; the transcripts are small beside the recordings."""
        return folders_of(place, "**/wav/*/*/*.wav")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """The speaker's utterances; some recordings of AISHELL-1 have no transcript."""
        root, _, tail = unit.rpartition("wav/")
        split, speaker = tail.split("/")
        words = self._transcripts(place, f"{root}transcript/aishell_transcript_v0.8.txt", speaker)
        for path in place.find(f"{unit}/*.wav"):
            key = path.rpartition("/")[2].removesuffix(".wav")
            if key in words:
                yield Recording(id=key, audio=path, transcript=words[key], voice=speaker, split=split_of(split))
            else:
                yield reject(place, path, None, "missing_transcript", "not in the corpus's transcript file, or not in UTF-8")

    @staticmethod
    def _transcripts(place: Place, path: str, speaker: str) -> dict[str, str]:
        """Those of one speaker (BAC009 S0002 W0122); Chinese is written without the spaces between its words."""
        found: dict[str, str] = {}
        with place.open(path) as lines:
            for line in lines:
                key, _, words = line.decode("utf-8", "surrogateescape").strip().partition(" ")
                if speaker in key and words and is_utf8(words):
                    found[key] = "".join(words.split())
        return found


class ParquetSpeech(Reader):
    """Parquet files of the hub with an `audio` column; what differs is said by `recording`."""

    columns: ClassVar[Sequence[str]]
    optional: ClassVar[Sequence[str]] = ()
    pattern: ClassVar[str] = "**/*.parquet"

    def units(self, place: Place) -> Iterator[str]:
        """A file each."""
        return place.find(self.pattern)

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its rows."""
        for number, row in parquet_rows(place, unit, self.columns, self.optional):
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            data, name = embedded(row)
            if data is None:
                yield reject(
                    place, unit, number, "missing_audio", "column audio has no bytes: download the dataset with its audio"
                )
                continue
            found = self.recording(row, unit)
            if isinstance(found, str):
                yield reject(place, unit, number, "missing_transcript", found)
            elif not found.id:
                yield reject(place, unit, number, "bad_row", f"column {self.columns[0]} is empty: the row has no id")
            else:
                yield found._replace(data=data, audio=name or f"{found.id}.wav")

    @abstractmethod
    def recording(self, row: Row, unit: str) -> Recording | str:
        """A row without its sound, or why it is of no use."""


class VoxPopuli(ParquetSpeech):
    """facebook/voxpopuli: audio_id, audio, raw_text, normalized_text, speaker_id, gender …; a configuration per language."""

    needs = (Need(("**/*.parquet",), "huggingface-cli download facebook/voxpopuli --repo-type dataset"),)
    columns = ("audio_id", "audio", "normalized_text", "raw_text")
    optional = ("speaker_id", "language")
    LANGUAGES: ClassVar[Sequence[str]] = "en de fr es pl it ro hu cs nl fi hr sk sl et lt".split()
    """Order of the class label `language`."""

    def recording(self, row: Row, unit: str) -> Recording | str:
        """The written form, else the normalized one."""
        words = text(row, "raw_text") or text(row, "normalized_text")
        label = row.get("language")
        language = self.LANGUAGES[label] if isinstance(label, int) and 0 <= label < len(self.LANGUAGES) else ""
        known = language or next((part for part in unit.split("/") if part in self.LANGUAGES), "")
        if not words:
            return "columns raw_text and normalized_text are empty"
        voice = text(row, "speaker_id")
        return Recording(
            text(row, "audio_id"),
            "",
            transcript=words,
            language=known,
            voice="" if voice == "None" else voice,
            split=split_of(_file_split(unit)),
        )


_TAGS: Final = {" <COMMA>": ",", " <PERIOD>": ".", " <QUESTIONMARK>": "?", " <EXCLAMATIONPOINT>": "!"}
_GARBAGE: Final = re.compile(r"<(SIL|MUSIC|NOISE|OTHER)>")


class GigaSpeech(ParquetSpeech):
    """speechcolab/gigaspeech: segment_id, speaker, text (upper case, punctuation as tags), audio, begin_time, end_time."""

    needs = (
        Need(("**/*.parquet",), "huggingface-cli download speechcolab/gigaspeech --repo-type dataset (gated: accept its terms)"),
    )
    columns = ("segment_id", "text", "audio")
    optional = ("speaker", "audio_id", "url")

    def recording(self, row: Row, unit: str) -> Recording | str:
        """Tags become punctuation; what its annotators called noise, music or silence is no speech."""
        words = text(row, "text")
        if _GARBAGE.search(words) or not words:
            return f"no speech: {words or 'column text is empty'}"
        for tag, mark in _TAGS.items():
            words = words.replace(tag, mark)
        speaker = text(row, "speaker")
        return Recording(
            text(row, "segment_id"),
            "",
            transcript=sentence_case(words),
            voice=text(row, "audio_id") if speaker in ("", "N/A") else speaker,
            attribution=text(row, "url"),
            split=split_of(_file_split(unit)),
        )


class Covost(Reader):
    """CoVoST 2 of one direction: parquet (fixie-ai/covost2), or the official TSV in `clips`' folder of Common Voice 4.

    The TSV (`covost_v2.en_zh-CN.{train,dev,test}.tsv`) has path, sentence, translation, client_id.
    """

    def __init__(self, language: str, into: str) -> None:
        self.language, self.into = language, into
        pair = f"{language}_{into}"
        self.patterns = (f"**/covost_v2.{pair}*.tsv", f"**/{pair}/**/*.parquet")
        self.needs = (Need(self.patterns, "fixie-ai/covost2 as parquet, or covost_v2.*.tsv beside Common Voice's `clips`"),)

    def units(self, place: Place) -> Iterator[str]:
        """A file each."""
        for pattern in self.patterns:
            yield from place.find(pattern)

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its rows."""
        columns = ("sentence", "translation", "client_id")
        is_table = unit.endswith(".tsv")
        rows = separated(place, unit, ("path", *columns)) if is_table else parquet_rows(place, unit, ("id", "audio", *columns))
        folder = unit.rpartition("/")[0]
        for number, row in rows:
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            words, translation = text(row, "sentence"), text(row, "translation")
            data, name = (None, f"{folder}/clips/{text(row, 'path')}".lstrip("/")) if is_table else embedded(row)
            if not words or not translation:
                yield reject(place, unit, number, "missing_transcript", "column sentence or translation is empty")
            elif data is None and not is_table:
                yield reject(
                    place, unit, number, "missing_audio", "column audio has no bytes: download the dataset with its audio"
                )
            else:
                key = text(row, "path") if is_table else text(row, "id")
                yield Recording(
                    key.rpartition(".")[0] or key,
                    name or f"{key}.mp3",
                    data,
                    transcript=words,
                    language=self.language,
                    voice=text(row, "client_id")[:32],
                    translation=translation,
                    translation_language=self.into,
                    split=split_of(unit.split(".")[-2] if is_table else _file_split(unit)),
                )


def _file_split(unit: str) -> str:
    """`en/train-00000-of-00009.parquet` → train; the folder says it where the file does not (`train/0000.parquet`)."""
    *folders, name = unit.split("/")
    words = re.split(r"[-_.]", name)
    return words[0] if not words[0].isdigit() else (folders[-1] if folders else "train")


def sentence_case(words: str) -> str:
    """Text in capitals as it is usually written (`HELLO. I AM` → `Hello. I am`); any other stays."""
    if not words.isupper():
        return tidy(words)
    lowered = re.sub(r"\bi\b(?='|\b)", "I", tidy(words).lower())
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match.group(1) + match.group(2).upper(), lowered)
