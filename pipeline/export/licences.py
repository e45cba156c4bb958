"""Which streams may be published, by the licences of everything that can be heard in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Final

from soundflow.schemas.licences import licences_of, objections
from soundflow.schemas.stream import PlannedClip, PlannedNoise, StreamPlan
from soundflow.schemas.text import counted

HUB_LICENCES: Final = frozenset(("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"))
"""Licences with attribution that the `license` field of a dataset card can name."""
UNRESTRICTED: Final = frozenset(("CC0-1.0", "Public-Domain", "CC-PDM-1.0", "CC-PDDC"))
REMEDY: Final = (
    "Correct the column `licence` of the clip manifest and index it again, build with `licences` in the recipe, or use "
    "--any-licence if you have the rights"
)


class LicenceSurvey:
    """Counts the streams that may not be published, and the clips because of which they may not."""

    def __init__(self) -> None:
        self.streams: Counter[str] = Counter()
        """Reason → number of streams."""
        self._licences: dict[str, set[str]] = defaultdict(set)
        self._clips: dict[str, set[str]] = defaultdict(set)

    def add(self, plan: StreamPlan) -> None:
        """Count one stream."""
        licences = {}
        items: tuple[PlannedClip | PlannedNoise, ...] = (*plan.clips, *plan.noises)
        for item in items:
            for licence in licences_of(item.licence):
                licences[licence.id] = licence
                self._clips[licence.id].add(item.clip_id or item.label)
        for why, names in objections(licences.values()).items():
            self.streams[why] += 1
            self._licences[why].update(names)

    @property
    def clips(self) -> dict[str, int]:
        """Reason → number of clips under the licences that it names."""
        return {why: len(set().union(*(self._clips[name] for name in names))) for why, names in self._licences.items()}

    @property
    def licences(self) -> list[str]:
        """The licences that are the reasons."""
        return sorted(set().union(*self._licences.values()))

    def describe(self) -> list[str]:
        """Return each reason with its numbers of streams and clips."""
        clips = self.clips
        return [
            f"{why} ({counted(count, 'stream')}, {counted(clips[why], 'clip')})" for why, count in sorted(self.streams.items())
        ]


def hub_licence(licences: Collection[str]) -> str:
    """Return the `license` field of a dataset card: the strictest licence in simple cases, otherwise `other`."""
    known = {licence for text in licences for licence in licences_of(text) if licence.id not in UNRESTRICTED}
    if not known:
        return "cc0-1.0"
    shared = {licence for licence in known if licence.family == "CC-BY-SA"}
    if not all(licence.family in ("CC-BY", "CC-BY-SA") for licence in known):
        return "other"
    # A mix of several versions of a share-alike licence is under the latest.
    strictest = max(licence.id.lower() for licence in shared or known)
    return strictest if strictest in HUB_LICENCES and (shared or len(known) == 1) else "other"
