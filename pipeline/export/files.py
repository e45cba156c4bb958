"""`soundflow export moshi|authors|scaper`: write a build as the files that other systems read, one or a few per stream.

Responses are text. Where a format has a channel for the assistant's voice it is silent, which README.txt in the export states.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.compose.noise import procedural
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.committed import committed_shards
from soundflow.pipeline.curate.scenes import pool_of
from soundflow.pipeline.export.licences import LicenceSurvey
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import atomic_folder
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.shard import BuildRecord
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan

Pcm = NDArray[np.int16]
SILENT_TURN: Final = "<no need to response>"
"""The assistant's text for a turn without a response, as spelled in the authors' release."""
WORDS_PER_SECOND: Final = 2.5
"""Rate of the word times that a moshi transcript gives to a response, which is text only."""
READMES: Final = {
    "moshi": f"""\
Stereo recordings for moshi-finetune. data.jsonl lists the WAV files (16 kHz); each has a .json file with the assistant's words.
The right channel is the audio of the stream. The left channel belongs to the assistant and is SILENT, because the responses are
text that was not spoken. Their word times are not measured: the words start when the response opens, and there are
{WORDS_PER_SECOND:g} of them per second, or more if another response opens before. Silence is appended to a stream that ends
before its last word.
""",
    "authors": f"""\
conversations.jsonl: {{conversation: [{{audio_path, assistant}}]}}, with a turn for each foreground sound and each response. The
assistant's text of a turn without a response is {SILENT_TURN!r}. corpus.jsonl: {{id, stream_scene_type, num_turns, turns}}.
Turns have an emotion where it is known.
""",
    "scaper": """\
JAMS files with the namespace `scaper`. clips/ has the cleaned clips they refer to, audio/ the streams as SoundFlow mixed them. In
this folder, scaper.generate_from_jams("X.jams", "X.wav") mixes a stream again with events at the same times; from elsewhere, set
fg_path and bg_path to this folder. The mix is not identical: scaper sets levels by loudness (LUFS) and SoundFlow by power, scaper
repeats noise without crossfades, and the second noise track is a sequence of events.
""",
}


def export_files(
    kind: str,
    directory: Path,
    to: Path,
    on_event: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] | None = None,
    survey: LicenceSurvey | None = None,
) -> int:
    """Write every committed stream of a build into the new folder `to`. Return their number. `kind`: a key of `WRITERS`.

    `survey` counts the streams that may not be published.

    Raises ShardError when a shard is damaged; InputError when nothing is committed or `to` exists; OSError when it cannot be
    written; Interrupted. An incomplete folder is removed.
    """
    build = BuildDir(directory)
    record = build.record()
    manifests = committed_shards(build, record)
    total, done = sum(len(manifest.keys) for manifest in manifests), 0
    if not total:
        raise InputError("has no committed stream yet", file=directory, remedy="Run `soundflow build` first")
    if to.exists():
        raise InputError("already exists", file=to, remedy="Choose another folder, or remove this one")
    samples = Samples(build, record)
    with deferred_signals() as signalled, atomic_folder(to) as aside:
        stop = should_stop or signalled
        (aside / "README.txt").write_text(READMES[kind], encoding="utf-8")
        writer = WRITERS[kind](aside, build, record)
        for manifest in manifests:
            for plan, members in samples.read_all(manifest):
                if stop():
                    raise Interrupted
                writer.add(plan, samples.pcm(manifest, plan, members[samples.audio]))
                if survey is not None:
                    survey.add(plan)
                done += 1
                on_event(done, total)
    return done


class MoshiWriter:
    """Writes for moshi-finetune: `data.jsonl` of {path, duration}, and for each stereo WAV a .json with `alignments`."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder
        (folder / "data_stereo").mkdir()

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Write one stream: the assistant on the left (silent), the stream on the right, both until the last word has ended."""
        path = self.folder / "data_stereo" / f"{plan.sample_id}.wav"
        words = list(_words(plan))
        last = math.ceil(round(words[-1][1][1] / c.CHUNK_SECONDS, 6)) * c.CHUNK_SAMPLES if words else 0
        stream = np.pad(pcm, (0, max(last - pcm.size, 0)))
        _write(path, np.stack([np.zeros_like(stream), stream], axis=1))
        path.with_suffix(".json").write_text(json.dumps({"alignments": words}, ensure_ascii=False), encoding="utf-8")
        _line(self.folder / "data.jsonl", {"path": f"data_stereo/{path.name}", "duration": stream.size / c.SAMPLE_RATE})


def _words(plan: StreamPlan) -> Iterator[list[Any]]:
    """Yield [word, [start, end] in seconds, speaker] in order; a response ends before the next one starts."""
    opens = [response.chunk * c.CHUNK_SECONDS for response in plan.responses]
    for response, (start, limit) in zip(plan.responses, pairwise([*opens, float("inf")]), strict=True):
        words = response.text.split()
        step = min(1 / WORDS_PER_SECOND, (limit - start) / max(len(words), 1))
        for number, word in enumerate(words):
            yield [word, [round(start + number * step, 3), round(start + (number + 1) * step, 3)], "SPEAKER_MAIN"]


class AuthorsWriter:
    """Writes the conversation JSONL of the paper's own release, and its corpus rows."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Write one stream, cut at the end of every foreground sound and at every response."""
        (self.folder / "audio" / plan.sample_id).mkdir(parents=True)
        turns, begin, emotions = [], 0, plan.emotions()
        for number, (end, text, clip) in enumerate(_turns(plan)):
            path = f"audio/{plan.sample_id}/{number:03d}.wav"
            _write(self.folder / path, pcm[begin * c.CHUNK_SAMPLES : end * c.CHUNK_SAMPLES])
            turns.append((path, text or SILENT_TURN, clip, emotions.get(end)))
            begin = end
        _line(
            self.folder / "conversations.jsonl",
            {
                "conversation": [
                    {"audio_path": path, "assistant": text} | ({"emotion": emotion} if emotion else {})
                    for path, text, _, emotion in turns
                ]
            },
        )
        rows = [
            {
                "user": (clip.transcript or clip.label) if clip else "",
                "assistant": text,
                "emotion": emotion,
                "scene_type": plan.task.value,
                "audio_path": path,
            }
            for path, text, clip, emotion in turns
        ]
        row = {"id": plan.sample_id, "stream_scene_type": plan.task.value, "num_turns": len(rows), "turns": rows}
        _line(self.folder / "corpus.jsonl", row)


def _turns(plan: StreamPlan) -> Iterator[tuple[int, str, PlannedClip | None]]:
    """Yield (last chunk, response, foreground clip that it responds to or that ended last) up to the end of the stream."""
    answers = {response.chunk: response for response in plan.responses}
    ends: dict[int, PlannedClip] = {}
    for clip in plan.clips:
        if clip.role is ClipRole.FOREGROUND:
            ends[-(-(clip.offset + clip.length) // c.CHUNK_SAMPLES)] = clip
    for chunk in sorted({*ends, *answers, plan.chunks}):
        response = answers.get(chunk)
        yield chunk, response.text if response else "", plan.clips[response.event] if response else ends.get(chunk)


class ScaperWriter:
    """Writes a JAMS file per stream in scaper's format, with its clips and audio; `scaper.generate_from_jams` can mix it."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder
        index = ClipIndex.open(Path(record.clips))
        index.require(record.clip_index_hash)
        self.pool = pool_of(build, index, record.recipe)
        for name in ("audio", "clips"):
            (folder / name).mkdir()

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Write one stream. Times are in seconds; SNRs are against the first noise track, which is scaper's background."""
        _write(self.folder / "audio" / f"{plan.sample_id}.wav", pcm)
        first = plan.noises[0].snr_db if plan.noises else 0.0
        rows = []
        for clip in plan.clips:
            path, _ = self._clip(clip)
            rows.append(_event(path, "foreground", clip.label, (clip.start, clip.offset, clip.length), first + clip.gain_db))
        for number, noise in enumerate(plan.noises):
            path, size = self._clip(noise)
            if not number:  # scaper repeats the background itself
                rows.append(_event(path, "background", noise.label, (0, 0, plan.samples), 0.0))
                continue
            start, offset = noise.start % size, 0
            while offset < plan.samples:
                length = min(size - start, plan.samples - offset)
                rows.append(_event(path, "foreground", noise.label, (start, offset, length), first - noise.snr_db))
                start, offset = 0, offset + length
        document = _jams(plan, sorted(rows, key=lambda row: (row["time"], row["value"]["label"])))
        (self.folder / f"{plan.sample_id}.jams").write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")

    def _clip(self, item: PlannedClip | PlannedNoise) -> tuple[str, int]:
        """Write the cleaned samples unless they are written already. Return their path and number."""
        name = item.clean_sha256 or hashlib.sha256(str(item.label).encode()).hexdigest()
        path = self.folder / "clips" / f"{name}.wav"
        if not path.exists():
            made = item.procedural if isinstance(item, PlannedNoise) else None
            samples = procedural(made) if made else self.pool.audio(self.pool.get(str(item.clip_id)))
            _write(path, to_pcm16(samples))
        return f"clips/{path.name}", soundfile.info(path).frames


def _event(path: str, role: str, label: str, place: tuple[int, int, int], snr: float) -> dict[str, Any]:
    """Return a JAMS observation. `place`: start in the clip, offset in the stream, length; all in samples."""
    start, offset, length = place
    value = {
        "label": label,
        "source_file": path,
        "source_time": start / c.SAMPLE_RATE,
        "event_time": offset / c.SAMPLE_RATE,
        "event_duration": length / c.SAMPLE_RATE,
        "snr": snr,
        "role": role,
        "pitch_shift": None,
        "time_stretch": None,
    }
    return {"time": value["event_time"], "duration": value["event_duration"], "value": value, "confidence": 1.0}


def _jams(plan: StreamPlan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    responses = [{"chunk": one.chunk, "time": one.chunk * c.CHUNK_SECONDS, "text": one.text} for one in plan.responses]
    about = {
        "curator": {"name": "", "email": ""},
        "version": "1",
        "corpus": f"soundflow {plan.fingerprint[:12]}",
        "annotator": {},
        "annotation_tools": "SoundFlow",
        "annotation_rules": "",
        "validation": "",
        "data_source": plan.planner,
    }
    annotation = {
        "namespace": "scaper",
        "time": 0,
        "duration": plan.seconds,
        "annotation_metadata": about,
        "data": rows,
        "sandbox": {
            "scaper": {
                "duration": plan.seconds,
                "original_duration": plan.seconds,
                "fg_path": ".",
                "bg_path": ".",
                "protected_labels": [],
                "sr": c.SAMPLE_RATE,
                "ref_db": c.REFERENCE_LEVEL_DBFS - (plan.noises[0].snr_db if plan.noises else 0.0),
                "n_channels": 1,
                "fade_in_len": 0.0,
                "fade_out_len": 0.0,
                "reverb": None,
            },
            "soundflow": {"sample_id": plan.sample_id, "instruction": plan.instruction, "responses": responses},
        },
    }
    metadata = {
        "title": plan.title,
        "artist": "",
        "release": "",
        "duration": plan.seconds,
        "identifiers": {"soundflow": plan.sample_id},
        "jams_version": "0.3.4",
    }
    return {"annotations": [annotation], "file_metadata": metadata, "sandbox": {}}


WRITERS: Final[dict[str, Any]] = {"moshi": MoshiWriter, "authors": AuthorsWriter, "scaper": ScaperWriter}


def _write(path: Path, pcm: Pcm) -> None:
    try:
        soundfile.write(path, pcm, c.SAMPLE_RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:  # libsndfile does not distinguish a full disk from other errors
        raise OSError(f"{path} cannot be written ({error}). Is the disk full?") from error


def _line(path: Path, document: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(document, ensure_ascii=False) + "\n")
