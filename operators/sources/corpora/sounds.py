"""Readers of corpora of sounds, music and noise."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder
from soundflow.operators.sources.corpora.reader import (
    CorpusItem,
    CorpusReader,
    Recording,
    RequiredFiles,
    find_folders,
    parse_split,
    reject,
)
from soundflow.operators.sources.corpora.tables import cell_audio, cell_text, read_json, read_parquet
from soundflow.operators.sources.rows import tidy
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.sources import Source
from soundflow.schemas.taxonomy import Urgency, label_words, urgency

_AMBIENT: Final = frozenset(
    "rain wind ocean waves traffic hubbub crowd chatter environmental outside inside noise stream hum static".split()
)


class AudioSetReader(CorpusReader):
    """agkphysics/AudioSet: parquet with video_id, audio, labels (ontology ids) and human_labels (their names)."""

    required_files = (RequiredFiles(("**/*.parquet",), "huggingface-cli download agkphysics/AudioSet --repo-type dataset"),)

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the parquet files."""
        return corpus.find("**/*.parquet")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the rows of a file. One label names the clip and the caption lists all; speech has no transcript."""
        split = parse_split(unit.rpartition("/")[0].rpartition("/")[2] or unit)
        for number, row in read_parquet(corpus, unit, ("video_id", "audio", "human_labels")):
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            data, name = cell_audio(row)
            listed = row["human_labels"] if isinstance(row["human_labels"], list) else ()
            names = [tidy(label) for label in listed if isinstance(label, str) and label.strip()]
            if data is None:
                detail = "column audio has no bytes: download the dataset with its audio"
                yield reject(corpus, unit, number, "missing_audio", detail)
            elif not names:
                yield reject(corpus, unit, number, "missing_label", "column human_labels: expected a list of label names")
            else:
                key = str(row["video_id"])
                caption = ", ".join(label.lower() for label in names) if len(names) > 1 else ""
                address = f"https://youtu.be/{key}"
                yield Recording(
                    key,
                    name or f"{key}.flac",
                    data,
                    label=_main_label(names),
                    caption=caption,
                    attribution=address,
                    split=split,
                )


def _main_label(names: list[str]) -> str:
    """Return the first label that calls for a response, else the first label."""
    return next((name for name in names if urgency(name) is Urgency.RESPOND), names[0])


class FmaReader(CorpusReader):
    """Free Music Archive: `fma_metadata/tracks.csv` (three header lines) and `fma_*/000/000002.mp3`."""

    required_files = (
        RequiredFiles(("**/tracks.csv",), "unpack fma_metadata.zip"),
        RequiredFiles(("**/[0-9][0-9][0-9]/*.mp3",), "unpack fma_small.zip, fma_medium.zip, fma_large.zip or fma_full.zip"),
    )

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the folders of a thousand tracks each."""
        return find_folders(corpus, "**/[0-9][0-9][0-9]/*.mp3")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the tracks of a folder with their metadata."""
        table = next(corpus.find("**/tracks.csv"), "")
        tracks = self._read_tracks(corpus, table, unit.rpartition("/")[2])
        for path in corpus.find(f"{unit}/*.mp3"):
            key = path.rpartition("/")[2].removesuffix(".mp3")
            track = tracks.get(key.lstrip("0") or "0")
            if track is None:
                yield reject(corpus, path, None, "missing_label", f"{table} has no row for track {key}")
                continue
            genre = track["track/genre_top"] or "music"
            title, artist = track["track/title"], track["artist/name"]
            yield Recording(
                key,
                path,
                label=f"{genre} music" if genre != "music" else genre,
                caption=f"a {genre.lower()} track" if genre != "music" else "a piece of music",
                licence=track["track/license"] or "unknown",
                attribution=f"{artist}: {title}".strip(": "),
                split=parse_split(track["set/split"]),
            )

    @staticmethod
    def _read_tracks(corpus: CorpusFolder, table: str, prefix: str) -> dict[str, dict[str, str]]:
        """Return the metadata of the tracks whose six-digit number begins with `prefix`, by number."""
        wanted = ("track/genre_top", "track/title", "track/license", "artist/name", "set/split")
        tracks: dict[str, dict[str, str]] = {}
        with corpus.open(table) as raw:
            lines = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline=""))
            top, names = next(lines, []), next(lines, [])
            columns = {f"{first}/{second}": at for at, (first, second) in enumerate(zip(top, names, strict=False))}
            for cells in lines:
                if len(cells) == len(top) and cells[0].isdigit() and f"{int(cells[0]):06d}"[:3] == prefix:
                    tracks[cells[0]] = {name: tidy(cells[columns[name]]) if name in columns else "" for name in wanted}
        return tracks


class MusanReader(CorpusReader):
    """MUSAN: `{music,noise,speech}/SOURCE/*.wav` with LICENSE and ANNOTATIONS in the same folder."""

    required_files = (RequiredFiles(("**/noise/*/*.wav", "**/music/*/*.wav", "**/speech/*/*.wav"), "unpack musan.tar.gz"),)

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the source folders (`noise/free-sound`)."""
        for kind in ("music", "noise", "speech"):
            yield from find_folders(corpus, f"**/{kind}/*/*.wav")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the recordings of a folder as noise: music and speech are ambient, the role of noise follows its annotation."""
        kind = unit.split("/")[-2]
        annotations = self._read_annotations(corpus, f"{unit}/ANNOTATIONS")
        for path in corpus.find(f"{unit}/*.wav"):
            key = path.rpartition("/")[2].removesuffix(".wav")
            label = annotations.get(key, "") if kind == "noise" else kind
            ambient = kind != "noise" or bool(set(label_words(label)) & (_AMBIENT | {"ambient", "ambience", "background"}))
            role = ClipRole.NOISE_AMBIENT if ambient else ClipRole.NOISE_EVENT
            yield Recording(key, path, role=role, label=label or "noise", attribution=f"MUSAN {unit}, see its LICENSE")

    @staticmethod
    def _read_annotations(corpus: CorpusFolder, path: str) -> dict[str, str]:
        """Return the annotations by file stem, from lines of `STEM words…`; empty when the file does not exist."""
        if not corpus.has_file(path):
            return {}
        with corpus.open(path) as lines:
            pairs = (line.decode("utf-8", "replace").split(maxsplit=1) for line in lines)
            return {key: tidy(" ".join(words)) for key, *words in filter(None, pairs)}


class NoiseFolderReader(CorpusReader):
    """Folders of noise: WHAM! (`wham_noise/{tr,cv,tt}/*.wav`), DNS Challenge (`noise_fullband/*.wav`)."""

    def __init__(self, patterns: tuple[str, ...], description: str, role: ClipRole, label: str) -> None:
        self.required_files = (RequiredFiles(patterns, description),)
        self.patterns, self.role, self.label = patterns, role, label

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the folders."""
        for pattern in self.patterns:
            yield from find_folders(corpus, pattern)

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the recordings of a folder, labelled by their file names where the corpus has no common label."""
        split = parse_split(unit.rpartition("/")[2])
        for path in corpus.find(f"{unit}/*.wav"):
            name = path.rpartition("/")[2].removesuffix(".wav")
            yield Recording(
                path.removesuffix(".wav").replace("/", "-"), path, role=self.role, label=self.label or name, split=split
            )


class GeneratedSoundReader(CorpusReader):
    """Generated sounds with `metadata.jsonl` (file_name, caption, label …) in their folder, as in a `datasets` audio folder."""

    required_files = (
        RequiredFiles(("**/metadata.jsonl",), "one line per sound: {file_name, caption, label}"),
        RequiredFiles(("**/*.wav", "**/*.flac", "**/*.mp3"), "the sounds"),
    )

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the metadata files."""
        return corpus.find("**/metadata.jsonl")

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the sounds that a metadata file lists."""
        folder = unit.rpartition("/")[0]
        for number, row in read_json(corpus, unit):
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            name, caption, label = (cell_text(row, column) for column in ("file_name", "caption", "label"))
            if not name or not (caption or label):
                missing = "caption and label are" if name else "file_name is"
                yield reject(corpus, unit, number, "missing_label", f"{missing} empty: set file_name, and caption or label")
                continue
            path = f"{folder}/{name}".lstrip("/")
            yield Recording(path.rpartition(".")[0].replace("/", "-"), path, label=label or caption, caption=caption)
