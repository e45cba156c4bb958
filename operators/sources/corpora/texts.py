"""Readers of corpora of written conversations and instructions, for `soundflow speak`."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder
from soundflow.operators.sources.corpora.reader import CorpusItem, CorpusReader, RequiredFiles, parse_split, reject
from soundflow.operators.sources.corpora.tables import NumberedRow, TableRow, cell_text, read_json, read_parquet
from soundflow.operators.tokens.replies import read_reply
from soundflow.schemas.outcome import Rejected
from soundflow.schemas.sources import Source
from soundflow.schemas.speech import Dialogue, Turn

MOST_TURNS: Final = 15
"""Maximum number of turns of a stream (paper, §3.2: 3 to 15). Longer conversations are cut after an answer."""
Exchange = tuple[str, str]
"""A message of the user and the answer of the assistant."""


class DialogueReader(CorpusReader):
    """Base of the readers of files with one conversation per row."""

    patterns: tuple[str, ...]
    columns: ClassVar[Sequence[str]] = ()
    """Columns of a parquet file."""

    def units(self, corpus: CorpusFolder) -> Iterator[str]:
        """Yield the files."""
        for pattern in self.patterns:
            yield from corpus.find(pattern)

    def read(self, corpus: CorpusFolder, unit: str, source: Source) -> Iterator[CorpusItem]:
        """Yield the conversations of a file."""
        piece = re.sub(r"[^\w.-]+", "-", unit.rpartition(".")[0])[-80:]
        for number, row in self.rows(corpus, unit):
            if isinstance(row, str):
                yield reject(corpus, unit, number, "bad_row", row)
                continue
            exchanges = self.parse_exchanges(row)
            if isinstance(exchanges, str):
                yield reject(corpus, unit, number, "bad_dialogue", exchanges)
                continue
            kept = exchanges[:MOST_TURNS]
            wrong = next((reply for _, answer in kept if isinstance(reply := read_reply(answer), Rejected)), None)
            if wrong is not None:
                yield reject(corpus, unit, number, wrong.reason, f"an answer {wrong.metrics['detail']}")
                continue
            user_text = "".join(user for user, _ in kept)
            try:
                yield Dialogue(
                    id=f"{source.name}-{piece}-{number:07d}",
                    turns=tuple(Turn(user=user, assistant=answer) for user, answer in kept),
                    language=source.language or detect_language(user_text),
                    source=source.name,
                    licence=cell_text(row, "copyright") or source.licence if source.licence == "per row" else source.licence,
                    attribution=source.attribution,
                    split=parse_split(unit.rpartition("/")[2].rpartition(".")[0]),
                )
            except ValidationError as error:
                first = error.errors()[0]
                yield reject(corpus, unit, number, "bad_dialogue", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def rows(self, corpus: CorpusFolder, unit: str) -> Iterator[NumberedRow]:
        """Yield the rows of JSON lines, a JSON array or parquet."""
        return read_parquet(corpus, unit, self.columns) if unit.endswith(".parquet") else read_json(corpus, unit)

    @abstractmethod
    def parse_exchanges(self, row: TableRow) -> list[Exchange] | str:
        """Return the conversation of a row, or why the row has none."""


def detect_language(words: str) -> str:
    """Return `zh` when at least a third of the letters are Chinese, else `en`."""
    letters = [char for char in words if char.isalpha()]
    return "zh" if 3 * sum("\u4e00" <= char <= "\u9fff" for char in letters) >= max(1, len(letters)) else "en"


_MOSS_MARKUP: Final = re.compile(r"<\|[A-Za-z ]+\|>:?|<eo[a-z]>")


class MossReader(DialogueReader):
    """moss-003-sft-data: JSON lines of {conversation_id, chat: {turn_1: {Human, MOSS, Commands, …}}}; texts have markup."""

    patterns = ("**/moss*.jsonl", "**/moss*.json")
    required_files = (RequiredFiles(patterns, "download fnlp/moss-003-sft-data and unpack its zip"),)

    def parse_exchanges(self, row: TableRow) -> list[Exchange] | str:
        """Return the turns in the order of their numbers. A conversation that calls tools is rejected: it cannot be spoken."""
        chat = row.get("chat")
        if not isinstance(chat, dict) or not chat:
            return "field chat: expected a non-empty object"
        found = []
        for name in sorted(chat, key=lambda name: int(re.sub(r"\D", "", name) or 0)):
            turn = chat[name]
            if not isinstance(turn, dict):
                return f"field chat.{name}: expected an object"
            user, answer, commands = (
                _MOSS_MARKUP.sub("", str(turn.get(key) or "")).strip() for key in ("Human", "MOSS", "Commands")
            )
            if commands.strip(". ") not in ("", "None"):
                return f"field chat.{name}.Commands: the turn calls a tool"
            if not user or not answer:
                return f"field chat.{name}.{'MOSS' if user else 'Human'} is empty"
            found.append((user, answer))
        return found


class QuestionAnswerReader(DialogueReader):
    """Rows of one question and its answer: GammaCorpus (question, answer), COIG-CQIA and BELLE (instruction, input, output)."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        description: str,
        question: Sequence[str] = ("instruction", "input"),
        answer: Sequence[str] = ("output",),
    ) -> None:
        self.patterns, self.question, self.answer = patterns, question, answer
        self.required_files = (RequiredFiles(patterns, description),)

    def rows(self, corpus: CorpusFolder, unit: str) -> Iterator[NumberedRow]:
        """Yield the rows; of a parquet file, with the question columns that it has."""
        if unit.endswith(".parquet"):
            return read_parquet(corpus, unit, (self.question[-1], self.answer[0]), self.question[:-1])
        return read_json(corpus, unit)

    def parse_exchanges(self, row: TableRow) -> list[Exchange] | str:
        """Return the question, from all columns of `question`, and the first answer."""
        question = "\n".join(part for name in self.question if (part := multiline_text(row, name)))
        answer = next((part for name in self.answer if (part := multiline_text(row, name))), "")
        if not question or not answer:
            return f"no text in field {' or '.join(self.answer if question else self.question)}"
        return [(question, answer)]


class MessageListReader(DialogueReader):
    """Rows of a list of messages: UltraChat (messages of role, content), Magpie (conversations of from, value)."""

    def __init__(self, patterns: tuple[str, ...], description: str, column: str, role: str, content: str) -> None:
        self.patterns, self.column, self.role, self.content = patterns, column, role, content
        self.required_files = (RequiredFiles(patterns, description),)

    def rows(self, corpus: CorpusFolder, unit: str) -> Iterator[NumberedRow]:
        """Yield the rows."""
        return read_parquet(corpus, unit, (self.column,)) if unit.endswith(".parquet") else read_json(corpus, unit)

    def parse_exchanges(self, row: TableRow) -> list[Exchange] | str:
        """Return user and assistant messages in pairs, without system messages and without an unanswered last message."""
        messages = row.get(self.column)
        if not isinstance(messages, list):
            return f"field {self.column}: expected a list of messages"
        spoken: list[tuple[bool, str]] = []
        for message in messages:
            role = _ROLES.get(str(message.get(self.role, "")).lower()) if isinstance(message, dict) else None
            if role is None:
                return f"field {self.column}: {self.role} must be one of {', '.join(_ROLES)}"
            if role != "system":
                spoken.append((role == "user", multiline_text(message, self.content)))
        pairs = [(user, answer) for (_, user), (_, answer) in zip(spoken[::2], spoken[1::2], strict=False)]
        if any(is_user != (at % 2 == 0) for at, (is_user, _) in enumerate(spoken)) or not pairs:
            return f"field {self.column}: user and assistant do not take turns"
        if not all(user and answer for user, answer in pairs):
            return f"field {self.column}: {self.content} of a message is empty"
        return pairs


_ROLES: Final = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def multiline_text(row: Any, name: str) -> str:
    """Return a text with its line breaks, which the rewriter needs to strip markdown."""
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
