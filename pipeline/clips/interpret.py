"""`soundflow clips interpret`: a language model interprets aligned speech clause by clause; the segments go into the index.

Answers are in the answer cache, results in the working database of the index: a second run asks about new clips only, a stopped
run resumes, and `clips index` copies known segments into its rows. `DIR/uninterpreted.jsonl` lists the other clips.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from soundflow.operators.compose.clips import direction
from soundflow.operators.curate.interpreting import INTERPRETING_VERSION, ROLE, interpret
from soundflow.operators.protocols.chat import ChatModel
from soundflow.pipeline.clips.findings import (
    FindingPass,
    Interpretation,
    Row,
    interpretation_key,
    with_interpretation,
    without_interpretation,
)
from soundflow.pipeline.clips.ledger import IndexLedger
from soundflow.pipeline.clips.table import ClipIndex, clip_of
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.prompts import role_hash
from soundflow.schemas.base import InputError, Schema
from soundflow.schemas.clip import Clip
from soundflow.schemas.llm import LlmConfig
from soundflow.schemas.outcome import Ok, Rejected

UNINTERPRETED: Final = "uninterpreted.jsonl"
OnProgress = Callable[[int, int, int], None]
"""(clips done, total clips, clips without segments so far)."""


class InterpretSummary(Schema):
    """Result of one run of `clips interpret`."""

    directory: str
    clips: int
    """Clips that can be interpreted: aligned, and with a translation unless a target language was given."""
    interpreted: int
    new: int
    """Clips that this run asked the model about."""
    uninterpreted: dict[str, int]
    """Reason → number of clips."""
    content_hash: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return self.model_dump(mode="json")

    def describe(self) -> str:
        """Return the summary that is printed on the terminal."""
        counts = f"{self.interpreted} of {self.clips} aligned clips are interpreted"
        lines = [f"{self.directory}: {counts}; the model was asked about {self.new} in this run"]
        if self.uninterpreted:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.uninterpreted.items()))
            listed = Path(self.directory) / UNINTERPRETED
            lines.append(f"  not interpreted: {sum(self.uninterpreted.values())} ({reasons}); listed in {listed}")
        return "\n".join(lines)


def interpret_clips(
    directory: Path, llm: LlmConfig, *, into: str = "", answers: AnswerCache | None = None, on_progress: OnProgress | None = None
) -> InterpretSummary:
    """Interpret every aligned clip of an index with a language model.

    A clip with a translation has it cut into segments. With `into`, a language code, the model interprets the other clips into
    that language.

    Raises InputError when there is no index, another run is using it, no clip is aligned, or the key or the model is rejected;
    BudgetSpent when the budget is used up (the index is unchanged; the same call resumes); OSError when the index cannot be
    written.
    """
    index = ClipIndex.open(directory)
    with IndexLedger(index.directory) as ledger:
        return asyncio.run(_InterpretPass(index, ledger, llm, into, on_progress).run(answers or AnswerCache()))


class _InterpretPass(FindingPass[Interpretation]):
    def __init__(self, index: ClipIndex, ledger: IndexLedger, llm: LlmConfig, into: str, on_progress: OnProgress | None):
        super().__init__(index, ledger, Interpretation, interpretation_key)
        self.llm, self.into, self.on_progress = llm, into, on_progress
        self.model = f"{llm.answering(ROLE).model}/{role_hash(ROLE)[:12]}/{INTERPRETING_VERSION}"

    async def run(self, answers: AnswerCache) -> InterpretSummary:
        self.total = sum(1 for row in self.index.rows() if self._is_selected(row))
        if not self.total:
            into = "" if self.into else ", or give --into LANGUAGE"
            remedy = f"Run `soundflow clips align` first; a clip also needs language, translation and translation_language{into}"
            raise InputError("has no clip that can be interpreted", file=self.index.directory, remedy=remedy)
        async with open_chat(self.llm, answers) as chat:
            async for clip, finding, is_final in _in_flight(chat, self._pending(), self.into, 2 * self.llm.server.concurrency):
                self.settle(clip, finding, self._maker(clip.translation) if is_final else "")
                self._report()
        footer, uninterpreted = self.write(self._is_selected, with_interpretation, UNINTERPRETED)
        return InterpretSummary(
            directory=str(self.index.directory),
            clips=self.total,
            interpreted=self.total - sum(uninterpreted.values()),
            new=self.new,
            uninterpreted=uninterpreted,
            content_hash=footer.content_hash,
        )

    def _is_selected(self, row: Row) -> bool:
        """Return whether a row can be interpreted: it has word times and a target language other than its own."""
        given = without_interpretation(row)
        target = given["translation_language"] if given["translation"] else self.into
        return bool(row["words"]) and bool(direction(row["language"], target))

    def _maker(self, translation: str | None) -> str:
        return self.model if translation else f"{self.model}/{self.into}"

    def _pending(self) -> Iterator[Clip]:
        """Yield the clips to ask about, as their source gave them; count the others."""
        for row in self.index.rows():
            if not self._is_selected(row):
                continue
            given = without_interpretation(row)
            finding = self.stored(row, self._maker(given["translation"]))
            if finding is None:
                yield clip_of(given)
            else:
                self.count(finding)
                self._report()

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, self.missing)


async def _in_flight(
    chat: ChatModel, clips: Iterable[Clip], into: str, concurrency: int
) -> AsyncIterator[tuple[Clip, Interpretation, bool]]:
    """Yield the results of `_interpret_clip` for all clips as they finish, `concurrency` clips at a time."""
    waiting, stream = set[asyncio.Task[tuple[Clip, Interpretation, bool]]](), iter(clips)
    done = set[asyncio.Task[tuple[Clip, Interpretation, bool]]]()
    try:
        while True:
            while len(waiting) < concurrency and (clip := next(stream, None)) is not None:
                waiting.add(asyncio.create_task(_interpret_clip(chat, clip, into)))
            if not waiting:
                return
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            while done:
                yield done.pop().result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, *done, return_exceptions=True)


async def _interpret_clip(chat: ChatModel, clip: Clip, into: str) -> tuple[Clip, Interpretation, bool]:
    """Return the clip, its finding, and whether another run would find the same."""
    outcome = await interpret(chat, clip, into)
    if isinstance(outcome, Ok):
        clip.model_validate(clip.model_dump() | outcome.value.model_dump())
        return clip, Interpretation(interpreted=outcome.value), True
    if isinstance(outcome, Rejected):
        return clip, Interpretation(reason=outcome.reason, detail=str(outcome.metrics.get("detail", ""))), True
    return clip, Interpretation(reason="failed", detail=outcome.error), False
