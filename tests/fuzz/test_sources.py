"""Recordings, manifests of clips, transcripts and label files."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from soundflow.operators.clean.ingress import read_audio
from soundflow.schemas.outcome import Ok
from tests.fuzz.harness import command, throw
from tests.fuzz.mutations import damaged_bytes, damaged_json, damaged_text
from tests.support.encoded_audio import by_ffmpeg, encoded

pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm

LIBSNDFILE = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16")),
    *(("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "PCM_16"), ("AU", "PCM_16")),
    *(("WAV", "IMA_ADPCM"), ("WAV", "ULAW"), ("AIFF", "FLOAT"), ("VOC", "PCM_16"), ("NIST", "PCM_16"), ("SVX", "PCM_16")),
)
FFMPEG = (("ipod", "aac"), ("adts", "aac"), ("matroska", "pcm_s16le"), ("webm", "libopus"), ("mp2", "mp2"), ("mov", "aac"))


def test_audio_headers(tmp_path: Path) -> None:
    rates = {"OPUS": 48_000}
    whole = [encoded(1.0, form, subtype, rates.get(subtype, 16_000)) for form, subtype in LIBSNDFILE]
    whole += [by_ffmpeg(1.0, muxer, codec, 48_000) for muxer, codec in FFMPEG]
    numbers = itertools.count()

    def attempt(rng: random.Random) -> str:
        path = tmp_path / f"{next(numbers)}.wav"
        path.write_bytes(damaged_bytes(whole[rng.randrange(len(whole))], rng))
        outcome = read_audio(path)
        path.unlink()
        if isinstance(outcome, Ok):
            assert outcome.value.seconds <= 3600
            return "read"
        assert outcome.reason
        return f"rejected: {outcome.reason}"

    outcomes = throw("audio headers", 200, attempt)
    assert len(outcomes) >= 4, outcomes


def _index(source: Path, clips: Path) -> str:
    found = command("clips", "index", source, "-o", clips, "--workers", 1)
    return "rejected rows" if found == "accepted" and (clips / "rejected.jsonl").stat().st_size else found


def _rows(form: str) -> bytes:
    fields = {"path": "a.wav", "label": "dog bark", "caption": "A dog barks.", "language": "en", "licence": "CC0-1.0"}
    rows = [fields | {"path": f"{number}.wav"} for number in range(3)]
    if form == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    separator = "\t" if form == "tsv" else ","
    return "\n".join([separator.join(fields), *(separator.join(row.values()) for row in rows), ""]).encode()


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(encoded(0.6 + 0.1 * number, "WAV", "PCM_16"))
    return folder


def test_manifests_of_clips(recordings: Path, tmp_path: Path) -> None:
    def attempt(rng: random.Random) -> str:
        form = rng.choice(("csv", "tsv", "jsonl"))
        data = _rows(form)
        if form == "jsonl" and rng.random() < 0.6:
            lines = data.splitlines()
            number = rng.randrange(len(lines))
            lines[number] = damaged_json(json.loads(lines[number]), rng)
            data = b"\n".join(lines)
        else:
            data = damaged_text(data, rng)
        manifest = recordings / f"manifest.{form}"
        manifest.write_bytes(data)
        found = _index(manifest, tmp_path / "clips")
        manifest.unlink()
        return found

    outcomes = throw("manifests of clips", 60, attempt)
    assert outcomes["named error"] and len(outcomes) >= 2, outcomes


def test_files_next_to_recordings(recordings: Path, tmp_path: Path) -> None:
    kinds = {
        "0.txt": b"What time is it?\n",
        "1.TextGrid": b'File type = "ooTextFile"\nObject class = "TextGrid"\nxmin = 0\nxmax = 1\n',
        "2.srt": b"1\n00:00:00,000 --> 00:00:01,000\nHello there\n",
        "a.trans.txt": b"0 WHAT TIME IS IT\n1 STOP THE MUSIC\n",
        "metadata.csv": b"file_name,text\n0.wav,What time is it?\n1.wav,Stop.\n",
        "1.json": b'{"text": "Stop the music", "segments": []}',
    }

    def attempt(rng: random.Random) -> str:
        name = rng.choice(sorted(kinds))
        (recordings / name).write_bytes(damaged_text(kinds[name], rng))
        found = _index(recordings, tmp_path / "clips")
        (recordings / name).unlink()
        return found

    throw("files next to recordings", 40, attempt)
