"""The data of a report: totals, tables and histograms over all plans of a build, and a few streams to play.

Plans are read one by one and only counts are kept, so that memory does not grow with the number of streams.
"""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib
import matplotlib.image
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.committed import committed_shards
from soundflow.pipeline.report.curation import curation_data, story
from soundflow.pipeline.report.labels import LabelTable
from soundflow.pipeline.report.speech import rejected_transcripts, speech_data
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.licences import UNKNOWN, licence_id, licences_of, objection
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import Capability, Task

EDGES: Final[dict[str, tuple[str, list[float]]]] = {
    "rounds": ("Foreground events per stream", [*range(1, 17), 24, 32, 64]),
    "seconds": ("Duration of a stream (s)", [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 90, 120, 240, 480, 1800]),
    "silence": ("Share of silent chunks (%)", list(range(0, 101, 5))),
    "tokens": ("Tokens per response", [1, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 64, 128]),
    "snr_event": ("SNR of the event noise (dB)", list(np.arange(-5, 41, 2.5))),
    "snr_ambient": ("SNR of the ambient noise (dB)", list(np.arange(-5, 41, 2.5))),
    "lag": ("Response delay after the evidence (ms)", [0, 50, 100, 150, 200, 250, 300, 350, 400, 800, 1200, 2400]),
    "reuse": ("Uses per clip", [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100, 1000]),
}
"""Histograms: title and bin edges. Values above the last edge are counted in the last bin."""
WAVE_POINTS: Final = 900
SPECTRUM_ROWS: Final = 96


@dataclass(slots=True)
class TaskCount:
    """One row of the sub-task table."""

    streams: int = 0
    chunks: int = 0
    responses: int = 0
    rounds: int = 0
    tokens: int = 0
    """Tokens of all responses."""


@dataclass(slots=True)
class SourceCount:
    """One row of the table of sources and licences."""

    uses: int = 0
    samples: int = 0
    clips: set[str] = field(default_factory=set)
    attributions: set[str] = field(default_factory=set)


class Statistics:
    """Counts over plans."""

    def __init__(self) -> None:
        self.tasks: dict[Task, TaskCount] = defaultdict(TaskCount)
        self.sources: dict[tuple[str, str], SourceCount] = defaultdict(SourceCount)
        self.histograms = {name: np.zeros(len(edges) - 1, dtype=np.int64) for name, (_, edges) in EDGES.items()}
        self.planners: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.labels = LabelTable()
        self.spoken: set[str] = set()
        """Ids of the speech clips in use."""
        self._tokenizer = QwenTokenizer.load()

    def add(self, plan: StreamPlan) -> None:
        """Count one plan."""
        self.labels.add(plan)
        rounds = sum(clip.role == "foreground" for clip in plan.clips)
        row = self.tasks[plan.task]
        row.streams += 1
        row.chunks += plan.chunks
        row.responses += len(plan.responses)
        row.rounds += rounds
        self.planners[plan.planner] += 1
        self._count("rounds", rounds)
        self._count("seconds", plan.seconds)
        self._count("silence", 100 * (1 - len(plan.responses) / plan.chunks))
        for response in plan.responses:
            self.answers[response.source] += 1
            tokens = len(self._tokenizer.encode(response.text))
            row.tokens += tokens
            self._count("tokens", tokens)
            self._count("lag", (response.chunk * c.CHUNK_SAMPLES - response.pieces[-1].evidence) / c.SAMPLE_RATE * 1000)
        for noise in plan.noises:
            self._count(f"snr_{noise.track}", noise.snr_db)
            self._source(noise.source, noise.licence, noise.attribution, noise.clip_id or noise.label, plan.samples)
        for clip in plan.clips:
            self._source(clip.source, clip.licence, clip.attribution, clip.clip_id, clip.length)
            if clip.transcript:
                self.spoken.add(clip.clip_id)

    def _count(self, name: str, value: float) -> None:
        edges = EDGES[name][1]
        place = int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2))
        self.histograms[name][place] += 1

    def _source(self, source: str, licence: str, attribution: str, clip: str, samples: int) -> None:
        row = self.sources[source, licence_id(licence)]
        row.uses += 1
        row.samples += samples
        row.clips.add(clip)
        row.attributions |= {attribution} - {""}

    def to_json(self) -> dict[str, Any]:
        """Return the tables and histograms of the page."""
        self.histograms["reuse"][:] = 0
        for uses in self.labels.uses.values():
            self._count("reuse", uses)
        return {
            "tasks": [
                {
                    "capability": task.capability.value,
                    "task": task.value,
                    "streams": row.streams,
                    "hours": row.chunks * c.CHUNK_SECONDS / 3600,
                    "rounds": row.rounds / row.streams,
                    "seconds": row.chunks * c.CHUNK_SECONDS / row.streams,
                    "responses": row.responses,
                    "tokens": row.tokens / max(row.responses, 1),
                    "per_minute": row.responses / (row.chunks * c.CHUNK_SECONDS / 60),
                    "silence": 1 - row.responses / row.chunks,
                }
                for task, row in sorted(self.tasks.items(), key=lambda entry: _order(entry[0]))
            ],
            "sources": [
                {
                    "source": source,
                    "licence": licence,
                    "clips": len(row.clips),
                    "uses": row.uses,
                    "hours": row.samples / c.SAMPLE_RATE / 3600,
                    "attribution": "; ".join(sorted(row.attributions)),
                    "note": _note(source, licence),
                }
                for (source, licence), row in sorted(self.sources.items())
            ],
            "histograms": [
                {"title": title, "edges": [float(edge) for edge in edges], "counts": self.histograms[name].tolist()}
                for name, (title, edges) in EDGES.items()
            ],
            "planners": dict(sorted(self.planners.items())),
            "answers": dict(sorted(self.answers.items())),
        }


def _order(task: Task) -> tuple[int, int]:
    """Return the sort key of a sub-task: its capability's position in the taxonomy, then its own."""
    return list(Capability).index(task.capability), list(Task).index(task)


def _note(source: str, licence: str) -> str:
    if source == "procedural":
        return "synthesised, not a recording"
    if licence == UNKNOWN:
        return "licence unknown: do not redistribute"
    parts = licences_of(licence)
    if why := next(filter(None, map(objection, parts)), ""):
        return f"{why}: do not redistribute"
    return "share-alike: derived streams must carry this licence" if any(part.share_alike for part in parts) else ""


def collect(build: BuildDir, samples: int) -> dict[str, Any]:
    """Return all data of the page. Raises InputError when no stream is committed yet, ShardError when a shard is damaged.

    Only the sizes of the tars are compared with their manifests, since hashing a whole corpus takes long.
    """
    record, status = build.record(), build.status()
    manifests = committed_shards(build, record)
    if not any(manifest.keys for manifest in manifests):
        raise InputError("has no committed stream yet", file=build.root, remedy="Run `soundflow build` first")
    statistics = Statistics()
    samples_of = Samples(build, record)
    by_task: dict[Task, list[tuple[int, str]]] = defaultdict(list)
    for plan in (plan for manifest in manifests for plan in samples_of.plans(manifest, verify=False)):
        statistics.add(plan)
        if len(by_task[plan.task]) < samples:
            by_task[plan.task].append((plan.shard, plan.sample_id))
    chunks, responses = sum(m.chunks for m in manifests), sum(m.responses for m in manifests)
    redraws: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for manifest in manifests:
        redraws.update(manifest.redraws)
        rejected.update(entry.reason for entry in manifest.rejected)
    return {
        "name": record.recipe.name,
        "description": record.recipe.description,
        "fingerprint": record.fingerprint,
        "version": record.soundflow_version,
        "status": status.model_dump(mode="json"),
        "planned_streams": record.recipe.streams,
        "chunks": chunks,
        "responses": responses,
        "redraws": dict(sorted(redraws.items())),
        "rejected": dict(sorted(rejected.items())),
        **statistics.to_json(),
        **statistics.labels.to_json(record.recipe),
        "curation": curation_data(build, manifests),
        "voices": speech_data(Path(record.clips), record.clip_index_hash, statistics.spoken),
        "rejected_transcripts": rejected_transcripts(Path(record.clips), record.clip_index_hash, statistics.spoken),
        "samples": list(_streams(samples_of, manifests, _chosen(by_task, samples))),
    }


def _chosen(by_task: dict[Task, list[tuple[int, str]]], samples: int) -> list[tuple[int, str]]:
    """Choose (shard, id) of `samples` streams, in the order of the taxonomy.

    Every sub-task gets one stream before any gets a second one, and every capability before one gets two.
    """
    seen: Counter[Capability] = Counter()
    ranked = []
    for task in sorted(by_task, key=_order):
        seen[task.capability] += 1
        ranked += [(number, seen[task.capability], _order(task), place) for number, place in enumerate(by_task[task])]
    chosen = sorted(ranked)[:samples]
    return [place for *_, place in sorted(chosen, key=lambda entry: (entry[2], entry[0]))]


def _streams(samples: Samples, manifests: list[ShardManifest], chosen: list[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    committed = {manifest.shard: manifest for manifest in manifests}
    found: dict[str, dict[str, Any]] = {}
    for shard in {shard for shard, _ in chosen}:
        for key in {key for place, key in chosen if place == shard}:
            found[key] = _stream(samples, committed[shard], samples.find(committed[shard], key))
    yield from (found[key] for _, key in chosen)


def _stream(samples: Samples, manifest: ShardManifest, members: dict[str, bytes]) -> dict[str, Any]:
    """Return one stream for the player: plan, audio, outline of the waveform, image of the spectrogram."""
    plan, kind = StreamPlan.from_json(members["json"]), samples.audio
    audio = from_pcm16(samples.pcm(manifest, plan, members[kind]))
    pieces = np.array_split(audio, min(WAVE_POINTS, audio.size))
    responses = [
        response.model_dump(mode="json", exclude={"pieces"})
        | {"event": response.event, "source": response.source, "evidence": response.pieces[-1].evidence}
        for response in plan.responses
    ]
    return plan.model_dump(mode="json", exclude={"fingerprint", "draws", "responses"}) | {
        "responses": responses,
        "story": story(samples.build, plan),
        "seconds": plan.seconds,
        "wave": [[round(float(piece.min()), 3), round(float(piece.max()), 3)] for piece in pieces],
        "spectrum": _data_uri("image/png", spectrum_png(audio)),
        "audio": _data_uri(f"audio/{kind}", members[kind]),
    }


def spectrum_png(audio: NDArray[np.float32]) -> bytes:
    """Return a PNG of the log-frequency spectrogram, without axes: 96 bands from 60 Hz to 8 kHz, columns of 25 ms or more."""
    hop = max(400, -(-audio.size // 1400))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, (0, 512)), 512)[::hop]
    power = np.abs(scipy.fft.rfft(frames * np.hanning(512).astype(np.float32), axis=1, workers=1)) ** 2
    edges = np.geomspace(60, 8000, SPECTRUM_ROWS + 1) / (c.SAMPLE_RATE / 512)
    rows = [power[:, int(low) : max(int(high), int(low) + 1)].mean(axis=1) for low, high in pairwise(edges)]
    levels = 10 * np.log10(np.maximum(np.stack(rows[::-1]), 1e-9))
    top = float(np.percentile(levels, 99.7))
    picture = matplotlib.colormaps["magma"](np.clip((levels - top + 65) / 65, 0, 1), bytes=True)[:, :, :3]
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png", metadata={"Software": "SoundFlow"})
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
