"""VoiceBench's AlpacaEval (Chen et al. 2024): 636 open questions, answers rated from 1 to 5 by a judge.

Files: parquet of `hlt-lab/voicebench`, subset `alpacaeval_full` {prompt, audio}. Metric: the mean of all votes. A missing or
empty answer is rated 1, the lowest; an answer whose votes cannot be read keeps the figure from being told.
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
        """The mean rating."""
        ratings: list[float] = []
        unread: list[list[str]] = []
        for item in items:
            if not answers.get(item.id, "").strip():
                ratings.append(LOWEST)
                continue
            votes = verdicts.get(item.id, [])
            read = [value for vote in votes if (value := rating(vote)) is not None]
            ratings += [sum(read) / len(read)] if read else []
            unread += [] if read else [votes]
        missing = sum(item.id not in answers for item in items)
        if unread:
            return Figures({"rating": None}, len(items), missing, notes=unjudged_note("rating", unread))
        mean, interval = mean_and_interval(ratings, self.name)
        return Figures({"rating": mean}, len(items), missing, {"rating": interval})
