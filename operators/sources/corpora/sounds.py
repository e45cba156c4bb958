"""Corpora of sounds, music and noise."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from soundflow.operators.sources.corpora.place import Place
from soundflow.operators.sources.corpora.reader import Need, Read, Reader, Recording, folders_of, reject, split_of
from soundflow.operators.sources.corpora.tables import embedded, json_rows, parquet_rows, text
from soundflow.operators.sources.rows import tidy
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.sources import Source
from soundflow.schemas.taxonomy import Urgency, label_words, urgency

_AMBIENT: Final = frozenset(
    "rain wind ocean waves traffic hubbub crowd chatter environmental outside inside noise stream hum static".split()
)


class AudioSet(Reader):
    """agkphysics/AudioSet: parquet of video_id, audio, labels (ontology ids), human_labels (their names)."""

    needs = (Need(("**/*.parquet",), "huggingface-cli download agkphysics/AudioSet --repo-type dataset"),)

    def units(self, place: Place) -> Iterator[str]:
        """A file each."""
        return place.find("**/*.parquet")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its rows. The first label names the clip, the caption holds all; what was labelled as speech has no transcript."""
        split = split_of(unit.rpartition("/")[0].rpartition("/")[2] or unit)
        for number, row in parquet_rows(place, unit, ("video_id", "audio", "human_labels")):
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            data, name = embedded(row)
            listed = row["human_labels"] if isinstance(row["human_labels"], list) else ()
            names = [tidy(label) for label in listed if isinstance(label, str) and label.strip()]
            if data is None:
                yield reject(place, unit, number, "missing_audio", "column audio has no bytes")
            elif not names:
                yield reject(place, unit, number, "missing_label", "column human_labels holds no list of names")
            else:
                key = str(row["video_id"])
                caption = ", ".join(label.lower() for label in names) if len(names) > 1 else ""
                address = f"https://youtu.be/{key}"
                yield Recording(
                    key, name or f"{key}.flac", data, label=_telling(names), caption=caption, attribution=address, split=split
                )


def _telling(names: list[str]) -> str:
    """The label that says most: one a proactive model must know before one that says how it sounds."""
    return next((name for name in names if urgency(name) is Urgency.RESPOND), names[0])


class Fma(Reader):
    """`fma_metadata/tracks.csv` (three header lines) and `fma_*/000/000002.mp3`."""

    needs = (
        Need(("**/tracks.csv",), "unpack fma_metadata.zip"),
        Need(("**/[0-9][0-9][0-9]/*.mp3",), "unpack fma_small.zip, fma_medium.zip, fma_large.zip or fma_full.zip"),
    )

    def units(self, place: Place) -> Iterator[str]:
        """A folder of a thousand tracks each."""
        return folders_of(place, "**/[0-9][0-9][0-9]/*.mp3")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its tracks, described by the metadata's lines of the same thousand."""
        table = next(place.find("**/tracks.csv"), "")
        tracks = self._tracks(place, table, unit.rpartition("/")[2])
        for path in place.find(f"{unit}/*.mp3"):
            key = path.rpartition("/")[2].removesuffix(".mp3")
            track = tracks.get(key.lstrip("0") or "0")
            if track is None:
                yield reject(place, path, None, "missing_label", f"track {key} is not in {table}")
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
                split=split_of(track["set/split"]),
            )

    @staticmethod
    def _tracks(place: Place, table: str, thousand: str) -> dict[str, dict[str, str]]:
        """Lines of the table whose track number begins with `thousand`."""
        wanted = ("track/genre_top", "track/title", "track/license", "artist/name", "set/split")
        found: dict[str, dict[str, str]] = {}
        with place.open(table) as raw:
            lines = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline=""))
            top, names = next(lines, []), next(lines, [])
            columns = {f"{first}/{second}": at for at, (first, second) in enumerate(zip(top, names, strict=False))}
            for cells in lines:
                if len(cells) == len(top) and cells[0].isdigit() and f"{int(cells[0]):06d}"[:3] == thousand:
                    found[cells[0]] = {name: tidy(cells[columns[name]]) if name in columns else "" for name in wanted}
        return found


class Musan(Reader):
    """`{music,noise,speech}/SOURCE/*.wav` with LICENSE and ANNOTATIONS beside."""

    needs = (Need(("**/noise/*/*.wav", "**/music/*/*.wav", "**/speech/*/*.wav"), "unpack musan.tar.gz"),)

    def units(self, place: Place) -> Iterator[str]:
        """A source folder each (`noise/free-sound`)."""
        for kind in ("music", "noise", "speech"):
            yield from folders_of(place, f"**/{kind}/*/*.wav")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Noise is event-like or ambient by what its annotation says; music and babble fill the ambient track."""
        kind = unit.split("/")[-2]
        notes = self._notes(place, f"{unit}/ANNOTATIONS")
        for path in place.find(f"{unit}/*.wav"):
            key = path.rpartition("/")[2].removesuffix(".wav")
            label = notes.get(key, "") if kind == "noise" else kind
            ambient = kind != "noise" or bool(set(label_words(label)) & (_AMBIENT | {"ambient", "ambience", "background"}))
            role = ClipRole.NOISE_AMBIENT if ambient else ClipRole.NOISE_EVENT
            yield Recording(key, path, role=role, label=label or "noise", attribution=f"MUSAN {unit}, see its LICENSE")

    @staticmethod
    def _notes(place: Place, path: str) -> dict[str, str]:
        """`KEY words…` lines."""
        if not place.has(path):
            return {}
        with place.open(path) as lines:
            pairs = (line.decode("utf-8", "replace").strip().partition(" ") for line in lines)
            return {key: tidy(words) for key, _, words in pairs if key}


class NoiseTree(Reader):
    """Any tree of noise recordings: WHAM! (`wham_noise/{tr,cv,tt}/*.wav`), DNS Challenge (`noise_fullband/*.wav`)."""

    def __init__(self, patterns: tuple[str, ...], about: str, role: ClipRole, label: str) -> None:
        self.needs = (Need(patterns, about),)
        self.patterns, self.role, self.label = patterns, role, label

    def units(self, place: Place) -> Iterator[str]:
        """A folder each."""
        for pattern in self.patterns:
            yield from folders_of(place, pattern)

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its recordings."""
        split = split_of(unit.rpartition("/")[2])
        for path in place.find(f"{unit}/*.wav"):
            name = path.rpartition("/")[2].removesuffix(".wav")
            yield Recording(
                path.removesuffix(".wav").replace("/", "-"), path, role=self.role, label=self.label or name, split=split
            )


class Generated(Reader):
    """Sounds made by a generator, with `metadata.jsonl` (file_name, caption, label …) beside, as `datasets`' audio folder."""

    needs = (
        Need(("**/metadata.jsonl",), "a line per sound: {file_name, caption, label}"),
        Need(("**/*.wav", "**/*.flac", "**/*.mp3"), "the sounds"),
    )

    def units(self, place: Place) -> Iterator[str]:
        """A metadata file each."""
        return place.find("**/metadata.jsonl")

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its lines."""
        folder = unit.rpartition("/")[0]
        for number, row in json_rows(place, unit):
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            name, caption, label = (text(row, column) for column in ("file_name", "caption", "label"))
            if not name or not (caption or label):
                yield reject(place, unit, number, "missing_label", "file_name is empty, or caption and label are")
                continue
            path = f"{folder}/{name}".lstrip("/")
            yield Recording(path.rpartition(".")[0].replace("/", "-"), path, label=label or caption, caption=caption)
