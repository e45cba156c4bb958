"""`soundflow audit`: keep the sounds of a clip manifest for which a model confirms whether they call for a response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from soundflow.operators.curate.auditing import audit
from soundflow.operators.protocols.chat import ChatModel
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat_batch import run_chat_batch
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.documents import read_json_lines
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome
from soundflow.schemas.taxonomy import Urgency

SoundKind = tuple[str, str, str]
"""Label, caption and decision of a sound; the decision is empty if neither manifest nor recipe has one."""


class TaxonomySection(Schema):
    """The `taxonomy` of a recipe file, of which other sections are ignored."""

    model_config = ConfigDict(extra="ignore")

    taxonomy: dict[str, Urgency] = Field(default_factory=dict)
    """Decisions by label or pattern."""


def read_rules(path: Path) -> DecisionRules:
    """Return the decisions of the `taxonomy` in a recipe file. Raises InputError."""
    return DecisionRules(TaxonomySection.from_yaml(path).taxonomy)


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """Result of an audit."""

    out: str
    rows: int
    sounds: int
    """Rows that are foreground sounds."""
    verdicts: dict[str, int]
    """Kinds that are kept, by verdict. Sounds with equal label, caption and decision are one kind."""
    discarded: dict[str, int]
    """Discarded rows by reason; OUT.discarded.jsonl lists them."""
    failed: int
    """Kinds for which the call failed. If there are any, nothing is written; the same command asks only about these."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the lines that are printed on the terminal."""
        kept = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        discarded = ", ".join(f"{count} {reason}" for reason, count in self.discarded.items()) or "none"
        if self.failed:
            return [f"{self.out}: not written: {self.failed} kinds of sounds failed. Run the same command again"]
        rows = self.rows - sum(self.discarded.values())
        return [f"{self.out}: {rows} of {self.rows} rows are kept (kinds: {kept or 'none'}); discarded: {discarded}"]


def audit_manifest(
    source: Path,
    out: Path,
    config: LlmConfig,
    *,
    rules: DecisionRules | None = None,
    answers: AnswerCache | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> AuditSummary:
    """Write the rows of a JSON-lines manifest to `out`, without the foreground sounds that the audit discards.

    A sound has the decision of its row, else of `rules`, else of its label and caption. Paths in the rows are not changed, so
    `out` belongs in the folder of `source`. Raises InputError when the manifest cannot be read; Halted when the budget is used up
    or the service fails (nothing is written, and answers are kept in the cache).
    """
    rows = _rows(source)
    sounds = [row for row in rows if _is_sound(row)]
    rules = rules or DecisionRules()
    kinds = sorted({_kind(row, rules) for row in sounds})

    async def one(kind: SoundKind, chat: ChatModel) -> Outcome[Urgency]:
        label, caption, decision = kind
        return await audit(label, caption, chat, decision=Urgency(decision) if decision else None)

    verdict_of = dict(zip(kinds, run_chat_batch(kinds, one, config, answers or AnswerCache(), on_done), strict=True))
    failed = sum(isinstance(outcome, Failed) for outcome in verdict_of.values())
    kept, discarded, reasons = list[bytes](), list[bytes](), Counter[str]()
    for row in rows:
        outcome = verdict_of[_kind(row, rules)] if _is_sound(row) else Ok(Urgency.IGNORE)
        if isinstance(outcome, Ok):
            kept.append(canonical_json(row) + b"\n")
        elif not isinstance(outcome, Failed):
            reasons[outcome.reason] += 1
            discarded.append(
                canonical_json({"reason": outcome.reason, "detail": outcome.metrics.get("detail", ""), "row": row}) + b"\n"
            )
    if not failed:
        write_atomic(out.with_name(f"{out.name}.discarded.jsonl"), discarded)
        write_atomic(out, kept)
    verdicts = Counter(outcome.value.value for outcome in verdict_of.values() if isinstance(outcome, Ok))
    return AuditSummary(str(out), len(rows), len(sounds), dict(sorted(verdicts.items())), dict(sorted(reasons.items())), failed)


def _rows(source: Path) -> list[dict[str, Any]]:
    rows = []
    for number, row in read_json_lines(source):
        if _decision(row) not in {"", *Urgency}:
            known = ", ".join(Urgency)
            raise InputError(
                f"row {number} has no known decision",
                file=source,
                field="decision",
                value=row["decision"],
                remedy=f"Write one of {known}, or leave it empty",
            )
        rows += [row] if row else []
    return rows


def _is_sound(row: dict[str, Any]) -> bool:
    return not row.get("transcript") and row.get("role", "foreground") in ("", "foreground", None)


def _kind(row: dict[str, Any], rules: DecisionRules) -> SoundKind:
    label = str(row.get("label") or "")
    return label, str(row.get("caption") or ""), _decision(row) or rules.find(label) or ""


def _decision(row: dict[str, Any]) -> str:
    return str(row.get("decision") or "").strip().lower()
