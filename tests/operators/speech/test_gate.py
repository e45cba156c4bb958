"""The gate: faults that the words alone do not show, on the embedded voice."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from soundflow.backends.asr.recognisers import open_recogniser
from soundflow.backends.tts.speakers import open_voice_pool
from soundflow.operators.protocols.tts import Rendering
from soundflow.operators.speech.chain import SpeechTools, render_turn
from soundflow.operators.speech.gate import check_rendering, check_samples
from soundflow.operators.speech.pace import guess_pace
from soundflow.operators.speech.pitch import median_pitch
from soundflow.operators.speech.rewriting import rewrite_by_rules
from soundflow.operators.speech.voice_pool import VoicePool
from soundflow.schemas.outcome import Ok, Rejected
from soundflow.schemas.speech import GateConfig, HibariConfig, Pace, Voice, WhisperConfig
from tests.conftest import SENTENCES
from tests.support.spoken import HEART, NO_WHISPER, WHISPER_IS_HERE

TEXT = SENTENCES["long"]


def reason(samples: np.ndarray, text: str = TEXT, pace: Pace = HEART, speed: float = 1.0) -> str:
    """What the samples alone are refused for."""
    return check_samples(samples.astype(np.float32), text, "en", pace, speed=speed, config=GateConfig())[0]


def test_whole_renderings_pass(real_audio: dict[str, np.ndarray]) -> None:
    assert {reason(real_audio[name], text) for name, text in SENTENCES.items()} == {""}


def test_silence_and_noise_are_no_speech(real_audio: dict[str, np.ndarray]) -> None:
    assert reason(np.zeros(32_000)) == "silent" == reason(np.zeros(0))
    assert reason(0.1 * np.random.default_rng(0).standard_normal(real_audio["long"].size)) == "cut_ending"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75, 0.9, 0.95])
def test_a_cut_rendering_is_refused_wherever_it_is_cut(share: float, real_audio: dict[str, np.ndarray]) -> None:
    whole = real_audio["long"][: -round(HEART.tail_seconds * 16_000)]
    assert reason(whole[: int(share * whole.size)]) in ("too_short", "cut_ending")
    padded = np.concatenate([whole[: int(share * whole.size)], np.zeros(8_000)])
    assert share > 0.6 or reason(padded) == "too_short"


def test_a_rendering_that_goes_on_is_refused(real_audio: dict[str, np.ndarray]) -> None:
    assert reason(np.concatenate([real_audio["long"], real_audio["long"]])) == "too_long"


@pytest.mark.parametrize(("true", "assumed"), [(16_000, 24_000), (24_000, 16_000), (8_000, 16_000)])
def test_samples_taken_for_another_rate_are_refused_though_they_may_be_understood(
    true: int, assumed: int, real_audio: dict[str, np.ndarray]
) -> None:
    for name, text in SENTENCES.items():
        mistaken = soxr.resample(real_audio[name], assumed, true)
        assert reason(mistaken, text) in ("other_pitch", "too_short", "too_long", "cut_ending"), name


def test_another_speaker_is_refused(real_audio: dict[str, np.ndarray]) -> None:
    assert reason(real_audio["long"], pace=HEART.model_copy(update={"pitch_hz": (120.0, 110.0)})) == "other_pitch"


def test_a_guessed_pace_is_forgiving(real_audio: dict[str, np.ndarray]) -> None:
    unknown = guess_pace(Voice(name="x:y", language="en"))
    assert unknown.pitch(20) is None and {reason(real_audio[name], text, unknown) for name, text in SENTENCES.items()} == {""}
    assert reason(real_audio["short"], pace=unknown) == "too_short"


@pytest.mark.parametrize("hertz", [70.0, 110.0, 196.0, 330.0])
def test_the_pitch_of_a_pulse_train_is_its_rate(hertz: float) -> None:
    time = np.arange(16_000) / 16_000
    pulses = sum(np.cos(2 * np.pi * hertz * harmonic * time) / harmonic for harmonic in range(1, 12))
    assert median_pitch(np.asarray(0.1 * pulses, dtype=np.float32)) == pytest.approx(hertz, rel=0.015)


def test_what_is_not_voiced_has_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    assert median_pitch(noise) is None and median_pitch(np.zeros(16_000, dtype=np.float32)) is None
    assert median_pitch(np.zeros(0, dtype=np.float32)) is None


@pytest.mark.skipif(not WHISPER_IS_HERE, reason=NO_WHISPER)
def test_words_are_judged_by_the_recogniser(real_audio: dict[str, np.ndarray]) -> None:
    recogniser = open_recogniser(WhisperConfig())
    passed = check_rendering(real_audio["request"], SENTENCES["request"], "en", recogniser, HEART)
    assert isinstance(passed, Ok) and passed.value["wer"] == 0 and passed.value["heard_by"] == "whisper-tiny-en"
    other = "Please turn the heater on before you leave for the office."
    refused = check_rendering(real_audio["request"], other, "en", recogniser, HEART)
    assert isinstance(refused, Rejected) and refused.reason == "wer" and refused.metrics["wer"] > 0.1
    assert refused.metrics["ref"] != refused.metrics["hyp"]


class Stubborn:
    """A speaker of three kinds of knobs, which says the same whatever is turned; silent, so that nothing is transcribed."""

    def __init__(self, *knobs: str) -> None:
        self.knobs = knobs
        self.voices = (Voice(name="x:a", language="en"), Voice(name="x:b", language="en", variant_of="x:a"))
        self.requests: list[tuple[str, int, float]] = []

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        self.requests.append((voice.name, seed, speed))
        return Rendering(np.zeros(16_000, dtype=np.float32))


def tried(speaker: Stubborn, voices: int = 1) -> list[tuple[str, ...]]:
    """What each take of a turn changed."""
    speaker.voices = speaker.voices[:voices]
    voice_pool = VoicePool({"x": speaker})  # type: ignore[dict-item]
    tools = SpeechTools(voice_pool, open_recogniser(WhisperConfig()), rewrite_by_rules, guess_pace, GateConfig(), 7)
    turn = render_turn("Hello.", speaker.voices[0], "en", "d", 0, tools)
    assert turn.samples is None and {take.refused for take in turn.takes} == {"silent"}
    return [take.changed for take in turn.takes]


def test_each_retry_changes_what_can_change_and_says_so() -> None:
    assert tried(Stubborn("seed", "speed")) == [(), ("seed", "speed"), ("seed", "speed")]
    assert tried(Stubborn("draw")) == [(), ("draw",), ("draw",)]
    both = Stubborn("speed")
    assert tried(both, voices=2) == [(), ("voice", "speed"), ("voice", "speed")]
    assert [name for name, _, _ in both.requests] == ["x:a", "x:b", "x:a"] and len({speed for _, _, speed in both.requests}) == 3


def test_where_nothing_can_change_nothing_is_tried_again() -> None:
    assert tried(Stubborn()) == [()]


def test_the_embedded_voice_is_the_one_the_tests_know() -> None:
    assert open_voice_pool([HibariConfig()]).names() == ("hibari:heart",)
