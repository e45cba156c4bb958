"""Drives a run: what is not answered yet is asked, answers are written as they come.

A signal or kill -9 loses only what is under way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.bench.harness.chat_player import ROLE, Answered, Conversation, converse
from soundflow.bench.harness.predictions import Predictions
from soundflow.operators.protocols.faults import ServerFault
from soundflow.pipeline.mechanics.console import Console
from soundflow.pipeline.mechanics.stopping import deferred_signals
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.llm import BudgetSpent, LlmConfig, Usage

Row = dict[str, Any]
NOTHING: Final = Usage()
FAILED_IN_A_ROW: Final = 8
"""Conversations after which a server is taken to be down: each was tried for minutes, and there may be hundreds more."""
POLL_SECONDS: Final = 0.2
"""How soon a signal is heeded while a server is thinking."""


class Group(Protocol):
    """What is asked at once and written at once: one stream, or one conversation."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows it answers."""
        ...


G = TypeVar("G", bound=Group)


@dataclass(frozen=True, slots=True)
class Driven:
    """How far a run is."""

    answered: int
    """Rows that are there."""
    asked: int
    """Rows there should be."""
    faults: tuple[str, ...] = ()
    """Why groups are left out: the server's faults."""
    usage: Usage = NOTHING
    """Of this call."""

    @property
    def whole(self) -> bool:
        """Whether every row is there."""
        return self.answered == self.asked


def drive_stream(predictions: Predictions, groups: Sequence[G], answer: Callable[[G], list[Row]]) -> Driven:
    """Ask a model in this process, one group after the other. Raises Interrupted once the group under way is written."""
    pending = _pending(predictions, groups)
    with deferred_signals() as asked_to_stop, Console("bench", "streams") as console:
        for number, group in enumerate(pending):
            console.show(len(groups) - len(pending) + number, len(groups))
            predictions.put(answer(group))
            if asked_to_stop():
                raise Interrupted
        console.show(len(groups), len(groups))
    return _driven(predictions, groups)


def drive_chat(
    predictions: Predictions,
    groups: Sequence[G],
    config: LlmConfig,
    make: Callable[[G], Conversation],
    rows: Callable[[G, list[Answered]], list[Row]],
) -> Driven:
    """Ask a server, several groups at a time. `make` is called when a group's time has come: recordings need memory.

    Raises Interrupted at a signal (what is under way is given up), InputError when no question will fare better.
    """
    pending = _pending(predictions, groups)
    with deferred_signals() as asked_to_stop, Console("bench", "conversations") as console:
        try:
            return asyncio.run(_converse(predictions, groups, pending, config, make, rows, asked_to_stop, console))
        except InputError as error:
            if not error.field.startswith("llm"):
                raise
            remedy = error.remedy.replace("llm.server.base_url", "--server").replace("llm.model", "the name of the model")
            raise InputError(error.why, field="the chat model", value=error.value, remedy=remedy) from None


async def _converse(
    predictions: Predictions,
    groups: Sequence[G],
    pending: Sequence[G],
    config: LlmConfig,
    make: Callable[[G], Conversation],
    rows: Callable[[G, list[Answered]], list[Row]],
    asked_to_stop: Callable[[], bool],
    console: Console,
) -> Driven:
    waiting, faults, in_a_row = list(reversed(pending)), [], 0
    running: dict[asyncio.Task[list[Answered] | ServerFault], G] = {}
    async with OpenAiChat(config) as chat:
        try:
            while waiting or running:
                while waiting and len(running) < config.server.concurrency:
                    group = waiting.pop()
                    running[asyncio.create_task(converse(chat, make(group)))] = group
                done, _ = await asyncio.wait(running, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    group, got = running.pop(task), task.result()
                    if isinstance(got, ServerFault):
                        faults.append(f"{group.id}: {got}")
                        in_a_row += 1
                    else:
                        predictions.put(rows(group, got))
                        in_a_row = 0
                console.show(len(groups) - len(waiting) - len(running), len(groups), _so_far(chat))
                if in_a_row >= FAILED_IN_A_ROW and waiting:
                    faults.insert(0, f"{in_a_row} conversations in a row failed: {len(waiting)} more were not begun")
                    waiting.clear()
                if asked_to_stop():
                    raise Interrupted
        except BudgetSpent as spent:
            faults.append(f"the budget is spent: {spent}")
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return _driven(predictions, groups, faults, _used(chat))


def checkpoint_identity(directory: Path) -> str:
    """SHA-256 (hex) over a checkpoint's configuration and weights; InputError when it is none."""
    files = [directory / "config.json", *sorted(directory.glob("*.safetensors"))]
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            remedy = "Name a directory `soundflow train` made"
            raise InputError(f"is no checkpoint: {path.name}: {error.strerror}", file=directory, remedy=remedy) from None
    return digest.hexdigest()


def _used(chat: OpenAiChat) -> Usage:
    return chat.ledger.roles[ROLE].asked if ROLE in chat.ledger.roles else Usage()


def _so_far(chat: OpenAiChat) -> str:
    told, faults = _used(chat).describe(), chat.ledger.roles[ROLE].faults if ROLE in chat.ledger.roles else 0
    return f"{told}, {faults} tries failed" if faults else told


def _pending(predictions: Predictions, groups: Sequence[G]) -> list[G]:
    return [group for group in groups if any(name not in predictions.done for name in group.ids)]


def _driven(predictions: Predictions, groups: Sequence[G], faults: Sequence[str] = (), usage: Usage = NOTHING) -> Driven:
    names = [name for group in groups for name in group.ids]
    return Driven(sum(name in predictions.done for name in names), len(names), tuple(faults), usage)
