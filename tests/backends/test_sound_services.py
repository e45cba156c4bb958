"""Sound services over real sockets: requests, accepted and rejected answers, retries, secrecy of the key."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest

from soundflow.backends.calls.metering import CostLedger
from soundflow.backends.sounds.elevenlabs import ElevenLabsSounds
from soundflow.backends.sounds.http import HttpSounds
from soundflow.backends.sounds.service import LEDGER_ROLE
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.generators import open_generator
from soundflow.schemas.base import InputError
from soundflow.schemas.generation import GenerationConfig
from soundflow.schemas.llm import BudgetSpent, ServiceBroken
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from tests.support.hostile_sounds import KEY, PASSING, Fault, HostileSounds

BACKENDS = ("http", "elevenlabs")
CAPTION = "A dog barks twice"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUND_API_KEY", KEY)


def generate(
    config: GenerationConfig,
    answers: Path,
    *seeds: int,
    seconds: tuple[float, float] = (1.0, 2.0),
    ledger: CostLedger | None = None,
) -> list[Outcome[GeneratedSound]]:
    async def all_of_them() -> list[Outcome[GeneratedSound]]:
        async with open_generator(config, AnswerCache(answers), ledger=ledger) as generator:
            assert generator is not None
            return list(await asyncio.gather(*(generator.generate(CAPTION, seconds, seed) for seed in seeds or (1,))))

    return asyncio.run(all_of_them())


def made(outcome: Outcome[GeneratedSound]) -> GeneratedSound:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def test_elevenlabs_requests_follow_its_protocol(tmp_path: Path) -> None:
    with HostileSounds() as server:
        found = made(generate(server.config("elevenlabs", prompt_influence=0.7), tmp_path, seconds=(2.5, 2.5))[0])
    [request] = server.requests
    assert request["path"] == "/v1/sound-generation" and request["query"] == "output_format=wav_16000"
    assert request["headers"]["xi-api-key"] == KEY
    assert request["body"] == {
        "text": CAPTION, "duration_seconds": 2.5, "prompt_influence": 0.7, "model_id": "eleven_text_to_sound_v2",
    }  # fmt: skip
    assert found.samples.shape == (40_000,) and found.samples.dtype == np.float32
    assert found.caption == CAPTION


def test_http_requests_follow_the_documented_protocol(tmp_path: Path) -> None:
    with HostileSounds() as server:
        made(generate(server.config("http"), tmp_path, 17, seconds=(3.2, 3.2))[0])
    [request] = server.requests
    assert request["path"] == "/v1/sound" and request["headers"]["authorization"] == f"Bearer {KEY}"
    assert request["headers"]["content-type"] == "application/json"
    assert request["body"] == {"model": "audiox", "caption": CAPTION, "seconds": 3.2, "seed": 17, "sample_rate": 16_000}


def test_a_server_that_needs_no_key_gets_none(tmp_path: Path) -> None:
    with HostileSounds() as server:
        made(generate(server.config("http", server={"api_key_env": None}), tmp_path)[0])
    assert "authorization" not in server.requests[0]["headers"]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transient_fault_is_retried(backend: str, fault: Fault, tmp_path: Path) -> None:
    ledger = CostLedger()
    with HostileSounds(fault) as server:
        made(generate(server.config(backend), tmp_path, ledger=ledger)[0])
    assert len(server.requests) == 2
    assert ledger.roles[LEDGER_ROLE].faults == 1 and ledger.roles[LEDGER_ROLE].asked.calls == 1


@pytest.mark.parametrize("fault", [*PASSING, Fault.HANG])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_permanent_fault_is_a_failure_that_contains_the_request(backend: str, fault: Fault, tmp_path: Path) -> None:
    seconds = 0.3 if fault is Fault.HANG else 30.0
    with HostileSounds(always=fault) as server:
        [outcome] = generate(server.config(backend, server={"retries": 1, "timeout_seconds": seconds}), tmp_path)
    assert isinstance(outcome, Failed) and outcome.stage == "generation"
    assert outcome.payload["caption"] == CAPTION and outcome.payload["seed"] == 1
    assert len(server.requests) == 2 and outcome.of_service
    assert KEY not in repr(outcome)


@pytest.mark.parametrize(("fault", "retries", "requests"), [(Fault.BUSY_FOR_EVER, 1, 1), (Fault.HTML, 5, 6 + 3)])
def test_a_broken_service_stops_the_work(fault: Fault, retries: int, requests: int, tmp_path: Path) -> None:
    with HostileSounds(always=fault) as server, pytest.raises(ServiceBroken, match=r"http://127.* does not work") as raised:
        generate(server.config("http", server={"retries": retries}), tmp_path)
    assert len(server.requests) == requests and KEY not in str(raised.value)


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.NO_QUOTA, Fault.NO_MODEL, Fault.REDIRECT])
@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_of_configuration_stop_the_work_with_a_remedy(backend: str, fault: Fault, tmp_path: Path) -> None:
    with HostileSounds(always=fault) as server, pytest.raises(InputError, match="generation") as raised:
        generate(server.config(backend), tmp_path)
    assert len(server.requests) == 1 and raised.value.remedy
    assert KEY not in f"{raised.value!r} {raised.value}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_caption_is_rejected(backend: str, tmp_path: Path) -> None:
    with HostileSounds(always=Fault.UNPROCESSABLE) as server:
        [outcome] = generate(server.config(backend), tmp_path)
    assert isinstance(outcome, Rejected) and outcome.reason == "refused" and "policy" in outcome.metrics["detail"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(("fault", "reason"), [(Fault.NAN, "not_finite"), (Fault.SILENT, "silent")])
@pytest.mark.parametrize("backend", BACKENDS)
def test_audio_that_is_not_a_valid_clip_is_rejected_without_a_retry(
    backend: str, fault: Fault, reason: str, tmp_path: Path
) -> None:
    with HostileSounds(always=fault) as server:
        for _ in range(2):
            [outcome] = generate(server.config(backend), tmp_path)
            assert isinstance(outcome, Rejected) and outcome.reason == reason
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [Fault.STREAMED_WAV, Fault.STEREO_FLAC])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_whole_audio_file_is_accepted(backend: str, fault: Fault, tmp_path: Path) -> None:
    with HostileSounds(fault) as server:
        found = made(generate(server.config(backend), tmp_path, seconds=(1.5, 1.5))[0])
    assert abs(found.samples.size - 24_000) <= 1 and len(server.requests) == 1
    assert 0.25 < np.abs(found.samples).max() < 0.35


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_request_is_sent_twice(backend: str, tmp_path: Path) -> None:
    ledger = CostLedger()
    with HostileSounds() as server:
        config = server.config(backend, price_per_second=0.5)
        first = [made(outcome) for outcome in generate(config, tmp_path, 1, 2, 1, 1, seconds=(1.0, 1.0))]
        assert len(server.requests) == 2
        second = [made(outcome) for outcome in generate(config, tmp_path, 1, 2, seconds=(1.0, 1.0), ledger=ledger)]
        assert len(server.requests) == 2
        made(generate(server.config(backend, price_per_second=0.5, model="another"), tmp_path, 1)[0])
        assert len(server.requests) == 3
    assert np.array_equal(first[0].samples, first[2].samples) and np.array_equal(first[0].samples, second[0].samples)
    assert not np.array_equal(first[0].samples, first[1].samples)
    assert ledger.roles[LEDGER_ROLE].replayed.money == 1.0 and ledger.roles[LEDGER_ROLE].asked.calls == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_replay_needs_neither_key_nor_server(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileSounds() as server:
        config = server.config(backend)
        first = made(generate(config, tmp_path)[0])
    monkeypatch.delenv("SOUND_API_KEY")
    assert np.array_equal(made(generate(config, tmp_path)[0]).samples, first.samples)


def test_elevenlabs_without_a_key_names_the_missing_variable(tmp_path: Path) -> None:
    with HostileSounds() as server, pytest.raises(InputError, match="OTHER_API_KEY is not set"):
        generate(server.config("elevenlabs", server={"api_key_env": "OTHER_API_KEY"}), tmp_path)
    assert not server.requests


def test_a_budget_ends_the_work_before_it_is_exceeded(tmp_path: Path) -> None:
    with HostileSounds() as server, pytest.raises((BudgetSpent, ExceptionGroup), match="budget of money"):
        generate(server.config("http", price_per_second=1.0, budget={"money": 3.5}), tmp_path, 1, 2, 3, 4, seconds=(1.0, 1.0))
    assert len(server.requests) <= 3


def test_lengths_the_service_does_not_make_are_rejected_without_a_request(tmp_path: Path) -> None:
    with HostileSounds() as server:
        for seconds in ((0.1, 0.3), (31.0, 40.0)):
            [outcome] = generate(server.config("elevenlabs"), tmp_path, seconds=seconds)
            assert isinstance(outcome, Rejected) and outcome.reason == "cannot_last"
        lengths = generate(server.config("http"), tmp_path, *range(20), seconds=(1.0, 3.0))
    assert not any(request["path"] == "/v1/sound-generation" for request in server.requests)
    seconds = {made(one).samples.size / 16_000 for one in lengths}
    assert len(seconds) > 15 and min(seconds) >= 1.0 and max(seconds) <= 3.0


def test_no_more_calls_are_in_flight_than_allowed(tmp_path: Path) -> None:
    with HostileSounds(latency_seconds=0.05) as server:
        generate(server.config("http", server={"concurrency": 2}), tmp_path, *range(12), seconds=(1.0, 1.0))
    assert len(server.requests) == 12 and server.most_open == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_key_is_in_no_log_and_no_repr(backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with HostileSounds(*PASSING[:6]) as server:
        config = server.config(backend, server={"retries": 8})
        outcome = generate(config, tmp_path)
    assert KEY not in caplog.text
    services = (vars(HttpSounds(server.config("http"))), vars(ElevenLabsSounds(config)))
    assert KEY not in repr([outcome, config, config.model_dump(), services])
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
