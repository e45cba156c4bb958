"""`soundflow review`: questions about earlier turns, verified, with a server that misbehaves, and without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from soundflow.operators.curate.reviewing import LABEL, answers_agree
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.speech.dialogue_lines import read_dialogues
from soundflow.pipeline.speech.review import ReviewSummary, review_dialogues
from soundflow.schemas.llm import BudgetSpent, ServiceBroken
from soundflow.schemas.speech import Dialogue
from tests.operators.curate.chats import config, key
from tests.support import llm_roles as roles
from tests.support.hostile_llm import Fault, HostileLlm, always, faulty

__all__ = ["key"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sixteen dialogues of five turns, one of three, a line that is none."""
    lines: list[dict[str, Any]] = [
        {"id": f"d{number}", "turns": [{"user": f"Turn {turn} of talk {number}.", "assistant": "Yes."} for turn in range(5)]}
        for number in range(16)
    ]
    lines.append({"id": "short", "turns": [{"user": f"Turn {turn}.", "assistant": "Yes."} for turn in range(3)]})
    path = tmp_path / "dialogues.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    return path


def dialogues(path: Path) -> dict[str, Dialogue]:
    return {line.id: line for _, line in read_dialogues(path) if isinstance(line, Dialogue)}


def reviewed(source: Path, server: HostileLlm, out: str = "out.jsonl", answers: str = "answers") -> ReviewSummary:
    settings = config(server, {"timeout_seconds": 30, "backoff_seconds": 0.01}, max_tokens=256)
    return review_dialogues(source, source.parent / out, settings, share=1.0, answers=AnswerCache(source.parent / answers))


def test_a_question_is_appended_with_its_author(source: Path) -> None:
    with HostileLlm() as server:
        summary = reviewed(source, server)
        assert summary.reviewed == summary.drawn == 16 and summary.refused == {"bad_line": 1} and server.calls == 3 * 16
        assert reviewed(source, server) == summary and server.calls == 3 * 16
    before, after = dialogues(source), dialogues(source.parent / "out.jsonl")
    assert after["short"] == before["short"]
    for name in before.keys() - {"short"}:
        *turns, last = after[name].turns
        assert tuple(turns) == before[name].turns and last.label == LABEL
        assert last.assistant == before[name].turns[0].user and after[name].attribution.startswith("review question: llm:")


@pytest.mark.parametrize(("knows", "reason"), [(True, "answered_without_the_turn"), (False, "not_answered_with_the_turn")])
def test_a_question_that_does_not_depend_on_its_turn_is_rejected(
    source: Path, monkeypatch: pytest.MonkeyPatch, knows: bool, reason: str
) -> None:
    def listener(blocks: list[Any], system: str, rng: object) -> dict[str, Any]:
        talk = blocks[0][-1]["user"].split()[-1]
        return {"known": knows, "answer": f"It was: Turn 0 of talk {talk}" if knows else "I do not know."}

    monkeypatch.setattr(roles, "_answerer", listener)
    with HostileLlm() as server:
        summary = reviewed(source, server)
    assert summary.reviewed == 0 and summary.refused == {"bad_line": 1, reason: 16}
    assert dialogues(source.parent / "out.jsonl") == dialogues(source)


def test_faulty_calls_change_nothing(source: Path) -> None:
    with HostileLlm() as server:
        reviewed(source, server)
    kinds = (Fault.BUSY, Fault.RESET, Fault.ERROR_500, Fault.HTML)
    with HostileLlm(faulty(0.3, kinds)) as server:
        assert reviewed(source, server, "again.jsonl", "others").failed == 0 and server.calls > 3 * 16
    assert (source.parent / "again.jsonl").read_bytes() == (source.parent / "out.jsonl").read_bytes()


def test_a_dead_server_writes_nothing_and_a_spent_budget_ends_it(source: Path) -> None:
    out = source.parent / "out.jsonl"
    with HostileLlm(always(Fault.ERROR_500)) as server:
        settings = config(server, {"timeout_seconds": 30, "backoff_seconds": 0.001, "retries": 1})
        with pytest.raises(ServiceBroken, match="history_question"):
            review_dialogues(source, out, settings, share=1.0, answers=AnswerCache(source.parent / "a"))
    assert not out.exists()
    with HostileLlm() as server, pytest.raises(BudgetSpent):
        settings = config(server, budget={"calls": 5})
        review_dialogues(source, out, settings, share=1.0, answers=AnswerCache(source.parent / "b"))
    assert not out.exists()


def test_without_a_model_the_question_is_a_stand_in_for_a_drawn_share(source: Path) -> None:
    out = source.parent / "out.jsonl"
    summary = review_dialogues(source, out, None, share=0.5, seed=1)
    assert 0 < summary.drawn == summary.reviewed < 16 and review_dialogues(source, out, None, share=0.5, seed=1) == summary
    longer = [dialogue for dialogue in dialogues(out).values() if dialogue.turns[-1].label == LABEL]
    assert len(longer) == summary.reviewed
    for dialogue in longer:
        assert dialogue.turns[0].user in dialogue.turns[-1].assistant and dialogue.attribution == "review question: template"
    assert review_dialogues(out, source.parent / "again.jsonl", None, share=1.0).drawn == 16 - summary.reviewed


def test_agreement_is_about_words() -> None:
    assert answers_agree("In Oslo.", "she lives in oslo") and not answers_agree("In Oslo.", "In Bergen")
    assert answers_agree("十二", "一共十二个") and not answers_agree("十二", "十一")
