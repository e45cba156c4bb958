"""Corpora of written conversations and instructions: they become dialogues that `soundflow speak` renders."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from soundflow.operators.sources.corpora.place import Place
from soundflow.operators.sources.corpora.reader import Need, Read, Reader, reject, split_of
from soundflow.operators.sources.corpora.tables import Numbered, Row, json_rows, parquet_rows, text
from soundflow.schemas.sources import Source
from soundflow.schemas.speech import Dialogue, Turn

MOST_TURNS: Final = 15
"""Turns of a stream (paper, §3.2: 3 to 15); longer conversations are cut behind an answer."""
Exchange = tuple[str, str]
"""What the user says, what the assistant answers."""


class Texts(Reader):
    """Files of rows, each of which is a conversation."""

    patterns: tuple[str, ...]
    columns: ClassVar[Sequence[str]] = ()
    """Of a parquet file."""

    def units(self, place: Place) -> Iterator[str]:
        """A file each."""
        for pattern in self.patterns:
            yield from place.find(pattern)

    def read(self, place: Place, unit: str, source: Source) -> Iterator[Read]:
        """Its conversations."""
        piece = re.sub(r"[^\w.-]+", "-", unit.rpartition(".")[0])[-80:]
        for number, row in self.rows(place, unit):
            if isinstance(row, str):
                yield reject(place, unit, number, "bad_row", row)
                continue
            exchanges = self.exchanges(row)
            if isinstance(exchanges, str):
                yield reject(place, unit, number, "bad_dialogue", exchanges)
                continue
            kept = exchanges[:MOST_TURNS]
            said = "".join(user for user, _ in kept)
            try:
                yield Dialogue(
                    id=f"{source.name}-{piece}-{number:07d}",
                    turns=tuple(Turn(user=user, assistant=answer) for user, answer in kept),
                    language=source.language or language_of(said),
                    source=source.name,
                    licence=text(row, "copyright") or source.licence if source.licence == "per row" else source.licence,
                    attribution=source.attribution,
                    split=split_of(unit.rpartition("/")[2].rpartition(".")[0]),
                )
            except ValidationError as error:
                first = error.errors()[0]
                yield reject(place, unit, number, "bad_dialogue", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def rows(self, place: Place, unit: str) -> Iterator[Numbered]:
        """Rows of JSON lines, a JSON array or parquet."""
        return parquet_rows(place, unit, self.columns) if unit.endswith(".parquet") else json_rows(place, unit)

    @abstractmethod
    def exchanges(self, row: Row) -> list[Exchange] | str:
        """The conversation of one row, or why it is none."""


def language_of(words: str) -> str:
    """zh when at least a third of the letters are Chinese, else en."""
    letters = [char for char in words if char.isalpha()]
    return "zh" if 3 * sum("\u4e00" <= char <= "\u9fff" for char in letters) >= max(1, len(letters)) else "en"


_MOSS_MARKS: Final = re.compile(r"<\|[A-Za-z ]+\|>:?|<eo[a-z]>")


class Moss(Texts):
    """moss-003-sft-data: JSON lines of {conversation_id, chat: {turn_1: {Human, MOSS, Commands, …}}} with marks in every text."""

    patterns = ("**/moss*.jsonl", "**/moss*.json")
    needs = (Need(patterns, "download fnlp/moss-003-sft-data and unpack its zip"),)

    def exchanges(self, row: Row) -> list[Exchange] | str:
        """Turns in the order of their numbers; a conversation that calls tools is none that can be spoken."""
        chat = row.get("chat")
        if not isinstance(chat, dict) or not chat:
            return "chat is empty"
        found = []
        for name in sorted(chat, key=lambda name: int(re.sub(r"\D", "", name) or 0)):
            turn = chat[name]
            if not isinstance(turn, dict):
                return f"chat.{name} is no object"
            user, answer, commands = (
                _MOSS_MARKS.sub("", str(turn.get(key) or "")).strip() for key in ("Human", "MOSS", "Commands")
            )
            if commands.strip(". ") not in ("", "None"):
                return f"chat.{name} calls a tool"
            if not user or not answer:
                return f"chat.{name} has no Human or no MOSS"
            found.append((user, answer))
        return found


class Pairs(Texts):
    """A question and its answer in a row: GammaCorpus (question, answer), COIG-CQIA and BELLE (instruction, input, output)."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        about: str,
        asks: Sequence[str] = ("instruction", "input"),
        answers: Sequence[str] = ("output",),
    ) -> None:
        self.patterns, self.asks, self.answers = patterns, asks, answers
        self.needs = (Need(patterns, about),)

    def rows(self, place: Place, unit: str) -> Iterator[Numbered]:
        """Of a parquet file, the columns it needs and has."""
        if unit.endswith(".parquet"):
            return parquet_rows(place, unit, (self.asks[-1], self.answers[0]), self.asks[:-1])
        return json_rows(place, unit)

    def exchanges(self, row: Row) -> list[Exchange] | str:
        """One."""
        ask = "\n".join(part for name in self.asks if (part := plain(row, name)))
        answer = next((part for name in self.answers if (part := plain(row, name))), "")
        if not ask or not answer:
            return f"{' and '.join(self.asks)} are empty" if not ask else f"{' and '.join(self.answers)} are empty"
        return [(ask, answer)]


class Messages(Texts):
    """A list of messages in a row: UltraChat (messages of role, content), Magpie (conversations of from, value)."""

    def __init__(self, patterns: tuple[str, ...], about: str, column: str, speaker: str, words: str) -> None:
        self.patterns, self.column, self.speaker, self.words = patterns, column, speaker, words
        self.needs = (Need(patterns, about),)

    def rows(self, place: Place, unit: str) -> Iterator[Numbered]:
        """As stored."""
        return parquet_rows(place, unit, (self.column,)) if unit.endswith(".parquet") else json_rows(place, unit)

    def exchanges(self, row: Row) -> list[Exchange] | str:
        """User and assistant in turn; a system message is passed over, a last question without answer dropped."""
        messages = row.get(self.column)
        if not isinstance(messages, list):
            return f"{self.column} is no list"
        said: list[tuple[bool, str]] = []
        for message in messages:
            who = _WHO.get(str(message.get(self.speaker, "")).lower()) if isinstance(message, dict) else None
            if who is None:
                return f"{self.column} holds something else than messages of a user and an assistant"
            if who != "system":
                said.append((who == "user", plain(message, self.words)))
        pairs = [(user, answer) for (_, user), (_, answer) in zip(said[::2], said[1::2], strict=False)]
        if any(is_user != (at % 2 == 0) for at, (is_user, _) in enumerate(said)) or not pairs:
            return f"{self.column}: user and assistant do not take turns"
        return pairs if all(user and answer for user, answer in pairs) else f"{self.column} holds an empty message"


_WHO: Final = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def plain(row: Any, name: str) -> str:
    """A text with its line breaks: they matter to the rewriter, which strips markdown."""
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
