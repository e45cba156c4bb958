"""`soundflow export moshi|authors|scaper`: a build as the files other systems read, one or a few per stream.

Text that nobody has spoken stays text: where a format wants the assistant's voice there is silence, and README.txt says so.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
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
from soundflow.pipeline.curate.scenes import pool_of
from soundflow.pipeline.mechanics.stopping import noted_signals
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.pcm16 import to_pcm16
from soundflow.schemas.shard import BuildRecord
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan

Pcm = NDArray[np.int16]
SILENT_TURN: Final = "<no need to response>"
"""The authors' answer where nothing is said (their release; the spelling is theirs)."""
WORDS_PER_SECOND: Final = 2.5
"""Of a response that was not spoken: the pace its words are given in a moshi transcript."""
READMES: Final = {
    "moshi": f"""\
Stereo for moshi-finetune: data.jsonl names WAVs of 16 kHz with a .json each. Right: what is heard. Left: the assistant, SILENT,
since these responses are text that was not spoken. Their words begin when the response opens and run at
{WORDS_PER_SECOND:g} a second, which is not a measured time.
""",
    "authors": f"""\
conversations.jsonl: {{conversation: [{{audio_path, assistant}}]}}, a turn for each foreground sound and each response; one
that wants none is {SILENT_TURN!r}. corpus.jsonl: {{id, stream_scene_type, num_turns, turns}}. Emotions stand where known.
""",
    "scaper": """\
JAMS with the namespace `scaper`; clips/ holds the cleaned clips they name, audio/ the streams as SoundFlow mixed them. In this
folder scaper.generate_from_jams("X.jams", "X.wav") mixes one again (elsewhere: fg_path and bg_path are this folder), with events
at the same times; it levels by loudness (LUFS) where SoundFlow goes by power, repeats noise without crossfades, and the second
noise track is events.
""",
}


def export_files(
    kind: str,
    directory: Path,
    to: Path,
    on_event: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Write every committed stream of a build into the new folder `to`; how many. `kind`: a key of `WRITERS`.

    Raises InputError when nothing is committed or `to` is there, OSError, Interrupted; a broken-off folder is removed.
    """
    build = BuildDir(directory)
    record = build.record()
    manifests = list(build.committed(record.fingerprint).values())
    total, done = sum(len(manifest.keys) for manifest in manifests), 0
    if not total:
        raise InputError("has no committed stream yet", file=directory, remedy="Run `soundflow build` first")
    if to.exists():
        raise InputError("is there already", file=to, remedy="Choose another place, or remove it")
    aside = to.with_name(f"_tmp-{to.name}")
    shutil.rmtree(aside, ignore_errors=True)
    samples = Samples(build, record)
    with noted_signals() as signalled:
        stop = should_stop or signalled
        try:
            aside.mkdir(parents=True)
            (aside / "README.txt").write_text(READMES[kind], encoding="utf-8")
            writer = WRITERS[kind](aside, build, record)
            for manifest in manifests:
                for _, members in samples.read(manifest):
                    if stop():
                        raise Interrupted
                    pcm, _ = soundfile.read(io.BytesIO(members[samples.audio]), dtype="int16")
                    writer.add(StreamPlan.from_json(members["json"]), pcm)
                    done += 1
                    on_event(done, total)
            aside.replace(to)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return done


class Moshi:
    """moshi-finetune: `data.jsonl` of {path, duration}; beside each stereo WAV a .json with `alignments`."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder
        (folder / "data_stereo").mkdir()

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Left the assistant, right what is heard."""
        path = self.folder / "data_stereo" / f"{plan.sample_id}.wav"
        _write(path, np.stack([np.zeros_like(pcm), pcm], axis=1))
        path.with_suffix(".json").write_text(json.dumps({"alignments": list(_words(plan))}, ensure_ascii=False), encoding="utf-8")
        _line(self.folder / "data.jsonl", {"path": f"data_stereo/{path.name}", "duration": plan.seconds})


def _words(plan: StreamPlan) -> Iterator[list[Any]]:
    """[word, [start, end] in seconds, speaker], in order; a response ends where the next begins."""
    opens = [response.chunk * c.CHUNK_SECONDS for response in plan.responses]
    for response, (start, limit) in zip(plan.responses, pairwise([*opens, float("inf")]), strict=True):
        words = response.text.split()
        step = min(1 / WORDS_PER_SECOND, (limit - start) / max(len(words), 1))
        for number, word in enumerate(words):
            yield [word, [round(start + number * step, 3), round(start + (number + 1) * step, 3)], "SPEAKER_MAIN"]


class Authors:
    """The conversation JSONL of the paper's own release, and its corpus rows."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Cut at the end of every foreground sound and at every response."""
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
    """(last chunk, response, the foreground sound that ended last or is answered), up to the end of the stream."""
    answers = {response.chunk: response for response in plan.responses}
    ends: dict[int, PlannedClip] = {}
    for clip in plan.clips:
        if clip.role is ClipRole.FOREGROUND:
            ends[-(-(clip.offset + clip.length) // c.CHUNK_SAMPLES)] = clip
    for chunk in sorted({*ends, *answers, plan.chunks}):
        said = answers.get(chunk)
        yield chunk, said.text if said else "", plan.clips[said.event] if said else ends.get(chunk)


class Scaper:
    """A JAMS file per stream, as scaper writes them, with clips and stream beside it: `scaper.generate_from_jams` mixes them."""

    def __init__(self, folder: Path, build: BuildDir, record: BuildRecord):
        self.folder = folder
        self.pool = pool_of(build, ClipIndex.open(Path(record.clips)))
        for name in ("audio", "clips"):
            (folder / name).mkdir()

    def add(self, plan: StreamPlan, pcm: Pcm) -> None:
        """Times in seconds; SNRs against the first noise track, which is scaper's background."""
        _write(self.folder / "audio" / f"{plan.sample_id}.wav", pcm)
        first = plan.noises[0].snr_db if plan.noises else 0.0
        rows = []
        for clip in plan.clips:
            path, _ = self._clip(clip)
            rows.append(_event(path, "foreground", clip.label, (clip.start, clip.offset, clip.length), first + clip.gain_db))
        for number, noise in enumerate(plan.noises):
            path, size = self._clip(noise)
            if not number:  # scaper repeats its background itself
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
        """Where its cleaned samples lie, written once; and how many they are."""
        name = item.clean_sha256 or hashlib.sha256(str(item.label).encode()).hexdigest()
        path = self.folder / "clips" / f"{name}.wav"
        if not path.exists():
            made = item.procedural if isinstance(item, PlannedNoise) else None
            samples = procedural(made) if made else self.pool.audio(self.pool.get(str(item.clip_id)))
            _write(path, to_pcm16(samples))
        return f"clips/{path.name}", soundfile.info(path).frames


def _event(path: str, role: str, label: str, place: tuple[int, int, int], snr: float) -> dict[str, Any]:
    """`place`: start in the clip, offset in the stream, length."""
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
    responses = [{"chunk": said.chunk, "time": said.chunk * c.CHUNK_SECONDS, "text": said.text} for said in plan.responses]
    nobody = {"name": "", "email": ""}
    about = {
        "curator": nobody,
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


WRITERS: Final[dict[str, Any]] = {"moshi": Moshi, "authors": Authors, "scaper": Scaper}


def _write(path: Path, pcm: Pcm) -> None:
    try:
        soundfile.write(path, pcm, c.SAMPLE_RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:  # libsndfile does not tell a full disk from other troubles
        raise OSError(f"{path} cannot be written ({error}): is the disk full?") from error


def _line(path: Path, document: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(document, ensure_ascii=False) + "\n")
