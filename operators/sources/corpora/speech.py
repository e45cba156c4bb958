"""Readers of corpora of transcribed speech."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder, is_utf8
from soundflow.operators.sources.corpora.reader import (
    CorpusItem,
    CorpusReader,
    Recording,
    RequiredFiles,
    find_folders,
    parse_split,
    reject,
)
from soundflow.operators.sources.corpora.tables import (
    NOT_UTF8,
    TableRow,
    cell_audio,
    cell_text,
    read_parquet,
    read_separated,
)
from soundflow.operators.sources.rows import tidy, undo_quoting
from soundflow.operators.sources.transcripts import has_words
from soundflow.schemas.sources import Source


class CommonVoiceReader(CorpusReader):
    """Common Voice: `LANG/{train,dev,test}.tsv` with client_id, path and sentence, and `LANG/clips/*.mp3`."""

    required_files = (
        RequiredFiles(("**/train.tsv",), "the table of a language; unpack cv-corpus-*-LANG.tar.gz"),
        RequiredFiles(("**/clips/*.mp3",), "the recordings, in the folder `clips` next to the tables"),
    )
    SPLITS: ClassVar[Sequence[str]] = ("train", "dev", "test")

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the tables."""
        for split in self.SPLITS:
            yield from corpus.find(f"**/{split}.tsv")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the rows of a file."""
        folder, _, name = unit.rpartition("/")
        below = f"{folder}/" if folder else ""
        language = folder.rpartition("/")[2]
        for number, row in read_separated(corpus, unit, ("client_id", "path", "sentence")):
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            file = cell_text(row, "path")
            sentence = undo_quoting(cell_text(row, "sentence"))
            if not file or not has_words(sentence):
                column = "sentence" if file else "path"
                yield reject(corpus, unit, number, "missing_transcript", f"column {column} has no words: {sentence!r}")
                continue
            file = file if file.endswith(".mp3") else f"{file}.mp3"  # early releases omit the suffix
            yield Recording(
                id=file.removesuffix(".mp3"),
                audio=f"{below}clips/{file}",
                transcript=sentence,
                language=cell_text(row, "locale") or language,
                voice=cell_text(row, "client_id")[:32],
                split=parse_split(name.removesuffix(".tsv")),
            )


class LibriSpeechReader(CorpusReader):
    """LibriSpeech: `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` and the .flac files it lists."""

    required_files = (
        RequiredFiles(("**/*.trans.txt",), "the transcripts; unpack train-clean-100.tar.gz or another subset"),
        RequiredFiles(("**/*.flac",), "the recordings, in the folders of the transcripts"),
    )

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the transcript files, one per chapter."""
        return corpus.find("**/*.trans.txt")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the utterances of a chapter."""
        *folders, _ = unit.split("/")
        subset = next((name for name in folders if name.startswith(("train", "dev", "test"))), "train")
        with corpus.open(unit) as lines:
            for number, line in enumerate(lines, 1):
                key, words = _key_and_words(line)
                if not key:
                    continue
                if not is_utf8(words):
                    yield reject(corpus, unit, number, "bad_row", NOT_UTF8)
                    continue
                if not has_words(words):
                    yield reject(corpus, unit, number, "missing_transcript", f"utterance {key} has no words: {words!r}")
                    continue
                path = "/".join((*folders, f"{key}.flac"))
                yield Recording(
                    id=key, audio=path, transcript=sentence_case(words), voice=key.split("-")[0], split=parse_split(subset)
                )


class AishellReader(CorpusReader):
    """AISHELL-1: `transcript/aishell_transcript_v0.8.txt` and `wav/{train,dev,test}/SPEAKER/*.wav`."""

    required_files = (
        RequiredFiles(("**/transcript/aishell_transcript_v0.8.txt",), "the transcripts; unpack data_aishell.tgz"),
        RequiredFiles(("**/wav/*/*/*.wav",), "the recordings; unpack the archives in data_aishell/wav too"),
    )

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the speakers' folders."""
        return find_folders(corpus, "**/wav/*/*/*.wav")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the utterances of a speaker. Some recordings of AISHELL-1 have no transcript."""
        root, _, tail = unit.rpartition("wav/")
        split, speaker = tail.split("/")
        transcripts = self._read_transcripts(corpus, f"{root}transcript/aishell_transcript_v0.8.txt", speaker)
        for path in corpus.find(f"{unit}/*.wav"):
            key = path.rpartition("/")[2].removesuffix(".wav")
            if key in transcripts:
                yield Recording(id=key, audio=path, transcript=transcripts[key], voice=speaker, split=parse_split(split))
            else:
                yield reject(corpus, path, None, "missing_transcript", "the transcript file has no UTF-8 line for this recording")

    @staticmethod
    def _read_transcripts(corpus: CorpusFolder, path: str, speaker: str) -> dict[str, str]:
        """Return the transcripts of one speaker by utterance (BAC009S0002W0122), without the spaces between words."""
        transcripts: dict[str, str] = {}
        with corpus.open(path) as lines:
            for line in lines:
                key, words = _key_and_words(line)
                if speaker in key and words and is_utf8(words):
                    transcripts[key] = "".join(words.split())
        return transcripts


class ParquetSpeechReader(CorpusReader):
    """Base of the readers of parquet files with an `audio` column, as on the Hugging Face hub."""

    columns: ClassVar[Sequence[str]]
    optional: ClassVar[Sequence[str]] = ()
    pattern: ClassVar[str] = "**/*.parquet"

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the parquet files."""
        return corpus.find(self.pattern)

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the rows of a file."""
        for number, row in read_parquet(corpus, unit, self.columns, self.optional):
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            data, name = cell_audio(row)
            if data is None:
                yield reject(
                    corpus, unit, number, "missing_audio", "column audio has no bytes: download the dataset with its audio"
                )
                continue
            parsed = self.parse_row(row, unit)
            if isinstance(parsed, str):
                yield reject(corpus, unit, number, "missing_transcript", parsed)
            elif not parsed.id:
                yield reject(corpus, unit, number, "bad_row", f"column {self.columns[0]} is empty: the row has no id")
            else:
                yield parsed._replace(data=data, audio=name or f"{parsed.id}.wav")

    @abstractmethod
    def parse_row(self, row: TableRow, unit: str) -> Recording | str:
        """Return the recording of a row without its audio, or why the row cannot be used."""


class VoxPopuliReader(ParquetSpeechReader):
    """facebook/voxpopuli: audio_id, audio, raw_text, normalized_text, speaker_id, gender …; one configuration per language."""

    required_files = (RequiredFiles(("**/*.parquet",), "huggingface-cli download facebook/voxpopuli --repo-type dataset"),)
    columns = ("audio_id", "audio", "normalized_text", "raw_text")
    optional = ("speaker_id", "language")
    LANGUAGES: ClassVar[Sequence[str]] = "en de fr es pl it ro hu cs nl fi hr sk sl et lt".split()
    """Languages in the order of the class label `language`."""

    def parse_row(self, row: TableRow, unit: str) -> Recording | str:
        """Use the written form of the transcript, else the normalized one."""
        words = cell_text(row, "raw_text") or cell_text(row, "normalized_text")
        label = row.get("language")
        language = self.LANGUAGES[label] if isinstance(label, int) and 0 <= label < len(self.LANGUAGES) else ""
        known = language or next((part for part in unit.split("/") if part in self.LANGUAGES), "")
        if not has_words(words):
            return f"columns raw_text and normalized_text have no words: {words!r}"
        voice = cell_text(row, "speaker_id")
        return Recording(
            cell_text(row, "audio_id"),
            "",
            transcript=words,
            language=known,
            voice="" if voice == "None" else voice,
            split=parse_split(_file_split(unit)),
        )


_TAGS: Final = {" <COMMA>": ",", " <PERIOD>": ".", " <QUESTIONMARK>": "?", " <EXCLAMATIONPOINT>": "!"}
_NO_SPEECH: Final = re.compile(r"<(SIL|MUSIC|NOISE|OTHER)>")


class GigaSpeechReader(ParquetSpeechReader):
    """speechcolab/gigaspeech: segment_id, speaker, text (upper case, punctuation as tags), audio, begin_time, end_time."""

    required_files = (
        RequiredFiles(
            ("**/*.parquet",), "huggingface-cli download speechcolab/gigaspeech --repo-type dataset (gated: accept its terms)"
        ),
    )
    columns = ("segment_id", "text", "audio")
    optional = ("speaker", "audio_id", "url")

    def parse_row(self, row: TableRow, unit: str) -> Recording | str:
        """Replace tags by punctuation; reject segments annotated as noise, music or silence."""
        words = cell_text(row, "text")
        if _NO_SPEECH.search(words) or not has_words(words):
            return f"column text has no speech: {words!r}" if words else "column text is empty"
        for tag, mark in _TAGS.items():
            words = words.replace(tag, mark)
        speaker = cell_text(row, "speaker")
        return Recording(
            cell_text(row, "segment_id"),
            "",
            transcript=sentence_case(words),
            voice=cell_text(row, "audio_id") if speaker in ("", "N/A") else speaker,
            attribution=cell_text(row, "url"),
            split=parse_split(_file_split(unit)),
        )


class Covost2Reader(CorpusReader):
    """CoVoST 2 in one direction: parquet (fixie-ai/covost2), or the official TSV in the folder of Common Voice 4 with `clips`.

    The TSV (`covost_v2.en_zh-CN.{train,dev,test}.tsv`) has path, sentence, translation and client_id.
    """

    def __init__(self, language: str, target: str) -> None:
        self.language, self.target = language, target
        pair = f"{language}_{target}"
        self.patterns = (f"**/covost_v2.{pair}*.tsv", f"**/{pair}/**/*.parquet")
        self.required_files = (
            RequiredFiles(
                self.patterns, "fixie-ai/covost2 as parquet, or covost_v2.*.tsv next to the folder `clips` of Common Voice"
            ),
        )

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the files."""
        for pattern in self.patterns:
            yield from corpus.find(pattern)

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the rows of a file."""
        columns = ("sentence", "translation", "client_id")
        is_table = unit.endswith(".tsv")
        rows = (
            read_separated(corpus, unit, ("path", *columns), escape="\\")
            if is_table
            else read_parquet(corpus, unit, ("id", "audio", *columns))
        )
        folder = unit.rpartition("/")[0]
        for number, row in rows:
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            words, translation = cell_text(row, "sentence"), cell_text(row, "translation")
            if is_table:
                words, translation = undo_quoting(words), undo_quoting(translation)
            data, name = (None, f"{folder}/clips/{cell_text(row, 'path')}".lstrip("/")) if is_table else cell_audio(row)
            if not has_words(words) or not has_words(translation):
                column, text = ("translation", translation) if has_words(words) else ("sentence", words)
                yield reject(corpus, unit, number, "missing_transcript", f"column {column} has no words: {text!r}")
            elif data is None and not is_table:
                yield reject(
                    corpus, unit, number, "missing_audio", "column audio has no bytes: download the dataset with its audio"
                )
            else:
                key = cell_text(row, "path") if is_table else cell_text(row, "id")
                yield Recording(
                    key.rpartition(".")[0] or key,
                    name or f"{key}.mp3",
                    data,
                    transcript=words,
                    language=self.language,
                    voice=cell_text(row, "client_id")[:32],
                    translation=translation,
                    translation_language=self.target,
                    split=parse_split(unit.split(".")[-2] if is_table else _file_split(unit)),
                )


def _key_and_words(line: bytes) -> tuple[str, str]:
    """Return the id and the words of a line `ID WORDS…`, separated by spaces or a tab; each may be empty."""
    key, *words = line.decode("utf-8-sig", "surrogateescape").split(maxsplit=1) or ("",)
    return key, words[0].rstrip() if words else ""


def _file_split(unit: str) -> str:
    """Return the split of `en/train-00000-of-00009.parquet` or `train/0000.parquet`."""
    *folders, name = unit.split("/")
    words = re.split(r"[-_.]", name)
    return words[0] if not words[0].isdigit() else (folders[-1] if folders else "train")


def sentence_case(words: str) -> str:
    """Return text in capitals in sentence case (`HELLO. I AM` → `Hello. I am`), and any other text unchanged."""
    if not words.isupper():
        return tidy(words)
    lowered = re.sub(r"\bi\b(?='|\b)", "I", tidy(words).lower())
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match.group(1) + match.group(2).upper(), lowered)
