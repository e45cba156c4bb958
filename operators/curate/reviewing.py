"""Questions about earlier turns for written dialogues (paper, appendix B.2): written by a model and tried out, or a stand-in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from soundflow import prompts
from soundflow.operators.protocols.asking import Answer, ask
from soundflow.operators.protocols.chat import ChatModel
from soundflow.schemas import constants as c
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.scenario import HistoryAnswer, HistoryQuestion
from soundflow.schemas.speech import Dialogue, Turn

REVIEWING_VERSION: Final = "1"
LABEL: Final = "review question"
"""Label of the turn that asks back; the sub-task `chat_history` plays dialogues up to it."""


def can_add_question(dialogue: Dialogue) -> bool:
    """Whether it has a turn far enough back, and no such question yet."""
    return len(dialogue.turns) > c.HISTORY_TURNS and all(turn.label != LABEL for turn in dialogue.turns)


async def add_question(dialogue: Dialogue, chat: ChatModel, seed: int) -> Outcome[Dialogue]:
    """The dialogue with a question behind it whose answer depends on a turn at least three before the last.

    Two more calls try the question out: with all turns the answer must be found, without the turn it depends on it must not be.
    Rejected: `not_answered_with_the_turn`, `answered_without_the_turn`, or what `ask` rejects; Failed when none could be had.
    """
    turns = [{"turn": number, "user": turn.user, "assistant": turn.assistant} for number, turn in enumerate(dialogue.turns, 1)]
    values = {"turns": turns, "distance": c.HISTORY_TURNS}
    asked = await ask(
        chat,
        "history_question",
        values,
        HistoryQuestion,
        seed=seed,
        check=lambda question: question.mismatch(len(turns), c.HISTORY_TURNS),
    )
    if not isinstance(asked, Ok):
        return asked
    question = asked.value.value
    without = [turn for turn in turns if turn["turn"] != question.turn]
    for shown, wanted, reason in ((turns, True, "not_answered_with_the_turn"), (without, False, "answered_without_the_turn")):
        tried = await _tried(chat, question, shown, seed)
        if not isinstance(tried, Ok):
            return tried
        if tried.value != wanted:
            return Rejected(reason, {"detail": f"turn {question.turn}: {question.question} {question.answer}"})
    return Ok(_with(dialogue, question.question, question.answer, f"llm:{asked.value.model}"))


async def _tried(chat: ChatModel, question: HistoryQuestion, turns: Sequence[dict[str, Any]], seed: int) -> Outcome[bool]:
    """Whether a listener who heard these turns finds the answer."""
    values = {"turns": turns, "question": question.question}
    asked: Outcome[Answer[HistoryAnswer]] = await ask(chat, "history_answerer", values, HistoryAnswer, seed=seed)
    if isinstance(asked, (Rejected, Failed)):
        return asked
    found = asked.value.value
    return Ok(found.known and answers_agree(question.answer, found.answer))


def add_template_question(dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
    """The dialogue with a question that fits any: what was said first. No model wrote it, and its attribution says so."""
    asked = prompts.question_texts("review_first")
    texts = [text for text in asked if _is_wide(text) == dialogue.language.startswith(("zh", "cmn"))] or asked
    answers = prompts.variants("response_review_first", said=dialogue.turns[0].user)
    return _with(dialogue, texts[int(rng.integers(len(texts)))], answers[int(rng.integers(len(answers)))], "template")


def answers_agree(answer: str, other: str) -> bool:
    """Whether `other` says all the words of `answer`; a character is a word of Chinese."""
    return set(_words(answer)) <= set(_words(other))


def _words(text: str) -> list[str]:
    return re.findall(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+", text.casefold())


def _is_wide(text: str) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", text))


def _with(dialogue: Dialogue, question: str, answer: str, writer: str) -> Dialogue:
    """One turn longer. Replies are the manifest's from here on: who wrote this one stands in the attribution."""
    told = f"{dialogue.attribution}; " if dialogue.attribution else ""
    turns = (*dialogue.turns, Turn(user=question, assistant=answer, label=LABEL))
    return Dialogue.model_validate(
        dialogue.model_dump()
        | {"turns": [turn.model_dump() for turn in turns], "attribution": f"{told}review question: {writer}"}
    )
