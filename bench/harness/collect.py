"""Collecting the answers of a run: requests the missing ones and writes each as it arrives.

A signal or kill -9 loses only the requests in progress.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.bench.harness.chat_player import ROLE, ChatAnswer, Conversation, converse
from soundflow.bench.harness.predictions import Predictions
from soundflow.operators.protocols.faults import ServerFault
from soundflow.pipeline.mechanics.console import Console
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.llm import BudgetSpent, LlmConfig, ServiceUnreachable, Usage

if TYPE_CHECKING:
    from soundflow.model.device import Placement

Row = dict[str, Any]
NOTHING: Final = Usage()
FAILED_IN_A_ROW: Final = 8
"""Consecutive failed conversations after which a server counts as down: each one was retried for minutes."""
POLL_SECONDS: Final = 0.2
"""Maximum delay of the reaction to a signal while requests are in progress."""


class Group(Protocol):
    """Rows that are answered and written together: one stream, or one conversation."""

    @property
    def id(self) -> str:
        """Name of the group."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows it answers."""
        ...


G = TypeVar("G", bound=Group)


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of a run."""

    answered: int
    """Number of answered rows."""
    expected: int
    """Number of rows of the run."""
    faults: tuple[str, ...] = ()
    """Server faults due to which groups are missing."""
    usage: Usage = NOTHING
    """Usage of this call, without earlier ones."""

    @property
    def is_complete(self) -> bool:
        """Whether every row is answered."""
        return self.answered == self.expected


def collect_local(predictions: Predictions, groups: Sequence[G], answer: Callable[[G], list[Row]]) -> RunProgress:
    """Collect answers of a model in this process, group by group. On a signal, raises Interrupted after the current group."""
    pending = _pending(predictions, groups)
    with deferred_signals() as is_stopping, Console("bench", "streams") as console:
        for number, group in enumerate(pending):
            console.show(len(groups) - len(pending) + number, len(groups))
            predictions.put(answer(group))
            if is_stopping():
                raise Interrupted
        console.show(len(groups), len(groups))
    return _progress(predictions, groups)


def collect_chat(
    predictions: Predictions,
    groups: Sequence[G],
    config: LlmConfig,
    make: Callable[[G], Conversation],
    rows: Callable[[G, list[ChatAnswer]], list[Row]],
) -> RunProgress:
    """Collect answers of a server, several groups at a time. `make` is called just before a group is sent, to save memory.

    On a signal, raises Interrupted and drops the requests in progress. Raises InputError for errors that affect every request,
    such as a rejected API key.
    """
    pending = _pending(predictions, groups)
    with deferred_signals() as is_stopping, Console("bench", "conversations") as console:
        try:
            return asyncio.run(_converse(predictions, groups, pending, config, make, rows, is_stopping, console))
        except InputError as error:
            if not error.field.startswith("llm"):
                raise
            remedy = error.remedy.replace("llm.server.base_url", "--server").replace("llm.model", "the name of the model")
            raise InputError(error.why, field="the chat model", value=error.value, remedy=remedy) from None
        except ServiceUnreachable as error:
            has_begun = len(pending) < len(groups) or error.has_begun
            raise ServiceUnreachable(error.why, "--server or $OPENAI_BASE_URL", has_begun) from None


async def _converse(
    predictions: Predictions,
    groups: Sequence[G],
    pending: Sequence[G],
    config: LlmConfig,
    make: Callable[[G], Conversation],
    rows: Callable[[G, list[ChatAnswer]], list[Row]],
    is_stopping: Callable[[], bool],
    console: Console,
) -> RunProgress:
    waiting, faults, in_a_row = list(reversed(pending)), [], 0
    running: dict[asyncio.Task[list[ChatAnswer] | ServerFault], G] = {}
    async with OpenAiChat(config) as chat:
        try:
            while waiting or running:
                while waiting and len(running) < config.server.concurrency:
                    group = waiting.pop()
                    running[asyncio.create_task(converse(chat, make(group)))] = group
                done, _ = await asyncio.wait(running, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    group, outcome = running.pop(task), task.result()
                    if isinstance(outcome, ServerFault):
                        faults.append(f"{group.id}: {outcome}")
                        in_a_row += 1
                    else:
                        predictions.put(rows(group, outcome))
                        in_a_row = 0
                console.show(len(groups) - len(waiting) - len(running), len(groups), _usage_line(chat))
                if in_a_row >= FAILED_IN_A_ROW and waiting:
                    faults.insert(0, f"{in_a_row} conversations in a row failed; {len(waiting)} more were not started")
                    waiting.clear()
                if is_stopping():
                    raise Interrupted
        except BudgetSpent as spent:
            faults.append(f"the budget is exhausted: {spent}")
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return _progress(predictions, groups, faults, _used(chat))


def checkpoint_identity(directory: Path, placement: Placement | None = None) -> str:
    """Return the SHA-256 (hex) of a checkpoint's configuration and weights, and the type it computes in unless that is fp32.

    Raises InputError if it is not a checkpoint.
    """
    files = [directory / "config.json", *sorted(directory.glob("*.safetensors"))]
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            remedy = "Name a directory that `soundflow train` wrote"
            raise InputError(f"not a checkpoint: {path.name}: {error.strerror}", file=directory, remedy=remedy) from None
    precision = "" if placement is None else placement.precision
    return digest.hexdigest() + (f" {precision}" if precision not in ("", "fp32") else "")


def _used(chat: OpenAiChat) -> Usage:
    return chat.ledger.roles[ROLE].asked if ROLE in chat.ledger.roles else Usage()


def _usage_line(chat: OpenAiChat) -> str:
    usage, faults = _used(chat).describe(), chat.ledger.roles[ROLE].faults if ROLE in chat.ledger.roles else 0
    return f"{usage}, {faults} attempts failed" if faults else usage


def _pending(predictions: Predictions, groups: Sequence[G]) -> list[G]:
    return [group for group in groups if any(name not in predictions.done for name in group.ids)]


def _progress(predictions: Predictions, groups: Sequence[G], faults: Sequence[str] = (), usage: Usage = NOTHING) -> RunProgress:
    names = [name for group in groups for name in group.ids]
    return RunProgress(sum(name in predictions.done for name in names), len(names), tuple(faults), usage)
