"""History-review questions for written dialogues (paper, appendix B.2), by a language model or a template."""

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
"""Label of the turn with the question. The sub-task `chat_history` plays dialogues up to it."""


def can_add_question(dialogue: Dialogue) -> bool:
    """Return whether a dialogue has an earlier turn at the required distance and no such question yet."""
    return len(dialogue.turns) > c.HISTORY_TURNS and all(turn.label != LABEL for turn in dialogue.turns)


async def add_question(dialogue: Dialogue, chat: ChatModel, seed: int) -> Outcome[Dialogue]:
    """Append a question whose answer depends on a turn at least three before the last.

    Two further calls verify it: the answer must be found with all turns, and not without the turn that it depends on. Rejected:
    `not_answered_with_the_turn`, `answered_without_the_turn`, or a reason of `ask`. Failed: no answer.
    """
    turns = [{"turn": number, "user": turn.user, "assistant": turn.assistant} for number, turn in enumerate(dialogue.turns, 1)]
    values = {"turns": turns, "distance": c.HISTORY_TURNS}
    written = await ask(
        chat,
        "history_question",
        values,
        HistoryQuestion,
        seed=seed,
        check=lambda question: question.mismatch(len(turns), c.HISTORY_TURNS),
    )
    if not isinstance(written, Ok):
        return written
    question = written.value.value
    without = [turn for turn in turns if turn["turn"] != question.turn]
    for shown, expected, reason in ((turns, True, "not_answered_with_the_turn"), (without, False, "answered_without_the_turn")):
        answered = await _can_answer(chat, question, shown, seed)
        if not isinstance(answered, Ok):
            return answered
        if answered.value != expected:
            return Rejected(reason, {"detail": f"turn {question.turn}: {question.question} {question.answer}"})
    return Ok(_append(dialogue, question.question, question.answer, f"llm:{written.value.model}"))


async def _can_answer(chat: ChatModel, question: HistoryQuestion, turns: Sequence[dict[str, Any]], seed: int) -> Outcome[bool]:
    """Return whether the model finds the answer in these turns."""
    values = {"turns": turns, "question": question.question}
    answer: Outcome[Answer[HistoryAnswer]] = await ask(chat, "history_answerer", values, HistoryAnswer, seed=seed)
    if isinstance(answer, (Rejected, Failed)):
        return answer
    found = answer.value.value
    return Ok(found.known and answers_agree(question.answer, found.answer))


def add_template_question(dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
    """Append a template question that fits any dialogue, about its first turn. The attribution states `template`."""
    questions = prompts.question_texts("review_first")
    texts = [text for text in questions if _is_wide(text) == dialogue.language.startswith(("zh", "cmn"))] or questions
    answers = prompts.variants("response_review_first", said=dialogue.turns[0].user)
    return _append(dialogue, texts[int(rng.integers(len(texts)))], answers[int(rng.integers(len(answers)))], "template")


def answers_agree(answer: str, other: str) -> bool:
    """Return whether `other` contains all words of `answer`. Chinese and Japanese characters count as words."""
    return set(_words(answer)) <= set(_words(other))


def _words(text: str) -> list[str]:
    return re.findall(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+", text.casefold())


def _is_wide(text: str) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", text))


def _append(dialogue: Dialogue, question: str, answer: str, writer: str) -> Dialogue:
    """Append a turn. Its author is recorded in the attribution, since the origin of all replies becomes `manifest`."""
    attribution = f"{dialogue.attribution}; " if dialogue.attribution else ""
    turns = (*dialogue.turns, Turn(user=question, assistant=answer, label=LABEL))
    return Dialogue.model_validate(
        dialogue.model_dump()
        | {"turns": [turn.model_dump() for turn in turns], "attribution": f"{attribution}review question: {writer}"}
    )
