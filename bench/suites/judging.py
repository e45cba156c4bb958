"""VoiceBench's judge: a language model that rates answers from 1 to 5 or decides whether they are correct, with three votes each.

The two rubrics are those of VoiceBench, word for word (Apache-2.0, github.com/MatthewCYM/VoiceBench). The published judge is
gpt-4o-mini at temperature 0.5. Votes are stored like predictions, so each one is requested once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from soundflow.bench.harness.chat_player import ChatAnswer, Conversation, UserTurn, config_of
from soundflow.bench.harness.collect import RunProgress, collect_chat
from soundflow.bench.harness.predictions import Predictions
from soundflow.bench.suites.item import Item
from soundflow.schemas.llm import LlmConfig, LlmServer
from soundflow.schemas.text import without_thoughts

VOTES: Final = 3
SYSTEM: Final = "You are a helpful assistant who tries to help answer the user's question."
TEMPERATURE, TOP_P, TOKENS = 0.5, 0.95, 1024
LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Vote:
    """One request to the judge."""

    item: Item
    number: int

    @property
    def id(self) -> str:
        """Id of the vote."""
        return f"{self.item.id}#{self.number}"

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of its row."""
        return (self.id,)


def rubric(name: str) -> str:
    """Return the text of a rubric, `open` or `qa`."""
    return (resources.files("soundflow.bench.suites") / f"judge_{name}.txt").read_text(encoding="utf-8")


def judge_config(
    model: str,
    base_url: str | None,
    server: LlmServer | None = None,
    *,
    timeout: float | None = None,
    retries: int | None = None,
) -> LlmConfig:
    """Return the configuration of the published judge with this model and address."""
    config = config_of(
        model, base_url, max_tokens=TOKENS, temperature=TEMPERATURE, server=server, timeout=timeout, retries=retries
    )
    return config.model_copy(update={"top_p": TOP_P, "audio": False, "send_seed": False})


def judge(
    items: Sequence[Item], answers: Mapping[str, str], directory: Path, config: LlmConfig, name: str
) -> tuple[RunProgress, dict[str, list[str]]]:
    """Collect votes on all non-empty answers in `directory`; return (progress, item id → votes)."""
    text = rubric(name)
    votes = [Vote(item, number) for item in items if answers.get(item.id, "").strip() for number in range(VOTES)]

    def make(vote: Vote) -> Conversation:
        values = {"prompt": vote.item.text, "reference": (vote.item.references or ("",))[0], "response": answers[vote.item.id]}
        return Conversation(vote.id, (UserTurn(vote.id, fill_rubric(text, values)),), SYSTEM)

    def rows(vote: Vote, answers: list[ChatAnswer]) -> list[dict[str, Any]]:
        return [one.row() for one in answers]

    record = {"judge": config.answering("benchmark").model_dump(mode="json"), "rubric": text}
    with Predictions(directory, record) as predictions:
        progress = collect_chat(predictions, votes, config, make, rows)
        found: dict[str, list[str]] = {}
        for vote in votes:
            if vote.id in predictions.done:
                answer = without_thoughts(str(predictions.done[vote.id]["answer"])).answer
                found.setdefault(vote.item.id, []).append(answer or "")
    return progress, found


def fill_rubric(text: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a rubric. Placeholders inside inserted values stay as they are."""
    parts = [text]
    for name, value in values.items():
        mark = f"{{{name}}}"
        parts = [piece for part in parts for piece in _split(part, mark, value)]
    return "".join(parts)


class _Value(str):
    """An inserted value."""


def _split(part: str, mark: str, value: str) -> list[str]:
    if isinstance(part, _Value) or mark not in part:
        return [part]
    before, _, after = part.partition(mark)
    return [before, _Value(value), after]


def rating(vote: str) -> float | None:
    """Parse a rating from 1 to 5, bare or as `[[4]]`; None for any other text."""
    text = vote.strip()
    if text.count("[[") == 1 and "]]" in text:
        text = text.partition("[[")[2].partition("]]")[0]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if LOWEST <= value <= HIGHEST else None


def unjudged_note(what: str, votes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return a note on answers without a readable vote: name a judge or, since votes are stored, delete them."""
    if not votes:
        return ()
    remedy = "delete the folder `judge` of the run and run again" if all(votes) else "name a judge with --judge and run again"
    return (f"{len(votes)} answers have no readable {what}: {remedy}",)


def verdict(votes: Sequence[str]) -> bool | None:
    """Return whether most of the readable votes are yes; None if no vote is readable. A tie is a no."""
    counted = Counter(word for vote in votes if (word := vote.strip().strip(".!\"'*").lower()) in ("yes", "no"))
    return counted["yes"] > counted["no"] if counted else None
