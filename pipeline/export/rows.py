"""A stream as one row of a dataset: the most used fields as columns, and the complete plan."""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa

from soundflow.schemas import constants as c
from soundflow.schemas.stream import PlannedClip, StreamPlan

_RESPONSE: Final = {"chunk": "int32", "time": "float64", "text": "string", "source": "string"}
_EVENT: Final = {
    "role": "string", "kind": "string", "label": "string", "caption": "string", "transcript": "string", "start": "float64",
    "end": "float64", "clip": "string", "source": "string", "licence": "string", "attribution": "string",
}  # fmt: skip
_NOISE: Final = {
    "track": "string", "label": "string", "snr_db": "float64", "clip": "string", "source": "string", "licence": "string",
    "attribution": "string",
}  # fmt: skip
_LISTS: Final = {"responses": _RESPONSE, "events": _EVENT, "noises": _NOISE}
_SCALARS: Final = {
    "id": "string", "task": "string", "title": "string", "instruction": "string", "planner": "string", "seconds": "float64",
    "chunks": "int32", "silence": "float64", "plan": "string",
}  # fmt: skip


def _type(name: str) -> Any:
    return {"string": pa.string(), "float64": pa.float64(), "int32": pa.int32()}[name]


def _features() -> dict[str, Any]:
    """Return the features as `datasets` stores them in parquet files, so that it decodes the audio column."""
    features: dict[str, Any] = {name: {"dtype": kind, "_type": "Value"} for name, kind in _SCALARS.items()}
    features["audio"] = {"sampling_rate": c.SAMPLE_RATE, "_type": "Audio"}
    for name, fields in _LISTS.items():
        features[name] = {"feature": {key: {"dtype": kind, "_type": "Value"} for key, kind in fields.items()}, "_type": "List"}
    features["licences"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    return {name: features[name] for name in COLUMNS}


COLUMNS: Final = (
    "id", "audio", "task", "title", "instruction", "responses", "events", "noises", "seconds", "chunks", "silence", "planner",
    "licences", "plan",
)  # fmt: skip
SCHEMA: Final = pa.schema(
    [
        pa.field(name, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        if name == "audio"
        else pa.field(name, pa.list_(pa.string()))
        if name == "licences"
        else pa.field(name, pa.list_(pa.struct([(key, _type(kind)) for key, kind in _LISTS[name].items()])))
        if name in _LISTS
        else pa.field(name, _type(_SCALARS[name]))
        for name in COLUMNS
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _features()}})},
)


def row(plan: StreamPlan, audio: bytes, suffix: str) -> dict[str, Any]:
    """Return the row of a stream. Times are in seconds; a response opens at the end of its chunk."""
    return {
        "id": plan.sample_id,
        "audio": {"bytes": audio, "path": f"{plan.sample_id}.{suffix}"},
        "task": plan.task.value,
        "title": plan.title,
        "instruction": plan.instruction,
        "responses": [
            {
                "chunk": response.chunk,
                "time": response.chunk * c.CHUNK_SECONDS,
                "text": response.text,
                "source": response.source,
            }
            for response in plan.responses
        ],
        "events": [_event(clip) for clip in plan.clips],
        "noises": [
            {
                "track": noise.track,
                "label": noise.label,
                "snr_db": noise.snr_db,
                "clip": noise.clip_id or noise.procedural,
                "source": noise.source,
                "licence": noise.licence,
                "attribution": noise.attribution,
            }
            for noise in plan.noises
        ],
        "seconds": plan.seconds,
        "chunks": plan.chunks,
        "silence": 1 - len(plan.responses) / plan.chunks,
        "planner": plan.planner,
        "licences": plan.licences(),
        "plan": plan.canonical_json().decode(),
    }


def _event(clip: PlannedClip) -> dict[str, Any]:
    names = ("kind", "label", "caption", "transcript", "source", "licence", "attribution")
    begin, end = (place / c.SAMPLE_RATE for place in (clip.offset, clip.offset + clip.length))
    return {name: getattr(clip, name) for name in names} | {
        "role": clip.role.value,
        "start": begin,
        "end": end,
        "clip": clip.clip_id,
    }
