"""The answers of the interpreter: accepted ones, corrections, and no text before its clause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np
import pytest

from soundflow.operators.curate.interpreting import interpret
from soundflow.operators.protocols.chat import ChatRequest, Completion
from soundflow.operators.speech.clauses import clause_ends
from soundflow.operators.tasks import POLICIES
from soundflow.schemas.clip import Clip, Interpreted, Segment
from soundflow.schemas.llm import LlmConfig, Usage
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.recipe import SceneConfig
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.text import join_texts
from tests.operators.compose.pool import MemoryPool
from tests.operators.curate.scenes import burst
from tests.operators.curate.speech_clips import evenly

TEXT, CHINESE = "When the rain stopped, we walked home. It was late!", "雨停了，我们走回家。已经很晚了！"
CLAUSES = ["When the rain stopped,", "we walked home.", "It was late!"]


class Model:
    """A chat model that gives these answers in order and keeps its requests."""

    config = LlmConfig(model="m")

    def __init__(self, *answers: Sequence[str]):
        self.answers, self.requests = list(answers), list[ChatRequest]()

    async def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        return Completion(text=json.dumps({"segments": self.answers.pop(0)}), model="m-1", usage=Usage(calls=1), finish="stop")


def clip(**more: object) -> Clip:
    return MemoryPool().add("x", burst(64_000), transcript=TEXT, words=evenly(TEXT, 64_000), language="en", **more)


def interpret_clip(model: Model, of: Clip, into: str = "") -> Outcome[Interpreted]:
    return asyncio.run(interpret(model, of, into))


def test_an_existing_translation_is_split_by_clause() -> None:
    model = Model(["雨停了，", "我们走回家。", "已经很晚了！"])
    outcome = interpret_clip(model, clip(translation=CHINESE, translation_language="zh-CN"))
    assert isinstance(outcome, Ok)
    made = outcome.value
    assert made.segments == (
        Segment(text="雨停了，", words=4),
        Segment(text="我们走回家。", words=7),
        Segment(text="已经很晚了！", words=10),
    )
    assert (made.translation, made.translation_language, made.interpreter) == (CHINESE, "zh-CN", "cut:llm:m")
    system, user = (message.text for message in model.requests[0].messages)
    assert "Chinese" in system and all(clause in user for clause in CLAUSES)


def test_an_empty_segment_defers_its_text() -> None:
    chinese = clip(translation=CHINESE, translation_language="zh")
    outcome = interpret_clip(Model(["", "雨停了，我们走回家。", "已经很晚了！"]), chinese)
    assert isinstance(outcome, Ok) and [segment.words for segment in outcome.value.segments] == [7, 10]


def test_without_a_translation_the_model_translates_and_is_named() -> None:
    outcome = interpret_clip(Model([" Quand la pluie\ncessa, ", "nous sommes rentrés.", "Il était tard !"]), clip(), "fr")
    assert isinstance(outcome, Ok)
    assert outcome.value.translation == "Quand la pluie cessa, nous sommes rentrés. Il était tard !"
    assert (outcome.value.translation_language, outcome.value.interpreter) == ("fr", "llm:m")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (["雨停了，我们走回家。", "已经很晚了！"], "3 clauses were given, 2 segments"),
        (["雨停了，", "我们走回家。", "很晚了！"], "not the given translation"),
        (["我们走回家。", "雨停了，", "已经很晚了！"], "not the given translation"),
        (["雨停了，", "雨停了，我们走回家。", "已经很晚了！"], "not the given translation"),
        (["", "", ""], "not the given translation"),
    ],
)
def test_an_answer_that_differs_from_the_translation_is_corrected(answer: list[str], why: str) -> None:
    given = clip(translation=CHINESE, translation_language="zh")
    model = Model(answer, ["雨停了，", "我们走回家。", "已经很晚了！"])
    assert isinstance(interpret_clip(model, given), Ok) and why in model.requests[1].messages[-1].text
    rejected = interpret_clip(Model(answer, answer), given)
    assert isinstance(rejected, Rejected) and rejected.reason == "llm_failed_check" and why in rejected.metrics["detail"]


def test_an_empty_last_segment_is_rejected() -> None:
    rejected = interpret_clip(Model(["Il pleut.", "On rentre.", " … "], ["a", "b", ""]), clip(), "fr")
    assert isinstance(rejected, Rejected) and "last segment is empty" in rejected.metrics["detail"]


def test_english_is_not_split_within_a_word() -> None:
    text = "今天早上我买了面包。"
    chinese = MemoryPool().add(
        "x", burst(64_000), transcript=text, words=evenly(text, 64_000), translation="I bought bread.", translation_language="en"
    )
    assert len(clause_ends(chinese.words)) == 1
    assert isinstance(interpret_clip(Model(["I  bought bread."]), chinese), Ok)


def test_a_stream_has_the_segments_of_the_model_at_their_clauses() -> None:
    chinese = clip(translation=CHINESE, translation_language="zh")
    outcome = interpret_clip(Model(["", "雨停了，我们走回家。", "已经很晚了！"]), chinese)
    assert isinstance(outcome, Ok)
    spoken = Clip.model_validate(clip().model_dump() | outcome.value.model_dump())
    policy = POLICIES[Task.SIMULTANEOUS_INTERPRETATION]
    said = policy.draw_responses(spoken, policy.respond_to_clip(spoken), SceneConfig(), np.random.default_rng(0))
    assert [(piece.text, piece.source) for piece in said] == [
        ("雨停了，我们走回家。", "cut:llm:m"),
        ("已经很晚了！", "cut:llm:m"),
    ]
    assert said[0].evidence == spoken.words[6].end and join_texts(piece.text for piece in said) == CHINESE
