"""The card of an exported dataset: README.md with its YAML header, tables and pictures; attribution.csv beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

from pipeline.licences import hub_licence
from pipeline.report_data import Statistics
from schemas.shard import BuildRecord

Files = Mapping[str, Mapping[str, list[Path]]]
"""Capability → split → parquet files."""
SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
PLOTTED: Final = ("rounds", "tokens", "silence", "seconds")
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
from datasets import load_dataset

streams = load_dataset("{{ place }}", "{{ first }}", split="{{ split }}", streaming=True)
```

`audio` is 16 kHz mono {{ audio }}; `responses[].time` is when a response opens, in seconds; `plan` is the whole stream as JSON.

## Sub-tasks

| sub-task | streams | hours | rounds | responses | per minute | silent chunks |\
{% for name in splits %} {{ name }} |{% endfor %}
|---|---|---|---|---|---|---|{% for name in splits %}---|{% endfor %}
{% for row in tasks %}| {{ row.task }} | {{ row.streams }} | {{ row.hours|two }} | {{ row.rounds|one }} | {{ row.responses }} |\
 {{ row.per_minute|one }} | {{ (100 * row.silence)|one }} % |\
{% for name in splits %} {{ counts[row.task].get(name, 0) }} |{% endfor %}
{% endfor %}
{{ split_note }}

![Foreground events, response length, silence and duration of the streams](statistics.png)

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
    _plot(folder / "statistics.png", told["histograms"])


def _split_note(record: BuildRecord, splits: list[str]) -> str:
    if record.recipe.splits:
        return "No recording, background and noise included, is heard in two splits."
    if splits == ["train"]:
        return "One split: the recipe asks for no `splits`."
    return ""


def _cell(value: object) -> object:
    return value.replace("|", "\\|").replace("\n", " ") if isinstance(value, str) else value


def _plot(path: Path, histograms: list[dict[str, Any]]) -> None:
    """The figure of the paper's statistics: rounds, response tokens, silence and duration."""
    from matplotlib.figure import Figure

    from pipeline.report_data import EDGES

    wanted = [EDGES[name][0] for name in PLOTTED]
    chosen = [next(entry for entry in histograms if entry["title"] == title) for title in wanted]
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, entry in zip(figure.subplots(2, 2).flat, chosen, strict=True):
        places = range(len(entry["counts"]))
        axes.bar(places, entry["counts"], width=0.9, color="#3b6ea5")
        axes.set_xticks(places, [f"{edge:g}" for edge in entry["edges"][:-1]], rotation=45, fontsize=8)
        axes.set_title(entry["title"])
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": "SoundFlow"})
