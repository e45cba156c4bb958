"""VoiceBench's SD-QA (Faisal et al. 2021): 553 questions in eleven accents of English, judged against a reference.

Files: parquet of `hlt-lab/voicebench`, subset `sd-qa` {prompt, reference, audio}, one file a region (`usa-….parquet`). Metrics:
the majority of three votes of a judge, and PEDANT if it is configured (see `pedant`), both in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from soundflow.bench.harness.rows import Row
from soundflow.bench.suites.item import Figures, Item, find_files, mean_and_interval, numbered_rows, recording_of, unique_items
from soundflow.bench.suites.judging import unjudged_note, verdict
from soundflow.bench.suites.pedant import NOT_RUN, pedant
from soundflow.bench.suites.spoken_qa import SpokenQuestions


class SdQa(SpokenQuestions):
    """VoiceBench's SD-QA."""

    name, title = "sd-qa", "VoiceBench SD-QA"
    rubric = "qa"

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = numbered_rows(find_files(source, ".parquet", inside="sd-qa"), ("prompt", "reference"))
        return unique_items(((_item(row, number, audio), row) for number, row in rows), source)

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the accuracy by the judge (over all and by region) and by PEDANT."""
        stripped = {item.id: answers.get(item.id, "").strip() for item in items}
        judged = {item.id: verdict(verdicts.get(item.id, [])) if stripped[item.id] else False for item in items}
        notes = unjudged_note("vote", [verdicts.get(name, []) for name, found in judged.items() if found is None])
        values: dict[str, float | None] = {"judge": None}
        intervals = {}
        if not notes:
            values["judge"], intervals["judge"] = mean_and_interval([100.0 * bool(judged[item.id]) for item in items], self.name)
            for region in sorted({item.group for item in items}):
                group = [bool(judged[item.id]) for item in items if item.group == region]
                values[f"judge, {region}"] = 100.0 * sum(group) / len(group)
        correct = pedant([(item.references[0], stripped[item.id], item.text) for item in items])
        values["pedant"] = None if correct is None else 100.0 * sum(correct) / len(correct)
        notes = notes if correct is not None else (*notes, NOT_RUN)
        return Figures(values, len(items), sum(item.id not in answers for item in items), intervals, notes)


def _item(row: Row, number: int, audio: Path | None) -> Item:
    region = row.file.name.partition("-")[0]
    recording = recording_of(row, number, audio, (), "audio")
    return Item(f"{region}-{number:04d}", row.text("prompt"), (row.text("reference"),), recording, row.where, region)
