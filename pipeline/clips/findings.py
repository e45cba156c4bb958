"""Findings of `clips align` and `clips interpret` about speech clips.

They are kept in the working database of an index and copied into its rows. A finding is keyed by audio, text and languages, so
that it outlives the row it was made for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from soundflow.operators.protocols.alignment import TRANSCRIPT_REJECTED
from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.pipeline.clips.ledger import IndexLedger
from soundflow.pipeline.clips.table import TABLE, ClipIndex, Footer, write_table
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import Schema, canonical_json
from soundflow.schemas.clip import Clip, Interpreted, Word

Row = Mapping[str, Any]
"""Fields of `schemas.clip.Clip`, as stored in the table."""


class MissingFinding(Schema):
    """A line of `unaligned.jsonl` or `uninterpreted.jsonl`: a clip without a finding, and the reason."""

    id: str
    reason: str
    detail: str = ""


class ClipFinding(Schema):
    """What an aligner or a model found about one clip. An empty finding has a reason."""

    reason: str = ""
    detail: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is a reason instead of a result."""
        raise NotImplementedError


class WordTimes(ClipFinding):
    """Start and end of each word of a transcript."""

    words: tuple[Word, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return the fields of the row."""
        rejected = self.reason if self.reason in TRANSCRIPT_REJECTED else None
        return {"words": [word.model_dump() for word in self.words], "transcript_rejected": rejected}

    @property
    def is_empty(self) -> bool:
        """Whether no word has times."""
        return not self.words


class Interpretation(ClipFinding):
    """A translation in segments."""

    interpreted: Interpreted | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are no segments."""
        return self.interpreted is None


F = TypeVar("F", bound=ClipFinding)


class FindingPass(Generic[F]):
    """One run over an index: a finding for every selected clip, looked up or made now, then written into the rows."""

    def __init__(self, index: ClipIndex, ledger: IndexLedger, kind: type[F], key_of: Callable[[Row], str]):
        self.index, self.ledger, self._kind, self._key_of = index, ledger, kind, key_of
        self.unsettled: dict[str, F] = {}
        """Clip id → a finding that is valid for this run only, because another run may find something else."""
        self.total = self.done = self.new = self.missing = 0

    def stored(self, row: Row, maker: str) -> F | None:
        """Return the finding that `maker` stored for a row, or None."""
        known = self.ledger.finding(self._key_of(row))
        return self._kind.from_json(known[1]) if known is not None and known[0] == maker else None

    def settle(self, clip: Clip, finding: F, maker: str) -> None:
        """Count a finding that was made now; store it under `maker` for later runs, or keep it for this run when that is ''."""
        self.new += 1
        if maker:
            self.ledger.store_finding(self._key_of(clip.model_dump()), maker, finding.canonical_json().decode())
        else:
            self.unsettled[clip.id] = finding
        self.count(finding)

    def count(self, finding: F) -> None:
        """Count a finding; commits at most once a second."""
        self.done += 1
        self.missing += finding.is_empty
        self.ledger.commit_if_due()

    def write(
        self, is_selected: Callable[[Row], bool], apply: Callable[[Row, F], dict[str, Any]], listing: str
    ) -> tuple[Footer, dict[str, int]]:
        """Write the index again, with `apply(row, finding)` in place of every selected row, and the list of missing findings.

        Return the footer of the new index and the number of missing findings by reason.
        """
        missing: list[MissingFinding] = []

        def rows() -> Iterator[dict[str, Any]]:
            for row in self.index.rows():
                if is_selected(row):
                    finding = self.unsettled.get(row["id"]) or self._settled(row)
                    if finding.is_empty:
                        missing.append(MissingFinding(id=row["id"], reason=finding.reason, detail=finding.detail))
                    row = apply(row, finding)
                yield row

        footer = write_table(self.index.directory / TABLE, rows(), self.index.footer.config)
        write_atomic(self.index.directory / listing, (line.canonical_json() + b"\n" for line in missing))
        return footer, dict(Counter(line.reason for line in missing))

    def _settled(self, row: Row) -> F:
        known = self.ledger.finding(self._key_of(row))
        assert known is not None, row["id"]
        return self._kind.from_json(known[1])


def times_key(row: Row) -> str:
    """Return the key of the word times of a row."""
    return _key("times", row, "clean_sha256", "transcript", "language")


def interpretation_key(row: Row) -> str:
    """Return the key of the interpretation of a row; it does not depend on earlier output of a model."""
    given = without_interpretation(row)
    return _key("interpreted", given, "clean_sha256", "transcript", "language", "translation", "translation_language")


def without_interpretation(row: Row) -> dict[str, Any]:
    """Return a row without its segments, and without a translation that a model wrote."""
    own = {"translation": None, "translation_language": ""} if row["interpreter"].startswith(MODEL_PREFIX) else {}
    return {**row, "segments": [], "interpreter": "", **own}


def with_findings(ledger: IndexLedger, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a source with the stored findings of earlier runs."""
    row |= {"words": [], "transcript_rejected": None, "segments": [], "interpreter": ""}
    if not row["transcript"]:
        return row
    times, interpretation = ledger.finding(times_key(row)), ledger.finding(interpretation_key(row))
    row |= (WordTimes.from_json(times[1]) if times else WordTimes()).fields()
    return with_interpretation(row, Interpretation.from_json(interpretation[1]) if interpretation else Interpretation())


def with_interpretation(row: Row, finding: Interpretation) -> dict[str, Any]:
    """Return a row with its interpretation. A row without word times gets none: segments are made of aligned words."""
    segments = finding.interpreted.model_dump() if finding.interpreted and row["words"] else {}
    return without_interpretation(row) | segments


def _key(kind: str, row: Row, *names: str) -> str:
    return hashlib.sha256(canonical_json([kind, *(row[name] for name in names)])).hexdigest()
