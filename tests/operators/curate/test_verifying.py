"""The clip verifier: verdicts are monotone in the evidence and consistent; retrieved and generated clips are treated alike."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from soundflow.backends.embed.hashed_ngrams import HashedNgrams
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.curate.clip_evidence import CandidateClip, RequiredClip, measure
from soundflow.operators.curate.verifying import LlmVerifier, Rules, Verifier, length_factor, verifier_of, verify
from soundflow.schemas.base import InputError
from soundflow.schemas.generation import ClipVerdict, Evidence, VerifierConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from tests.operators.curate.chats import config, key, with_chat
from tests.operators.curate.test_clip_evidence import WANTED, candidate, knock, noise
from tests.support.hostile_llm import Fault, HostileLlm, always

__all__ = ["key"]
embed = HashedNgrams().embed
RULES = Rules(VerifierConfig(), "hashed-ngrams")
ORDER = {"reject": 0, "reprocess": 1, "accept": 2}
GOOD = Evidence(
    seconds=1.0, wanted_seconds=(0.5, 2.0), active_ratio=0.8, active_level_db=-26.0, peak=0.5, clipped_ratio=0.0, snr_db=30.0,
    similarity=0.9, level_gap_db=3.0, spectral_distance_db=6.0, speech_ratio=0.0,
)  # fmt: skip
BETTER = {
    "snr_db": (st.floats(-20, 60), 1), "similarity": (st.floats(-1, 1), 1), "clipped_ratio": (st.floats(0, 1), -1),
    "active_ratio": (st.floats(0, 1), 1), "active_level_db": (st.floats(-90, 0), 1), "level_gap_db": (st.floats(0, 80), -1),
    "spectral_distance_db": (st.floats(0, 40), -1), "speech_ratio": (st.floats(0, 1), -1),
}  # fmt: skip
"""Field → values, and the direction in which it gets better."""


def unchanged(candidate: CandidateClip) -> Outcome[CandidateClip]:
    return Ok(candidate)


def verdict(evidence: Evidence, required: RequiredClip = WANTED, final: bool = False) -> ClipVerdict:
    return RULES.verdict(required, evidence, final=final)


def run(one: CandidateClip, verifier: Verifier = RULES, required: RequiredClip = WANTED, reprocess: Any = unchanged) -> Any:
    return asyncio.run(verify(required, one, [knock(seed=1)], verifier, embed, reprocess))


@given(st.sampled_from(sorted(BETTER)), st.data(), st.booleans())
def test_better_evidence_never_makes_a_worse_verdict(field: str, data: st.DataObject, final: bool) -> None:
    strategies = {name: strategy for name, (strategy, _) in BETTER.items()}
    base = GOOD.model_copy(update={name: data.draw(strategies[name]) for name in BETTER if data.draw(st.booleans())})
    low, high = sorted(data.draw(st.tuples(strategies[field], strategies[field])))
    worse, better = (low, high) if BETTER[field][1] > 0 else (high, low)
    before, after = (verdict(base.model_copy(update={field: value}), final=final) for value in (worse, better))
    assert all(after.criteria()[name] >= before.criteria()[name] for name in before.criteria())
    if field not in ("snr_db", "active_ratio"):  # what TFJP mends may be `reprocess` where both it and another fail
        assert ORDER[after.verdict] >= ORDER[before.verdict]


@given(st.floats(-20, 60), st.floats(-20, 60))
def test_the_verdict_is_monotone_in_snr(one: float, other: float) -> None:
    low, high = (verdict(GOOD.model_copy(update={"snr_db": value})) for value in sorted((one, other)))
    assert ORDER[low.verdict] <= ORDER[high.verdict] and low.cleanliness <= high.cleanliness


@given(st.data())
def test_a_verdict_follows_from_its_criteria(data: st.DataObject) -> None:
    evidence = GOOD.model_copy(update={name: data.draw(strategy) for name, (strategy, _) in BETTER.items()})
    for final in (False, True):
        found = verdict(evidence, final=final)
        assert (found.verdict == "accept") == (min(found.criteria().values()) >= 0.5)
        assert not (final and found.verdict == "reprocess")
        assert found.verdict == "accept" or found.reason != "all criteria are met"


def test_the_evidence_of_a_good_clip_is_accepted_and_each_defect_has_its_criterion() -> None:
    assert verdict(GOOD).verdict == "accept" and verdict(GOOD).weakest()
    for field, value, criterion in (
        ("similarity", 0.1, "identity"),
        ("clipped_ratio", 0.2, "cleanliness"),
        ("active_level_db", -70.0, "cleanliness"),
        ("speech_ratio", 0.9, "cleanliness"),
        ("seconds", 9.0, "duration_fit"),
        ("seconds", 0.1, "duration_fit"),
        ("level_gap_db", -45.0, "continuity"),
        ("spectral_distance_db", 39.0, "continuity"),
    ):
        found = verdict(GOOD.model_copy(update={field: value}))
        assert (found.verdict, found.weakest()) == ("reject", criterion), field


def test_a_second_cleaning_may_improve_noise_and_silence() -> None:
    for field, value in (("snr_db", 5.5), ("active_ratio", 0.08)):
        evidence = GOOD.model_copy(update={field: value})
        assert verdict(evidence).verdict == "reprocess" and verdict(evidence, final=True).verdict == "reject"
    hopeless = GOOD.model_copy(update={"snr_db": 1.0})
    assert verdict(hopeless).verdict == "reject"
    both = GOOD.model_copy(update={"snr_db": 5.5, "similarity": 0.0})
    assert verdict(both).verdict == "reject"


def test_noise_like_sounds_have_no_limit_of_snr() -> None:
    evidence = GOOD.model_copy(update={"snr_db": 0.0})
    rain, drone = RequiredClip("heavy rain", "", "foreground", (0.5, 2)), RequiredClip("cellar", "", "ambient", (0.5, 2))
    assert verdict(evidence, rain).verdict == verdict(evidence, drone).verdict == "accept"
    traffic = RequiredClip("car horn", "A horn honks in traffic, in the rain.", "foreground", (0.5, 2))
    assert verdict(evidence, traffic).verdict == "reject"


def test_speech_is_required_in_speech_and_allowed_in_sounds_of_people() -> None:
    speaks, silent = (GOOD.model_copy(update={"speech_ratio": share}) for share in (0.9, 0.0))
    question = RequiredClip("a question", "Somebody asks the way.", "foreground", (0.5, 2), speech=True)
    assert verdict(speaks, question).verdict == "accept"
    assert (verdict(silent, question).verdict, verdict(silent, question).weakest()) == ("reject", "identity")
    assert verdict(speaks, RequiredClip("woman laughing", "", "foreground", (0.5, 2))).verdict == "accept"


def test_a_clip_may_be_one_alignment_step_longer_and_a_background_clip_any_length() -> None:
    long = GOOD.model_copy(update={"seconds": 2.2})
    assert length_factor(long, "foreground") == pytest.approx(1.0)
    assert length_factor(long.model_copy(update={"seconds": 20.0}), "background") == 1.0
    assert length_factor(GOOD.model_copy(update={"seconds": 0.25}), "background") == 2.0


@pytest.mark.parametrize(
    ("samples", "changes", "reason"),
    [
        (knock(), {"label": "violin"}, "clip_identity"),
        (np.clip(40 * knock(), -1, 1), {}, "clip_cleanliness"),
        (knock() + noise(level=0.05), {}, "clip_cleanliness"),
        (knock(20.0), {}, "clip_duration_fit"),
        (1e-3 * knock(), {}, "clip_cleanliness"),
    ],
    ids=["wrong label", "clipped", "noisy", "too long", "near silent"],
)
def test_a_damaged_clip_is_rejected_with_its_evidence(samples: np.ndarray, changes: dict[str, Any], reason: str) -> None:
    assert isinstance(run(candidate(knock())), Ok)
    outcome = run(candidate(samples.astype(np.float32), **changes))
    assert isinstance(outcome, Rejected) and outcome.reason == reason
    judged = outcome.metrics["judged"][-1]
    assert Evidence.model_validate(judged["evidence"]) and ClipVerdict.model_validate(judged["verdict"]).verdict == "reject"


def test_retrieved_and_generated_clips_are_judged_alike() -> None:
    for samples in (knock(), noise(), knock(20.0), (1e-3 * knock()).astype(np.float32)):
        found = run(candidate(samples, clip_id="recordings/a.wav", source="freesound"))
        made = run(candidate(samples, clip_id="made/generated/0123456789abcdef", source="elevenlabs:x"))
        assert type(found) is type(made)
        if isinstance(found, Ok):
            assert found.value.judged == made.value.judged
        else:
            assert (found.reason, found.metrics["judged"]) == (made.reason, made.metrics["judged"])


def test_a_clip_to_be_cleaned_is_cleaned_once_and_judged_again() -> None:
    noisy = candidate((knock() + noise(level=0.02)).astype(np.float32))
    assert verdict(measure(WANTED, noisy, [knock(seed=1)], embed)).verdict == "reprocess"
    calls = []

    def mended(one: CandidateClip) -> Outcome[CandidateClip]:
        calls.append(one.clip.id)
        return Ok(candidate(knock(), clip_id="made/reprocessed/0123456789abcdef"))

    outcome = run(noisy, reprocess=mended)
    assert isinstance(outcome, Ok) and outcome.value.clip.id == "made/reprocessed/0123456789abcdef"
    assert [one.verdict.verdict for one in outcome.value.judged] == ["reprocess", "accept"]
    still = run(noisy)
    assert isinstance(still, Rejected) and len(still.metrics["judged"]) == 2
    assert run(noisy, reprocess=lambda _: Rejected("silent")) == Rejected("silent")
    assert calls == ["a"]


def test_the_recipe_determines_the_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(verifier_of(VerifierConfig(), "hashed-ngrams", None), Rules)
    with pytest.raises(InputError, match=r"verifier\.similarity"):
        verifier_of(VerifierConfig(), "server:clap", None)
    assert isinstance(verifier_of(VerifierConfig(similarity=(0.1, 0.4)), "server:clap", None), Rules)
    with pytest.raises(InputError, match=r"verifier\.verifier"):
        verifier_of(VerifierConfig(verifier="llm"), "hashed-ngrams", None)
    with pytest.raises(ValueError, match="must differ"):
        VerifierConfig(snr_db=(3.0, 3.0))


def answer(verdict: str, **scores: float) -> str:
    four = {"identity": 0.9, "cleanliness": 0.8, "duration_fit": 1.0, "continuity": 0.7} | scores
    return json.dumps({**four, "verdict": verdict, "reason": "as received"})


def with_answers(monkeypatch: pytest.MonkeyPatch, *answers: str, audio: bool = False) -> tuple[Any, list[dict[str, Any]]]:
    """Return the outcome with a model that gives these answers in order, and its requests."""
    requests: list[dict[str, Any]] = []

    def say(body: dict[str, Any]) -> str:
        requests.append(body)
        return answers[min(len(requests), len(answers)) - 1]

    monkeypatch.setattr("tests.support.hostile_llm.well_behaved", say)

    async def use(chat: OpenAiChat) -> Any:
        return await verify(
            WANTED, candidate(knock()), [knock(seed=1)], LlmVerifier(VerifierConfig(verifier="llm"), chat), embed, unchanged
        )

    with HostileLlm() as server:
        return with_chat(OpenAiChat(config(server, audio=audio)), use), requests


def test_the_model_receives_the_evidence_and_its_verdict_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, [requests] = with_answers(monkeypatch, answer("accept"))
    assert isinstance(outcome, Ok)
    [judged] = outcome.value.judged
    assert judged.verifier == "hostile-1" and judged.verdict.continuity == 0.7
    user = requests["messages"][1]["content"]
    for name in Evidence.model_fields:
        assert f'"{name}"' in user
    assert "door knock" in user and "made/" not in user
    assert isinstance(with_answers(monkeypatch, answer("reject", identity=0.1))[0], Rejected)


def test_a_model_with_audio_receives_the_cleaned_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, [requests] = with_answers(monkeypatch, answer("accept"), audio=True)
    assert isinstance(outcome, Ok)
    [text, sound] = requests["messages"][1]["content"]
    assert text["type"] == "text" and sound["type"] == "input_audio" and sound["input_audio"]["format"] == "wav"
    received, rate = soundfile.read(io.BytesIO(base64.b64decode(sound["input_audio"]["data"])), dtype="float32")
    assert rate == 16_000 and np.allclose(received, knock(), atol=1 / 32_768)
    assert "the clip itself" in requests["messages"][0]["content"]


def test_a_contradictory_verdict_is_retried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, requests = with_answers(monkeypatch, answer("accept", cleanliness=0.1), answer("accept"))
    assert isinstance(outcome, Ok) and len(requests) == 2
    assert "cleanliness below 0.5" in requests[1]["messages"][-1]["content"]
    outcome, requests = with_answers(monkeypatch, answer("reject"))
    assert isinstance(outcome, Rejected) and outcome.reason == "llm_failed_check" and len(requests) == 2


def test_a_model_may_request_reprocessing_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, requests = with_answers(monkeypatch, answer("reprocess", cleanliness=0.3), answer("accept"))
    assert isinstance(outcome, Ok) and [one.verdict.verdict for one in outcome.value.judged] == ["reprocess", "accept"]
    assert '"reprocess"' in requests[0]["messages"][0]["content"].splitlines()[-1]
    assert "has been cleaned already" in requests[1]["messages"][0]["content"]
    outcome, requests = with_answers(monkeypatch, answer("reprocess", cleanliness=0.3))
    assert isinstance(outcome, Rejected) and outcome.reason == "llm_failed_check" and len(requests) == 3


def test_a_server_that_fails_is_a_failure_not_a_verdict() -> None:
    with HostileLlm(always(Fault.ERROR_500)) as server:

        async def use(chat: OpenAiChat) -> Any:
            verifier = LlmVerifier(VerifierConfig(verifier="llm"), chat)
            return await verify(WANTED, candidate(knock()), [], verifier, embed, unchanged)

        outcome = with_chat(OpenAiChat(config(server, {"retries": 1})), use)
    assert isinstance(outcome, Failed) and outcome.stage == "llm"
