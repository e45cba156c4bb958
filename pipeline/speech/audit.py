"""`soundflow audit`: of a clip manifest, the sounds on which a model agrees whether they call for a response."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundflow.operators.curate.auditing import audit
from soundflow.operators.protocols.chat import ChatModel
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat_batch import run_chat_batch
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome
from soundflow.schemas.taxonomy import Urgency


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What came of a manifest."""

    out: str
    rows: int
    sounds: int
    """Of them, in the foreground."""
    verdicts: dict[str, int]
    """Kinds of sounds (equal label and caption are one) that stay, by verdict; `borderline`: by their words, not asked."""
    discarded: dict[str, int]
    """Rows that were left out, by reason; they stand in OUT.discarded.jsonl."""
    failed: int
    """Kinds the model broke at: nothing was written, the same command asks only what is missing."""

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        kept = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        left = ", ".join(f"{count} {reason}" for reason, count in self.discarded.items()) or "none"
        stay = self.rows - sum(self.discarded.values())
        failed = [f"{self.failed} failed: nothing was written, run the same command again"] if self.failed else []
        return [f"{self.out}: {stay} of {self.rows} rows stay (kinds: {kept}); discarded: {left}", *failed]


def audit_manifest(
    source: Path,
    out: Path,
    config: LlmConfig,
    *,
    answers: AnswerCache | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> AuditSummary:
    """Write `out`: the rows of a JSON-lines manifest without the foreground sounds the audit discards.

    Paths stay as they are: put `out` beside `source`. Raises InputError for a manifest that cannot be read, Halted when the
    model's budget is spent or its service broken: nothing was written, and no answer is asked for again.
    """
    rows = _rows(source)
    sounds = [row for row in rows if _is_sound(row)]
    kinds = sorted({_kind(row) for row in sounds})

    async def one(kind: tuple[str, str], chat: ChatModel) -> Outcome[Urgency]:
        return await audit(*kind, chat)

    told = dict(zip(kinds, run_chat_batch(kinds, one, config, answers or AnswerCache(), on_done), strict=True))
    failed = sum(isinstance(outcome, Failed) for outcome in told.values())
    kept, left, reasons = list[bytes](), list[bytes](), Counter[str]()
    for row in rows:
        outcome = told[_kind(row)] if _is_sound(row) else Ok(Urgency.IGNORE)
        if isinstance(outcome, Ok):
            kept.append(canonical_json(row) + b"\n")
        elif not isinstance(outcome, Failed):
            reasons[outcome.reason] += 1
            left.append(
                canonical_json({"reason": outcome.reason, "detail": outcome.metrics.get("detail", ""), "row": row}) + b"\n"
            )
    if not failed:
        write_atomic(out.with_name(f"{out.name}.discarded.jsonl"), left)
        write_atomic(out, kept)
    verdicts = Counter(outcome.value.value for outcome in told.values() if isinstance(outcome, Ok))
    return AuditSummary(str(out), len(rows), len(sounds), dict(sorted(verdicts.items())), dict(sorted(reasons.items())), failed)


def _rows(source: Path) -> list[dict[str, Any]]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=source) from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise InputError(f"line {number} is not JSON: {error}", file=source, remedy="Give a manifest of JSON lines") from None
        if not isinstance(row, dict):
            raise InputError(f"line {number} is no JSON object", file=source, remedy="Give a manifest of JSON lines")
        rows += [row] if row else []
    return rows


def _is_sound(row: dict[str, Any]) -> bool:
    return not row.get("transcript") and row.get("role", "foreground") in ("", "foreground", None)


def _kind(row: dict[str, Any]) -> tuple[str, str]:
    return str(row.get("label") or ""), str(row.get("caption") or "")
