"""`soundflow clips interpret`: a language model interprets aligned speech, clause by clause; its segments go into the index.

Answers are in the answer cache, what came of them in the working memory of the index: a second run asks about new clips only,
a stopped one goes on, `clips index` puts known segments into its rows again. `DIR/uninterpreted.jsonl` lists the rest.
"""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from soundflow.operators.compose.clips import direction
from soundflow.operators.curate.interpreting import INTERPRETING_VERSION, ROLE, interpret
from soundflow.operators.protocols.chat import ChatModel
from soundflow.pipeline.clips.findings import Interpretation, Missed, as_given, interpretation_key, interpreted
from soundflow.pipeline.clips.ledger import Ledger
from soundflow.pipeline.clips.table import TABLE, ClipIndex, write_table
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.prompts import role_hash
from soundflow.schemas.atomic_file import write_atomic
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import Clip
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Ok, Rejected

UNINTERPRETED: Final = "uninterpreted.jsonl"
OnProgress = Callable[[int, int, int], None]
"""(clips done, clips in all, of them not interpreted)."""


class InterpretSummary(Schema):
    """What one run of `clips interpret` came to."""

    directory: str
    clips: int
    """That could be interpreted: aligned, and with a translation or without one where a language to interpret into was given."""
    interpreted: int
    new: int
    """Clips this run had to ask about."""
    uninterpreted: dict[str, int]
    """Reason → how many."""
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """For people."""
        lines = [
            f"{self.directory}: {self.interpreted} of {self.clips} aligned clips interpreted; {self.new} clips asked about now"
        ]
        if self.uninterpreted:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.uninterpreted.items()))
            lines.append(f"  not interpreted ({reasons}); see {Path(self.directory) / UNINTERPRETED}")
        return "\n".join(lines)


def interpret_clips(
    directory: Path, llm: LlmConfig, *, into: str = "", answers: AnswerCache | None = None, on_progress: OnProgress | None = None
) -> InterpretSummary:
    """Have the model interpret every aligned clip of an index: cut its translation, or (with `into`) say it in that language.

    Raises InputError when there is no index, another run is at it, no clip is aligned, or key or model fail; BudgetSpent when the
    budget is (the index stays as it was, the same call goes on); OSError when it cannot be written.
    """
    index = ClipIndex.open(directory)
    try:
        with Ledger(index.directory) as ledger:
            return asyncio.run(_Run(index, ledger, llm, into, on_progress).run(answers or AnswerCache()))
    except sqlite3.Error as error:
        text = f"the working memory of the index cannot be written: {error}"
        raise OSError(errno.EIO, text, str(index.directory)) from None


class _Run:
    def __init__(self, index: ClipIndex, ledger: Ledger, llm: LlmConfig, into: str, on_progress: OnProgress | None):
        self.index, self.ledger, self.llm, self.into, self.on_progress = index, ledger, llm, into, on_progress
        self.maker = f"{llm.answering(ROLE).model}/{role_hash(ROLE)[:12]}/{INTERPRETING_VERSION}"
        self.left: dict[str, Interpretation] = {}
        """By clip: what only this run knows, since another one may fare better."""
        self.total = self.done = self.without = self.new = 0

    async def run(self, answers: AnswerCache) -> InterpretSummary:
        self.total = sum(1 for row in self.index.rows() if self._wanted(row))
        if not self.total:
            into = "" if self.into else " (or say --into LANGUAGE)"
            remedy = f"Run `soundflow clips align` first; clips also need language, translation and translation_language{into}"
            raise InputError("no clip can be interpreted", file=self.index.directory, remedy=remedy)
        async with open_chat(self.llm, answers) as chat:
            async for clip, told, lasting in _in_flight(chat, self._pending(), self.into, 2 * self.llm.server.concurrency):
                self.new += 1
                if lasting:
                    self.ledger.remember_found(
                        interpretation_key(clip.model_dump()), self._maker(clip.translation), told.canonical_json().decode()
                    )
                else:
                    self.left[clip.id] = told
                self._count(told)
        return self._write()

    def _wanted(self, row: Mapping[str, Any]) -> bool:
        """Whether a row can be interpreted: it has word times, and a language to go into other than its own."""
        given = as_given(row)
        target = given["translation_language"] if given["translation"] else self.into
        return bool(row["words"]) and bool(direction(row["language"], target))

    def _maker(self, translation: str | None) -> str:
        return self.maker if translation else f"{self.maker}/{self.into}"

    def _pending(self) -> Iterator[Clip]:
        """What is not known yet, as it came from its source; the rest is counted on the way."""
        for row in self.index.rows():
            if not self._wanted(row):
                continue
            known, given = self.ledger.found(interpretation_key(row)), as_given(row)
            if known is not None and known[0] == self._maker(given["translation"]):
                self._count(Interpretation.from_json(known[1]))
            else:
                yield Clip.model_validate(given)

    def _count(self, told: Interpretation) -> None:
        self.done += 1
        self.without += told.interpreted is None
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.without)
        self.ledger.commit_as_it_goes()

    def _write(self) -> InterpretSummary:
        counts: Counter[str] = Counter()
        listed: list[Missed] = []

        def rows() -> Iterator[dict[str, Any]]:
            for row in self.index.rows():
                if self._wanted(row):
                    known, left = self.ledger.found(interpretation_key(row)), self.left.get(row["id"])
                    row = interpreted(row, None if left else known)
                    if not row["segments"]:
                        told = left or Interpretation.from_json(known[1] if known else b"{}")
                        counts[told.reason] += 1
                        listed.append(Missed(id=row["id"], reason=told.reason, detail=told.detail))
                yield row

        footer = write_table(self.index.directory / TABLE, rows(), self.index.footer.config)
        write_atomic(self.index.directory / UNINTERPRETED, (one.canonical_json() + b"\n" for one in listed))
        return InterpretSummary(
            directory=str(self.index.directory),
            clips=self.total,
            interpreted=self.total - len(listed),
            new=self.new,
            uninterpreted=dict(counts),
            content_hash=footer.content_hash,
        )


async def _in_flight(
    chat: ChatModel, clips: Iterable[Clip], into: str, at_once: int
) -> AsyncIterator[tuple[Clip, Interpretation, bool]]:
    """Ask about clips, so many at once, in whatever order the answers come."""
    waiting, stream = set[asyncio.Task[tuple[Clip, Interpretation, bool]]](), iter(clips)
    done = set[asyncio.Task[tuple[Clip, Interpretation, bool]]]()
    try:
        while True:
            while len(waiting) < at_once and (clip := next(stream, None)) is not None:
                waiting.add(asyncio.create_task(_told(chat, clip, into)))
            if not waiting:
                return
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            while done:
                yield done.pop().result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, *done, return_exceptions=True)


async def _told(chat: ChatModel, clip: Clip, into: str) -> tuple[Clip, Interpretation, bool]:
    """What came of one clip, and whether another run would find the same."""
    outcome = await interpret(chat, clip, into)
    if isinstance(outcome, Ok):
        clip.model_validate(clip.model_dump() | outcome.value.model_dump())
        return clip, Interpretation(interpreted=outcome.value), True
    if isinstance(outcome, Rejected):
        return clip, Interpretation(reason=outcome.reason, detail=str(outcome.metrics.get("detail", ""))), True
    return clip, Interpretation(reason="failed", detail=outcome.error), False
