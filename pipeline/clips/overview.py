"""`soundflow clips list` and `soundflow clips stats`: what an index contains, by label and in total."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from soundflow.pipeline.clips.table import ClipIndex
from soundflow.schemas import constants as c
from soundflow.schemas.clip import ClipRole, kind_of
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.taxonomy import Urgency, is_label_pattern, label_name, label_pattern
from soundflow.schemas.text import counted

COLUMNS: Final = (
    *("id", "role", "label", "caption", "transcript", "split", "source", "licence", "samples", "decision"),
    *("label_source", "unused_label", "unused_caption"),
)
EXAMPLES: Final = 5
"""Maximum number of unused texts and of rare labels that the statistics name."""
UNKNOWN: Final = "unknown"
"""Source of the labels of an index that an earlier version wrote."""
NO_LABEL: Final = "(no label)"
WIDEST: Final = 48
"""Maximum width of a text in a table, in columns of the terminal."""


class ListedClip(NamedTuple):
    """A clip as the list shows it."""

    id: str
    label: str
    seconds: float
    role: str
    decision: str
    """`respond`, `ignore` or `borderline`; empty for speech, about which nothing is decided."""
    decision_source: str
    """`manifest`, `recipe` or `taxonomy`."""
    label_source: str
    """See `operators.sources.rows.LabelSource`; empty without a label."""
    split: str
    source: str
    licence: str
    caption: str
    unused_label: str
    unused_caption: str


class ListedLabel(NamedTuple):
    """The clips that share label, role, decision and sources."""

    label: str
    clips: int
    seconds: float
    role: str
    decision: str
    decision_source: str
    label_source: str


@dataclass(frozen=True)
class ClipFilter:
    """Conditions that a listed clip meets. Empty conditions are met by all clips."""

    labels: Sequence[str] = ()
    """Labels, compared by their words; `*` and `?` are wildcards."""
    role: ClipRole | None = None
    decision: Urgency | None = None
    split: str = ""
    source: str = ""
    label_source: str = ""
    text: str = ""
    """Part of the id, label, caption or transcript; letter case is ignored."""
    min_count: int = 0
    """Minimum number of clips with the same label, of those that meet the other conditions."""
    max_count: int | None = None
    """Maximum number of them."""
    unused: bool = False
    """Only clips whose label or caption is left out, because it has no words."""

    def matches(self, clip: ListedClip, transcript: str) -> bool:
        """Return whether a clip meets the conditions, without those on counts."""
        return (
            (not self.labels or any(_matches_label(clip.label, wanted) for wanted in self.labels))
            and (self.role is None or clip.role == self.role)
            and (self.decision is None or clip.decision == self.decision)
            and self.split in ("", clip.split)
            and self.source in ("", clip.source)
            and self.label_source in ("", clip.label_source)
            and (not self.unused or bool(clip.unused_label or clip.unused_caption))
            and (not self.text or self._has_text(clip, transcript))
        )

    def _has_text(self, clip: ListedClip, transcript: str) -> bool:
        texts = (clip.id, clip.label, clip.caption, transcript, clip.unused_label, clip.unused_caption)
        return any(self.text.casefold() in text.casefold() for text in texts)

    def has_count(self, count: int) -> bool:
        """Return whether a label may have this number of clips."""
        return self.min_count <= count and (self.max_count is None or count <= self.max_count)


def _matches_label(label: str, wanted: str) -> bool:
    if not wanted.strip():
        return not label
    if is_label_pattern(wanted):
        return label_pattern(wanted).fullmatch(label_name(label)) is not None
    return bool(label) and label_name(label) == label_name(wanted)


def list_clips(index: ClipIndex, rules: DecisionRules, conditions: ClipFilter) -> Iterator[ListedClip]:
    """Yield the clips of an index that meet the conditions, in id order. `rules`: the taxonomy of a recipe, possibly empty."""
    if not conditions.min_count and conditions.max_count is None:
        yield from _matching(index, rules, conditions)
        return
    counts = Counter(clip.label for clip in _matching(index, rules, conditions))
    yield from (clip for clip in _matching(index, rules, conditions) if conditions.has_count(counts[clip.label]))


def find_unknown_values(index: ClipIndex, conditions: ClipFilter) -> list[str]:
    """Return a sentence for each split, source and source of labels in the conditions that no clip of the index has."""
    clips = list(_matching(index, DecisionRules(), ClipFilter()))
    sentences = []
    for name in ("split", "source", "label_source"):
        wanted, known = getattr(conditions, name), sorted({getattr(clip, name) for clip in clips} - {""})
        if wanted and wanted not in known:
            option = f"--{name.replace('_', '-')}"
            sentences.append(f"{option}: no clip of the index has {wanted!r}. Values: {', '.join(known) or 'none'}")
    return sentences


def _matching(index: ClipIndex, rules: DecisionRules, conditions: ClipFilter) -> Iterator[ListedClip]:
    for row in index.rows(COLUMNS):
        clip = _listed(row, rules)
        if conditions.matches(clip, row["transcript"] or ""):
            yield clip


class _RowSound(NamedTuple):
    """What decides about a row."""

    label: str
    caption: str
    decision: Urgency | None


def _listed(row: dict[str, Any], rules: DecisionRules) -> ListedClip:
    decision = decision_source = ""
    if kind_of(row["transcript"]) == "sound":
        stated = row.get("decision")
        decided = rules.decide(_RowSound(row["label"], row["caption"], Urgency(stated) if stated else None))
        decision, decision_source = decided.decision.value, decided.source.value
    label_source = row.get("label_source", UNKNOWN) or "" if row["label"] else ""
    unused = (row.get("unused_label") or "", row.get("unused_caption") or "")
    kept = (row["split"], row["source"], row["licence"], row["caption"])
    seconds = row["samples"] / c.SAMPLE_RATE
    return ListedClip(row["id"], row["label"], seconds, row["role"], decision, decision_source, label_source, *kept, *unused)


def list_labels(clips: Iterable[ListedClip], sort: str = "clips") -> list[ListedLabel]:
    """Return clips grouped by label, role, decision and sources.

    `sort`: `clips` or `seconds` for the largest group first, `label` for alphabetical order.
    """
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for clip in clips:
        groups[clip.label, clip.role, clip.decision, clip.decision_source, clip.label_source].append(clip.seconds)
    found = [ListedLabel(label, len(seconds), sum(seconds), *rest) for (label, *rest), seconds in groups.items()]

    def key(one: ListedLabel) -> tuple[float, str, tuple[Any, ...]]:
        size = one.clips if sort == "clips" else one.seconds if sort == "seconds" else 0
        return -size, one.label.casefold(), one[3:]

    return sorted(found, key=key)


@dataclass
class ClipStats:
    """Numbers of clips and seconds of an index, in total and by several properties."""

    directory: Path
    content_hash: str
    clips: int = 0
    seconds: float = 0.0
    by: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Property → value → [clips, seconds]."""
    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0
    """Foreground clips without a label."""
    unused_labels: Counter[str] = field(default_factory=Counter)
    unused_captions: Counter[str] = field(default_factory=Counter)

    PROPERTIES = ("role", "decision", "decision_source", "label_source", "split", "source", "licence")

    @classmethod
    def of(cls, index: ClipIndex, clips: Iterable[ListedClip]) -> ClipStats:
        """Count clips of an index."""
        stats = cls(index.directory, index.content_hash, by={name: {} for name in cls.PROPERTIES})
        for clip in clips:
            stats.clips += 1
            stats.seconds += clip.seconds
            stats.labels[clip.label] += 1
            stats.unlabelled += clip.role == ClipRole.FOREGROUND and not clip.label
            stats.unused_labels.update([clip.unused_label] if clip.unused_label else [])
            stats.unused_captions.update([clip.unused_caption] if clip.unused_caption else [])
            for name in cls.PROPERTIES:
                numbers = stats.by[name].setdefault(getattr(clip, name), [0, 0.0])
                numbers[0] += 1
                numbers[1] += clip.seconds
        return stats

    @property
    def named(self) -> list[tuple[str, int]]:
        """Labels and their numbers of clips, the most frequent first."""
        return sorted(((label, count) for label, count in self.labels.items() if label), key=lambda one: (-one[1], one[0]))

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return {
            "directory": str(self.directory),
            "content_hash": self.content_hash,
            "clips": self.clips,
            "seconds": self.seconds,
            "labels": len(self.named),
            "unlabelled": self.unlabelled,
            "by": {
                name: {value: {"clips": count, "seconds": seconds} for value, (count, seconds) in sorted(values.items())}
                for name, values in self.by.items()
            },
            "unused_labels": _unused_json(self.unused_labels),
            "unused_captions": _unused_json(self.unused_captions),
        }

    def lines(self) -> list[str]:
        """Return the text that is printed on the terminal."""
        named = self.named
        lines = [f"{self.directory}: {counted(self.clips, 'clip')}, {self.seconds / 3600:.2f} h, {counted(len(named), 'label')}"]
        if named:
            few = ", ".join(f"{label} ({count:,})" for label, count in named[:EXAMPLES])
            lines.append(f"  most frequent labels: {few}")
        if len(named) > EXAMPLES:
            rare = ", ".join(f"{label} ({count:,})" for label, count in named[-1 : -EXAMPLES - 1 : -1])
            lines.append(f"  rarest labels: {rare}")
        rows = [
            (name.replace("_", " ") if first else "", value or "-", f"{count:,}", f"{seconds:,.1f}")
            for name, values in self.by.items()
            for first, (value, (count, seconds)) in _marked(sorted(values.items(), key=lambda one: (-one[1][0], one[0])))
        ]
        lines += table_lines(("by", "", "clips", "seconds"), rows, right=(2, 3))
        if self.unlabelled:
            lines.append(f"without a label: {counted(self.unlabelled, 'foreground clip')}, which no task about sounds uses")
        for noun, unused in (("label", self.unused_labels), ("caption", self.unused_captions)):
            if total := unused.total():
                examples = ", ".join(f'"{text}"' for text, _ in unused.most_common(EXAMPLES))
                lines.append(f"{counted(total, noun)} left out, because there are no words in it: {examples}")
        return lines


def _unused_json(unused: Counter[str]) -> dict[str, Any]:
    return {"clips": unused.total(), "examples": [text for text, _ in unused.most_common(EXAMPLES)]}


def _marked(values: Sequence[Any]) -> Iterator[tuple[bool, Any]]:
    return ((at == 0, value) for at, value in enumerate(values))


def label_lines(labels: Sequence[ListedLabel]) -> list[str]:
    """Return a table of labels for the terminal."""
    rows = [
        (one.label or NO_LABEL, f"{one.clips:,}", f"{one.seconds:,.1f}", one.role, _decision(one), one.label_source or "-")
        for one in labels
    ]
    return table_lines(("label", "clips", "seconds", "role", "decision", "label source"), rows, right=(1, 2))


def clip_lines(clips: Sequence[ListedClip]) -> list[str]:
    """Return a table of clips for the terminal."""
    header = ["id", "label", "seconds", "role", "decision", "label source", "left out"]
    shown = len(header) if any(map(_left_out, clips)) else len(header) - 1
    rows = []
    for one in clips:
        source = one.label_source or "-"
        cells = (one.id, one.label or NO_LABEL, f"{one.seconds:.1f}", one.role, _decision(one), source, _left_out(one))
        rows.append(cells[:shown])
    return table_lines(header[:shown], rows, right=(2,))


def _decision(one: ListedLabel | ListedClip) -> str:
    if not one.decision:
        return "-"
    return one.decision if one.decision_source == "taxonomy" else f"{one.decision} ({one.decision_source})"


def _left_out(clip: ListedClip) -> str:
    texts = (("label", clip.unused_label), ("caption", clip.unused_caption))
    return ", ".join(f'{name} "{text}"' for name, text in texts if text)


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Return the lines of a table. Texts wider than `WIDEST` columns are cut. `right`: columns that are aligned to the right."""
    cut = [[cell if cell_len(cell) <= WIDEST else f"{set_cell_size(cell, WIDEST - 1)}…" for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *cut, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if at in right else cell + space)
        return "  ".join(padded).rstrip()

    return [line(header), *map(line, cut)]
