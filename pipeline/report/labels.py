"""The labels of a corpus with their decisions, and the limits of the recipe beside the values that were reached."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from soundflow.schemas.decision import decision_of
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.stream import StreamPlan

SHOWN: Final = 100
"""Maximum number of labels in the table."""


@dataclass(slots=True)
class LabelCount:
    """One row of the table of labels."""

    uses: int = 0
    clips: set[str] = field(default_factory=set)
    decisions: set[str] = field(default_factory=set)


class LabelTable:
    """Counts over plans: uses of labels and clips as events, and the longest stream."""

    def __init__(self) -> None:
        self.labels: dict[str, LabelCount] = defaultdict(LabelCount)
        self.uses: Counter[str] = Counter()
        self.longest = 0.0
        """Duration of the longest stream in seconds."""

    def add(self, plan: StreamPlan) -> None:
        """Count one plan."""
        self.longest = max(self.longest, plan.seconds)
        for clip in plan.clips:
            self.uses[clip.clip_id] += 1
            row = self.labels[clip.label]
            row.uses += 1
            row.clips.add(clip.clip_id)
            row.decisions |= {decision_of(clip).value} if clip.kind == "sound" else set()

    def to_json(self, recipe: Recipe) -> dict[str, Any]:
        """Return the tables of the page: the most frequent labels, the number of others, and the limits."""
        ranked = sorted(self.labels.items(), key=lambda entry: (-entry[1].uses, entry[0]))
        total = max(sum(row.uses for _, row in ranked), 1)
        return {
            "labels": [
                {
                    "label": label,
                    "decision": ", ".join(sorted(row.decisions)),
                    "clips": len(row.clips),
                    "uses": row.uses,
                    "share": row.uses / total,
                }
                for label, row in ranked[:SHOWN]
            ],
            "more_labels": max(len(ranked) - SHOWN, 0),
            "balance": recipe.balance,
            "limits": [
                {"limit": "seconds per stream", "allowed": recipe.scene.max_seconds, "reached": self.longest},
                {"limit": "uses per clip", "allowed": recipe.max_clip_uses, "reached": max(self.uses.values(), default=0)},
            ],
        }
