"""VoiceBench's AlpacaEval (Chen et al. 2024): 636 open questions, answers rated from 1 to 5 by a judge.

Files: parquet of `hlt-lab/voicebench`, subset `alpacaeval_full` {prompt, audio}. Metric: the mean of all votes. A missing or
empty answer is rated 1, the lowest rating. The figure is None if an answer has no readable vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from soundflow.bench.suites.item import Figures, Item, find_files, mean_and_interval, numbered_rows, recording_of, unique_items
from soundflow.bench.suites.judging import LOWEST, rating, unjudged_note
from soundflow.bench.suites.spoken_qa import SpokenQuestions


class AlpacaEval(SpokenQuestions):
    """VoiceBench's AlpacaEval."""

    name, title = "alpaca-eval", "VoiceBench AlpacaEval"
    rubric = "open"

    def read(self, source: Path, audio: Path | None) -> list[Item]:
        """See `Benchmark.read`."""
        rows = enumerate(numbered_rows(find_files(source, ".parquet", inside="alpacaeval_full"), ("prompt",)), 1)
        pairs = (
            (Item(f"alpaca-{place:04d}", row.text("prompt"), (), recording_of(row, number, audio, (), "audio"), row.where), row)
            for place, (number, row) in rows
        )
        return unique_items(pairs, source)

    def score(self, items: Sequence[Item], answers: Mapping[str, str], verdicts: Mapping[str, list[str]]) -> Figures:
        """Return the mean rating."""
        ratings: list[float] = []
        unrated: list[list[str]] = []
        for item in items:
            if not answers.get(item.id, "").strip():
                ratings.append(LOWEST)
                continue
            votes = verdicts.get(item.id, [])
            values = [value for vote in votes if (value := rating(vote)) is not None]
            ratings += [sum(values) / len(values)] if values else []
            unrated += [] if values else [votes]
        missing = sum(item.id not in answers for item in items)
        if unrated:
            return Figures({"rating": None}, len(items), missing, notes=unjudged_note("rating", unrated))
        mean, interval = mean_and_interval(ratings, self.name)
        return Figures({"rating": mean}, len(items), missing, {"rating": interval})
