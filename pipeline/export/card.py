"""The card of an exported dataset: README.md with its YAML header, tables and pictures; attribution.csv beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

from soundflow.pipeline.export.licences import hub_licence
from soundflow.pipeline.report.data import Statistics
from soundflow.schemas.shard import BuildRecord

Files = Mapping[str, Mapping[str, list[Path]]]
"""Capability → split → parquet files."""
SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
PLOTTED: Final = {
    "rounds": "Foreground events per stream",
    "tokens": "Tokens of a response",
    "silence": "Silent chunks (%)",
    "seconds": "Seconds of a stream",
}
"""Means per sub-task; the first three are those of the paper's figure."""
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a7a7a")
_CARD: Final = """\
---
{{ header }}---

# {{ name }}
{% if description %}
{{ description }}
{% endif %}
Always-on audio streams: in every chunk of 400 ms a listener stays silent or opens a response, and the rows say when and what.
Made with SoundFlow, after the paper *Audio Interaction Model*. {{ streams }} streams, {{ "%.2f"|format(hours) }} hours.
One configuration per capability.

```python
import io, soundfile
from datasets import Audio, load_dataset

streams = load_dataset("{{ place }}", "{{ first }}", split="{{ split }}", streaming=True)
for row in streams.cast_column("audio", Audio(decode=False)):
    samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))  # or no cast, with torchcodec for your torch and ffmpeg
```

`audio` is 16 kHz mono {{ audio }}; `responses[].time` is when a response opens, in seconds; `plan` is the whole stream as JSON.

## Sub-tasks

| sub-task | streams | hours | rounds | responses | tokens of one | per minute | silent chunks |\
{% for name in splits %} {{ name }} |{% endfor %}
|---|---|---|---|---|---|---|---|{% for name in splits %}---|{% endfor %}
{% for row in tasks %}| {{ row.task }} | {{ row.streams }} | {{ row.hours|two }} | {{ row.rounds|one }} | {{ row.responses }} |\
 {{ row.tokens|one }} | {{ row.per_minute|one }} | {{ (100 * row.silence)|one }} % |\
{% for name in splits %} {{ counts[row.task].get(name, 0) }} |{% endfor %}
{% endfor %}
{{ split_note }}

![Foreground events, response length, silence and duration of the streams of each sub-task](statistics.png)

## Sources and licences

| source | licence | clips | uses | hours | attribution | note |
|---|---|---|---|---|---|---|
{% for row in sources %}| {{ row.source }} | {{ row.licence }} | {{ row.clips }} | {{ row.uses }} | {{ row.hours|two }} |\
 {{ row.attribution }} | {{ row.note }} |
{% endfor %}
Every row names the source, licence and attribution of all it lets be heard; `attribution.csv` sums them up.
{% if template %}
**Not written by a model or a person**: {{ template }}.
{% endif %}
## Build it again

Fingerprint `{{ fingerprint }}`, SoundFlow {{ version }}. `recipe.json` is the recipe; with the same clips (index
`{{ index_hash[:12] }}`) `soundflow build` gives the same bytes. Operators: {{ operators }}.
"""


def write_card(
    folder: Path, record: BuildRecord, statistics: Statistics, files: Files, counts: Mapping[str, Mapping[str, int]]
) -> None:
    """Write README.md, statistics.png and attribution.csv into an exported folder. `counts`: sub-task → split → streams."""
    told = statistics.to_json()
    licences = sorted({source["licence"] for source in told["sources"]})
    streams = sum(row["streams"] for row in told["tasks"])
    splits = [name for name in ("train", "validation", "test") if any(name in parts for parts in files.values())]
    first = next(iter(files))
    header: dict[str, Any] = {
        "pretty_name": record.recipe.name,
        "license": hub_licence(licences),
        "task_categories": ["automatic-speech-recognition", "audio-classification", "audio-text-to-text"],
        "tags": ["audio", "soundflow", "streaming", "proactive"],
        "size_categories": [next((name for below, name in SIZES if streams < below), "n>10M")],
        "configs": [
            {
                "config_name": capability,
                "data_files": [{"split": split, "path": f"{capability}/{split}-*.parquet"} for split in splits if split in parts],
            }
            for capability, parts in files.items()
        ],
    }
    made_up = [f"{count} streams planned by `{name}`" for name, count in told["planners"].items() if name != "llm"]
    made_up += [f"{count} responses from `{name}`" for name, count in told["answers"].items() if name == "template"]
    environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"one": "{:.1f}".format, "two": "{:.2f}".format}
    text = environment.from_string(_CARD).render(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True),
        name=record.recipe.name,
        description=record.recipe.description,
        streams=streams,
        hours=sum(row["hours"] for row in told["tasks"]),
        place=folder.name.removeprefix("_tmp-").replace("--", "/"),
        first=first,
        split=next(iter(files[first])),
        audio=record.recipe.output.audio.upper(),
        splits=splits,
        counts=counts,
        tasks=told["tasks"],
        sources=[{name: _cell(value) for name, value in row.items()} for row in told["sources"]],
        template="; ".join(made_up),
        split_note=_split_note(record, splits),
        fingerprint=record.fingerprint,
        version=record.soundflow_version,
        index_hash=record.clip_index_hash,
        operators=", ".join(f"{name} {version}" for name, version in sorted(record.operator_versions.items())),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    with (folder / "attribution.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.DictWriter(stream, ["source", "licence", "clips", "uses", "hours", "attribution", "note"])
        rows.writeheader()
        rows.writerows(told["sources"])
    _plot(folder / "statistics.png", told["tasks"])


def _split_note(record: BuildRecord, splits: list[str]) -> str:
    if record.recipe.splits:
        return "No recording, background and noise included, is heard in two splits."
    if splits == ["train"]:
        return "One split: the recipe asks for no `splits`."
    return ""


def _cell(value: object) -> object:
    return value.replace("|", "\\|").replace("\n", " ") if isinstance(value, str) else value


def _plot(path: Path, tasks: list[dict[str, Any]]) -> None:
    """The figure of the paper's statistics, a bar per sub-task, a colour per capability."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 1.2 + 0.27 * len(tasks)), layout="constrained")
    capabilities = list(dict.fromkeys(row["capability"] for row in tasks))
    colours = [COLOURS[capabilities.index(row["capability"]) % len(COLOURS)] for row in tasks]
    for axes, (name, title) in zip(figure.subplots(1, len(PLOTTED), sharey=True), PLOTTED.items(), strict=True):
        values = [row[name] * (100 if name == "silence" else 1) for row in tasks]
        axes.bar_label(axes.barh(range(len(tasks)), values, height=0.78, color=colours), fmt="%.1f", padding=3, fontsize=8)
        axes.set_yticks(range(len(tasks)), [row["task"].replace("_", " ") for row in tasks], fontsize=9)
        axes.set_title(title, fontsize=11)
        axes.margins(x=0.16, y=0.01)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    axes.invert_yaxis()  # shared by all
    figure.savefig(path, dpi=110, metadata={"Software": "SoundFlow"})
