"""False alarms per hour on long real recordings (paper, App. realworld), without cleaning or leveling.

Labels of a recording are next to it (`kitchen.txt` for `kitchen.wav`) as Audacity exports them: start, end (seconds) and RESPOND
or IGNORE, separated by tabs; text after the decision is a note. A response belongs to the label in whose span it opens; the span
ends SLACK_SECONDS after the label. A response outside the RESPOND spans is a false alarm. The folder of a recording is its
scenario.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from soundflow.bench.harness.collect import RunProgress, checkpoint_identity, collect_local
from soundflow.bench.harness.grid import Grid, percent
from soundflow.bench.harness.predictions import Predictions
from soundflow.bench.harness.sounds import level_db, load
from soundflow.bench.proactive.metadata import Decision, parse_decision
from soundflow.bench.proactive.prompt import instruction
from soundflow.bench.proactive.results import DrawnTake, Result
from soundflow.operators.clean.clip_cache import file_sha256
from soundflow.operators.sources.folder import RECORDINGS
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError

if TYPE_CHECKING:
    from soundflow.model.device import Placement

SLACK_SECONDS: Final = 2.0
"""Time after the end of a sound in which a response still belongs to it."""
BIN_SECONDS: Final = 2.0
"""Width of the bins over which silence is averaged (as in the paper)."""
COLUMNS: Final = {
    "trigger_accuracy": "trigger accuracy, %",
    "recall": "recall, %",
    "specificity": "specificity, %",
    "precision": "precision, %",
    "false_alarms_per_hour": "false alarms/h",
    "responses_per_hour": "responses/h",
    "silence": "silence, %",
    "hours": "hours",
}
"""Rate → its name in tables."""


@dataclass(frozen=True, slots=True)
class Label:
    """A labelled sound of a recording."""

    start: float
    end: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class AnnotatedRecording:
    """A recording and its labels."""

    id: str
    path: Path
    labels: tuple[Label, ...] | None
    """None if there are no labels; then only responses are counted."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of its row."""
        return (self.id,)

    @property
    def scenario(self) -> str:
        """Folder of the recording."""
        return self.id.rpartition("/")[0] or "all"


@dataclass(slots=True)
class RecordingCounts:
    """Counts over recordings."""

    respond_labels: int = 0
    answered: int = 0
    """RESPOND labels with a response."""
    ignore_labels: int = 0
    ignored: int = 0
    """IGNORE labels without a response."""
    responses: int = 0
    judged: int = 0
    """Responses in recordings with labels."""
    false_alarms: int = 0
    seconds: float = 0.0
    labelled_seconds: float = 0.0
    bins: list[float] = field(default_factory=list)
    """Share of silent chunks in each bin."""

    def to_json(self) -> dict[str, float | None]:
        """Return the rates; None where a rate is undefined."""
        return {
            "trigger_accuracy": _share(self.answered + self.ignored, self.respond_labels + self.ignore_labels),
            "recall": _share(self.answered, self.respond_labels),
            "specificity": _share(self.ignored, self.ignore_labels),
            "precision": _share(self.judged - self.false_alarms, self.judged),
            "false_alarms_per_hour": _rate(self.false_alarms, self.labelled_seconds),
            "responses_per_hour": _rate(self.responses, self.seconds),
            "silence": float(np.mean(self.bins)) if self.bins else None,
            "hours": self.seconds / 3600,
            "labels": float(self.respond_labels + self.ignore_labels),
        }


def read_recordings(folder: Path) -> list[AnnotatedRecording]:
    """Read all recordings below `folder` with their labels; raises InputError for invalid labels or if there is no recording."""
    paths = (
        sorted(path for path in folder.rglob("*") if path.suffix.lower().removeprefix(".") in RECORDINGS)
        if folder.is_dir()
        else []
    )
    if not paths:
        raise InputError("contains no recordings", file=folder, remedy="Name a folder of wav, flac, ogg or mp3 files")
    return [
        AnnotatedRecording(
            path.relative_to(folder).as_posix(), path, _labels(path.with_suffix(".txt"), load(path).size / c.SAMPLE_RATE)
        )
        for path in paths
    ]


def run_recordings(
    takes: Sequence[AnnotatedRecording], out: Path, checkpoint: Path, threshold: float = 0.5, placement: Placement | None = None
) -> RunProgress:
    """Play each recording to a checkpoint as one stream. `out` receives run.json and predictions.jsonl."""
    from soundflow.bench.harness.stream_player import StreamPlayer

    text = instruction()
    record = {
        "benchmark": "recordings",
        "takes": [[take.id, file_sha256(take.path)] for take in takes],
        "tester": "runtime",
        "checkpoint": checkpoint_identity(checkpoint, placement),
        "threshold": threshold,
        "instruction": text,
    }
    with Predictions(out, record) as predictions:
        player = StreamPlayer.load(checkpoint, placement, threshold)
        chunk = player.model.streaming.chunk_samples

        def answer(take: AnnotatedRecording) -> list[dict[str, Any]]:
            samples = load(take.path)
            samples = samples[: len(samples) // chunk * chunk]  # the runtime never decides on a partial chunk
            if not samples.size:
                raise InputError("is shorter than one chunk", file=take.path, remedy="Remove it from the folder")
            played = player.play([samples], text, 0.0)[0]
            return [
                {
                    "id": take.id,
                    "seconds": len(samples) / c.SAMPLE_RATE,
                    "chunk_seconds": chunk / c.SAMPLE_RATE,
                    "chunks": [round(chance, 4) for chance in played.probabilities],
                    "levels": [round(level_db(piece), 2) for piece in samples.reshape(-1, chunk)],
                    "said": [{"chunk": one.chunk, "text": one.text} for one in played.responses],  # a stored name
                }
            ]

        return collect_local(predictions, takes, answer)


def recording_rates(takes: Sequence[AnnotatedRecording], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rates of the model and of trivial detectors over all recordings with a row, and of the model by scenario."""
    scenarios = sorted({take.scenario for take in takes})
    played = [take for take in takes if take.id in rows]
    found: dict[str, dict[str, Any]] = {"model": _rates(played, rows, _response_chunks)}
    found["always respond"] = _rates(played, rows, lambda row: list(range(len(row["chunks"]))))
    found["never respond"] = _rates(played, rows, lambda row: [])
    found["energy threshold"] = _rates(played, rows, _loud_chunks)
    for scenario in scenarios:
        found[f"  {scenario}"] = _rates([take for take in played if take.scenario == scenario], rows, _response_chunks)
    return found


def recordings_result(takes: Sequence[AnnotatedRecording], rows: Mapping[str, Mapping[str, Any]], model: str) -> Result:
    """Return the result of a run on recordings, in percent and per hour, with the data of its plot."""
    found = recording_rates(takes, rows)
    table = {
        name if name != "model" else model: {
            column: percent(rates[key]) if column.endswith("%") else rates[key] for key, column in COLUMNS.items()
        }
        for name, rates in found.items()
    }
    drawn = [
        DrawnTake(
            id=take.id,
            seconds=float(rows[take.id]["seconds"]),
            labels=tuple((label.start, label.end, label.decision.value) for label in take.labels or ()),
            said=tuple(
                round((chunk + 1) * float(rows[take.id]["chunk_seconds"]), 3) for chunk in _response_chunks(rows[take.id])
            ),
        )
        for take in takes
        if take.id in rows
    ]
    unlabelled = sum(take.labels is None for take in takes)
    return Result(
        benchmark="recordings",
        mode="as they are",
        model=model,
        tester="runtime",
        figures=table[model],
        n=len(takes),
        missing=len(takes) - len(drawn),
        complete=len(drawn) == len(takes),
        grid=Grid.of(table),
        takes=tuple(drawn),
        notes=(f"{unlabelled} recordings have no labels; only their responses are counted",) if unlabelled else (),
    )


def _rates(takes: Sequence[AnnotatedRecording], rows: Mapping[str, Mapping[str, Any]], choose: Any) -> dict[str, Any]:
    total = RecordingCounts()
    for take in takes:
        _count(total, take, rows[take.id], choose(rows[take.id]))
    return total.to_json()


def _count(total: RecordingCounts, take: AnnotatedRecording, row: Mapping[str, Any], chunks: Sequence[int]) -> None:
    """Add the counts of a recording. A response opens at the end of its chunk."""
    size, seconds = float(row["chunk_seconds"]), float(row["seconds"])
    times = [(chunk + 1) * size for chunk in chunks]
    total.responses += len(times)
    total.seconds += seconds
    silent = np.ones(len(row["chunks"]), dtype=bool)
    silent[list(chunks)] = False
    per_bin = max(round(BIN_SECONDS / size), 1)
    total.bins += [float(silent[start : start + per_bin].mean()) for start in range(0, len(silent), per_bin)]
    if take.labels is None:
        return
    total.labelled_seconds += seconds
    total.judged += len(times)
    used: set[int] = set()
    for label in sorted(take.labels, key=lambda label: label.decision is Decision.IGNORE):  # RESPOND labels come first
        inside = {number for number, time in enumerate(times) if label.start <= time <= label.end + SLACK_SECONDS}
        if label.decision is Decision.RESPOND:
            total.respond_labels += 1
            total.answered += bool(inside)
            used |= inside
        else:
            total.ignore_labels += 1
            total.ignored += not inside - used
    total.false_alarms += len(times) - len(used)


def _response_chunks(row: Mapping[str, Any]) -> list[int]:
    return [int(one["chunk"]) for one in row["said"]]


def _loud_chunks(row: Mapping[str, Any]) -> list[int]:
    """Return the chunks at which the level rises above the 90th percentile of the recording."""
    levels = np.array(row["levels"])
    above = levels > np.quantile(levels, 0.9)
    return [int(place) for place in np.flatnonzero(above & ~np.concatenate([[False], above[:-1]]))]


def _labels(path: Path, seconds: float) -> tuple[Label, ...] | None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", file=path, remedy="Export the labels again as UTF-8") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # Audacity's second line of a spectral label
            continue
        found.append(_label(line, f"{path}, line {number}"))
        if found[-1].start > seconds:
            why = f"the label begins after the end of the recording ({seconds:.1f} s)"
            raise InputError(
                why, file=f"{path}, line {number}", value=line, remedy="Check that the labels belong to this recording"
            )
    return tuple(sorted(found, key=lambda label: label.start))


def _label(line: str, where: str) -> Label:
    cells = line.split("\t")
    remedy = "Write start, end (seconds) and RESPOND or IGNORE, separated by tabs"
    decision = parse_decision(cells[2].strip().partition(" ")[0].rstrip(":,")) if len(cells) >= 3 else None
    if decision is None:
        raise InputError("is not a label", file=where, value=line, remedy=remedy)
    try:
        start, end = float(cells[0]), float(cells[1])
    except ValueError:
        raise InputError("the times are not numbers", file=where, value=line, remedy=remedy) from None
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise InputError("the times are negative, infinite or in the wrong order", file=where, value=line, remedy=remedy)
    return Label(start, end, decision)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rate(count: int, seconds: float) -> float | None:
    return count / (seconds / 3600) if seconds else None
