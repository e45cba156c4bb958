"""The pronunciation list: the voice reads the other spelling, the transcript may have either."""

from __future__ import annotations

import numpy as np
import pytest

from soundflow.operators.protocols.asr import Transcription
from soundflow.operators.protocols.tts import Rendering
from soundflow.operators.speech.chain import SpeechTools, render_turn
from soundflow.operators.speech.gate import check_rendering
from soundflow.operators.speech.pronunciation import Pronunciations
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.operators.speech.scoring import normalise_for_scoring, score
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.speech import GateConfig, Voice
from tests.conftest import SENTENCES
from tests.support.spoken import HEART

NAMES = Pronunciations(
    {
        "Nguyen": "win",
        "sql": "sequel",
        "WD-40": "double-u d forty",
        "Lee": "Lee uh",
        "Polish": "Poe-lish",
        "单于": "蝉于",
        "New York": "noo york",
    }
)


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        ("en", "Ask Nguyen, or Nguyen's sister.", "Ask win, or win's sister."),
        ("en", "SQL and sql and Sql", "sequel and sequel and sequel"),
        ("en", "MySQL, Nguyens", "MySQL, Nguyens"),
        ("en", "a can of WD forty", "a can of double-u d forty"),
        ("en", "Polish or polish", "Poe-lish or polish"),
        ("en", "In New York Lee waits", "In noo york Lee uh waits"),
        ("zh", "匈奴的单于来了", "匈奴的蝉于来了"),
    ],
)
def test_whole_words_of_the_list_are_respelled_once(language: str, text: str, spoken: str) -> None:
    assert NAMES.respell(text, language) == spoken


def test_without_a_list_nothing_changes() -> None:
    assert (
        Pronunciations().respell("Ask Nguyen.", "en") == "Ask Nguyen."
        and Pronunciations().unify("ask nguyen", "en") == "ask nguyen"
    )


@pytest.mark.parametrize(
    "heard", ["Ask Nguyen and Lee about SQL.", "Ask win and Lee uh about sequel.", "ask Win and Lee about sequel"]
)
def test_either_spelling_is_equal_to_the_text(heard: str) -> None:
    found = score("Ask Nguyen and Lee about SQL.", heard, "en", lambda tokens: NAMES.unify(tokens, "en"))
    assert found.wer == 0.0
    assert score("Ask Nguyen and Lee about SQL.", "Ask John and Lee about SQL.", "en", lambda t: NAMES.unify(t, "en")).wer > 0
    assert NAMES.unify(normalise_for_scoring("匈奴的单于", "zh"), "zh") == NAMES.unify(
        normalise_for_scoring("匈奴的蝉于", "zh"), "zh"
    )


class Scripted:
    """A recogniser that writes a given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def transcribe(self, samples: np.ndarray, language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        return Transcription(self.text, "scripted")


def judge(audio: np.ndarray, text: str, heard: str) -> Outcome[dict[str, object]] | Rejected:
    """The verdict of the gate on a rendering that is heard as a given text."""
    list_ = Pronunciations({"heating": "heeting"})
    return check_rendering(audio, text, "en", Scripted(heard), HEART, pronunciations=list_)


def test_the_gate_accepts_either_form_and_keeps_the_transcript(real_audio: dict[str, np.ndarray]) -> None:
    text = SENTENCES["request"]
    assert "heating" in text
    for heard in (text, text.replace("heating", "heeting")):
        outcome = judge(real_audio["request"], text, heard)
        assert isinstance(outcome, Ok) and outcome.value["wer"] == 0 and outcome.value["transcript"] == heard
    outcome = judge(real_audio["request"], text, text.replace("heating", "radio station"))
    assert isinstance(outcome, Rejected) and outcome.reason == "wer"


@pytest.mark.parametrize(
    "heard", ["It costs $10 at 7:30.", "It costs 10 dollars at seven thirty.", "it costs ten dollars at 7.30"]
)
@pytest.mark.parametrize("planned", ["It costs ten dollars at seven thirty.", "It costs $10 at 7:30."])
def test_the_gate_normalises_text_and_transcript_alike(planned: str, heard: str, real_audio: dict[str, np.ndarray]) -> None:
    wide = GateConfig(shortest=0.0, longest=10.0, slack_seconds=5.0, pitch_factor=10.0)
    outcome = check_rendering(real_audio["request"], planned, "en", Scripted(heard), HEART, config=wide)
    assert isinstance(outcome, Ok) and outcome.value["wer"] == 0


class Reader:
    """A speaker that notes what it is given to say."""

    knobs = ()
    voices = (Voice(name="x:a", language="en"),)

    def __init__(self, samples: np.ndarray) -> None:
        self.texts: list[str] = []
        self.samples = samples

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        self.texts.append(text)
        return Rendering(self.samples)


def test_the_voice_is_given_the_respelled_text_and_the_turn_keeps_the_word(real_audio: dict[str, np.ndarray]) -> None:
    reader = Reader(real_audio["request"])
    text = SENTENCES["request"]
    names = Pronunciations({"heating": "heeting"})
    pool = VoicePool({"x": reader})  # type: ignore[dict-item]
    tools = SpeechTools(pool, Scripted(text), rewrite_by_rules, lambda voice: HEART, GateConfig(), 7, names)
    turn = render_turn(text, reader.voices[0], "en", "d", 0, tools)
    assert reader.texts == [text.replace("heating", "heeting")] and turn.text == text and turn.samples is not None
    tools = SpeechTools(pool, Scripted("Nothing of the kind."), rewrite_by_rules, lambda voice: HEART, GateConfig(), 7, names)
    turn = render_turn(text, reader.voices[0], "en", "d", 0, tools)
    assert turn.samples is None and len(turn.rejected) == len(turn.takes) == 1
    assert turn.takes[0].metrics["transcript"] == "Nothing of the kind."
