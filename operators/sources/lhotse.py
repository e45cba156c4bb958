"""Lines of lhotse manifests (cuts, supervisions, recordings) as rows of a clip manifest.

A cut becomes one row. A supervision becomes one row too; its recording is looked up in the file of recordings beside it. Shapes:
https://lhotse.readthedocs.io/en/latest/corpus.html and cuts.html.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from soundflow.schemas.documents import json_value

Values = Mapping[str, Any]
_SLACK: Final = 0.05
"""Seconds by which a supervision may exceed its cut."""


def is_lhotse(values: Values) -> bool:
    """Return whether a JSON object is a cut, supervision or recording of lhotse."""
    is_cut = isinstance(values.get("supervisions"), list) and ("recording" in values or "type" in values)
    is_recording = isinstance(values.get("sources"), list) and "sampling_rate" in values
    return is_cut or is_recording or ("recording_id" in values and "start" in values) or values.get("type") == "MixedCut"


class LhotseManifest:
    """Converts the objects of one manifest; reads the recordings of supervisions on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recordings: dict[str, Values] | None = None

    def rows(self, values: Values) -> Iterator[Values | str]:
        """Yield the row of an object, or `reason: detail`."""
        if values.get("type") in ("MixedCut", "PaddingCut"):
            yield f"unsupported_cut: a {values['type']} has no recording of its own; export its audio with lhotse first"
        elif "sources" in values:
            yield self._row(values, values, [])
        elif "recording_id" in values:
            recording = self._recording(str(values["recording_id"]))
            yield (
                self._row(values, recording, [{**values, "start": 0.0}])
                if recording
                else (
                    f"missing_recording: no file of recordings beside the manifest has the recording {values['recording_id']!r}"
                )
            )
        else:
            recording = values.get("recording")
            if not isinstance(recording, dict):
                yield "missing_recording: the cut has no recording; write the cuts with their recordings, not with features alone"
            else:
                yield self._row(values, recording, values["supervisions"])

    def _row(self, part: Values, recording: Values, supervisions: list[Any]) -> Values | str:
        listed = recording.get("sources")
        sources = [source for source in listed if isinstance(source, dict)] if isinstance(listed, list) else []
        source = sources[0] if sources else {}
        if source.get("type", "file") != "file" or not isinstance(source.get("source"), str):
            return f"unsupported_source: the recording is of type {source.get('type')!r}; only files are read"
        if len(sources) > 1:
            return "unsupported_source: the channels of the recording are separate files"
        length, start, duration = map(_number, (part.get("duration"), part.get("start", 0.0), recording.get("duration")))
        if length is None or start is None or length <= 0 or start < 0:
            return "bad_value: start and duration must be numbers of seconds, from 0 and above 0"
        spoken = [found for found in supervisions if isinstance(found, dict) and found.get("text")]
        times = [(_number(found.get("start", 0.0)) or 0.0, _number(found.get("duration")) or 0.0) for found in spoken]
        if any(begin < -_SLACK or begin + seconds > length + _SLACK for begin, seconds in times):
            return "partial_supervision: a supervision with text exceeds the cut, so that its words are not all in the audio"
        ordered = [found for _, found in sorted(zip(times, spoken, strict=True), key=lambda pair: pair[0])]
        is_whole = duration is not None and start == 0 and abs(length - duration) < _SLACK
        cells: dict[str, Any] = {"id": part.get("id"), "path": source["source"]}
        cells |= {} if is_whole else {"offset": start, "duration": length}
        cells["transcript"] = " ".join(str(found["text"]).strip() for found in ordered)
        for name, column in (("language", "language"), ("speaker", "voice")):
            values = {str(found[name]) for found in ordered if found.get(name)}
            cells[column] = values.pop() if len(values) == 1 else None
        return cells

    def _recording(self, key: str) -> Values | None:
        if self._recordings is None:
            self._recordings = {}
            for path in recordings_beside(self.path):
                for values in _objects(path):
                    self._recordings[str(values.get("id"))] = values
        return self._recordings.get(key)


def recordings_beside(path: Path) -> list[Path]:
    """Return the files of recordings for a file of supervisions: that of the same name, else all in its folder."""
    same = path.with_name(path.name.replace("supervisions", "recordings"))
    if same != path and same.exists():
        return [same]
    return sorted(other for other in path.parent.iterdir() if "recordings" in other.name and ".jsonl" in other.name)


def _objects(path: Path) -> Iterator[Values]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            try:
                values = json_value(line)
            except ValueError:
                continue
            if isinstance(values, dict):
                yield values


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
