"""Metered calls of every backend: pauses, redirects, statuses, keys. A fake clock replaces time."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from soundflow.backends.calls import metered_call
from soundflow.backends.calls.http_errors import HttpReply, status_error
from soundflow.backends.calls.metering import Limits, ProcessMeter
from soundflow.backends.calls.service import Service, openai_service, scrubbed
from soundflow.operators.protocols.faults import BackendError, RequestRefused, ServerFault
from soundflow.pipeline.services.shared_meter import SharedMeter
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import ServiceUnreachable, Usage
from tests.support.every_backend import BACKENDS, KEY, ScriptedServer, every_backend


class Clock:
    """Time that passes only during a sleep."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces the clock of metered calls."""
    clock = Clock()
    timers = SimpleNamespace(sleep=clock.sleep, monotonic=time.monotonic)
    loop = SimpleNamespace(sleep=clock.async_sleep, timeout=asyncio.timeout, Semaphore=asyncio.Semaphore)
    monkeypatch.setattr(metered_call, "time", timers)
    monkeypatch.setattr(metered_call, "asyncio", loop)
    return clock


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@every_backend
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_back_every_caller(backend: str, status: int, clock: Clock, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    meter = ProcessMeter(Limits(), clock)
    with ScriptedServer(good, (status, {"Retry-After": "7"}, b"busy"), good) as server:
        with pytest.raises((BackendError, OSError), match=f"HTTP {status}: busy"):
            ask(server.origin, meter, tmp_path)
        assert meter.state().not_before == 107.0
        ask(server.origin, meter, tmp_path)  # another caller waits once, from 100 to 107
    assert clock.slept == [7.0] and clock.now == 107.0


@every_backend
def test_a_caller_in_another_process_is_held_back_as_well(backend: str, clock: Clock, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    here, there = (SharedMeter(tmp_path / "spent.json", Limits(), clock) for _ in range(2))
    here.pause(7.0)
    with ScriptedServer(good) as server:
        ask(server.origin, there, tmp_path)
    assert clock.slept == [7.0] and len(server.requests) == 1


@every_backend
def test_without_retry_after_other_callers_do_not_wait(backend: str, clock: Clock, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    meter = ProcessMeter(Limits(), clock)
    with ScriptedServer(good, (503, {}, b"busy"), good) as server:
        with pytest.raises((BackendError, OSError), match="HTTP 503: busy"):
            ask(server.origin, meter, tmp_path)
        ask(server.origin, meter, tmp_path)
    assert clock.slept == []


@every_backend
def test_a_redirect_is_not_followed_and_the_key_stays_here(backend: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    with ScriptedServer(good) as elsewhere:
        away = (307, {"Location": f"{elsewhere.origin}/v1"}, b"moved")
        with ScriptedServer(good, *[away] * 9) as server, pytest.raises(InputError, match="redirects are not followed") as raised:
            ask(server.origin, ProcessMeter(Limits()), tmp_path)
    assert elsewhere.requests == [] and len(server.requests) == 1
    assert f"redirects to {elsewhere.origin}" in str(raised.value) and "base_url to the final address" in raised.value.remedy
    sent = [name for name, value in server.requests[0].items() if KEY in value]
    assert sent == {"cosyvoice": [], "elevenlabs": ["xi-api-key"]}.get(backend, ["authorization"])


@every_backend
@pytest.mark.parametrize(("status", "why"), [(401, "rejects the API key"), (404, "does not know this address or model")])
def test_an_error_names_service_address_status_and_remedy(backend: str, status: int, why: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    with ScriptedServer(good, *[(status, {}, f"bad {KEY}".encode())] * 9) as server, pytest.raises(InputError) as raised:
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    text = str(raised.value)
    assert f" at {server.origin}" in text and f"{why}: HTTP {status}: bad " in text and raised.value.remedy
    assert len(server.requests) == 1 and (KEY not in text or backend == "cosyvoice")  # no key is sent to CosyVoice


SECTIONS = {
    "chat": "llm.server.base_url or $OPENAI_BASE_URL",
    "embedder": "retrieval.server.base_url or $OPENAI_BASE_URL",
    "openai speech": "speakers.base_url or $OPENAI_BASE_URL",
    "openai transcription": "recogniser.base_url or $OPENAI_BASE_URL",
    "cosyvoice": "speakers.base_url",
}


@every_backend
def test_an_address_that_never_answered_is_one_error_with_section_and_address(backend: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    with ScriptedServer(good) as server:
        pass  # the port is closed
    with pytest.raises(ServiceUnreachable, match=f" at {server.origin}.* cannot be reached: ConnectError") as raised:
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    error = pickle.loads(pickle.dumps(raised.value))
    assert not error.has_begun and error.message() == f"{raised.value}. {error.remedy}"
    assert error.remedy == f"Check {SECTIONS.get(backend, 'generation.server.base_url')}, and that the service is running"
    assert error.__context__ is None and raised.value.__cause__ is None


@every_backend
def test_after_paid_work_the_same_error_can_be_resumed(backend: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    with ScriptedServer(good) as server:
        pass
    meter = ProcessMeter(Limits())
    meter.admit("before", Usage(calls=1))
    meter.settle("before", Usage(calls=1))
    with pytest.raises(ServiceUnreachable) as raised:
        ask(server.origin, meter, tmp_path)
    assert raised.value.has_begun and raised.value.message().endswith("run the same command again to resume")


SERVICE = Service("the sound service", "http://host/v1", "generation.server", "SOUND_API_KEY")


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (302, InputError, "redirects to http://other/ (HTTP 302)"),
        (400, RequestRefused, "refuses the request: HTTP 400: no"),
        (401, InputError, "rejects the API key: HTTP 401: no. Check SOUND_API_KEY"),
        (402, InputError, "does not serve this account: HTTP 402: no. Check SOUND_API_KEY"),
        (403, InputError, "does not serve this account: HTTP 403"),
        (404, InputError, "Check generation.server.base_url"),
        (405, InputError, "generation.model"),
        (408, ServerFault, "the sound service at http://host/v1: HTTP 408: no"),
        (409, ServerFault, "HTTP 409"),
        (413, RequestRefused, "HTTP 413"),
        (422, RequestRefused, "HTTP 422"),
        (425, ServerFault, "HTTP 425"),
        (429, ServerFault, "HTTP 429"),
        (500, ServerFault, "HTTP 500"),
        (503, ServerFault, "HTTP 503"),
    ],
)
def test_each_status_is_one_kind_of_error(status: int, kind: type[Exception], text: str) -> None:
    headers = {"location": "http://other/", "retry-after": "3"}
    error = status_error(SERVICE, SERVICE.label(), HttpReply(status, headers, b" no\n"))
    assert type(error) is kind and text in str(error) and str(error).count("the sound service at http://host/v1") == 1
    if isinstance(error, ServerFault):
        assert error.retry_after == 3.0 and not error.billed


def test_an_exhausted_quota_is_not_retried() -> None:
    body = json.dumps({"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}}).encode()
    error = status_error(SERVICE, "it", HttpReply(429, {}, body))
    assert isinstance(error, InputError) and "HTTP 429: You exceeded your quota. Check SOUND_API_KEY" in str(error)
    for other in (b'{"error": "insufficient_quota"}', b'{"error": {"code": 7}}', b"[]", b"\xff", b"[" * 9_000):
        assert isinstance(status_error(SERVICE, "it", HttpReply(429, {}, other)), ServerFault)


def test_a_retry_after_beyond_the_limit_is_neither_awaited_nor_imposed_on_others(clock: Clock, tmp_path: Path) -> None:
    ask, good = BACKENDS["openai speech"]
    meter = ProcessMeter(Limits(), clock)
    with ScriptedServer(good, (503, {"Retry-After": "601"}, b"down")) as server, pytest.raises(ServerFault) as raised:
        ask(server.origin, meter, tmp_path)
    assert raised.value.retry_after == 601.0 and meter.state().not_before == 0.0 and clock.slept == []


def test_placeholder_keys_are_not_scrubbed() -> None:
    assert scrubbed("none of the keys", SecretStr("none")) == "none of the keys"
    assert scrubbed(f"key {KEY}.", SecretStr(KEY)) == "key [api key]."
    assert scrubbed(f"key {KEY}.".encode(), SecretStr(KEY)) == b"key [api key]."


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host/v1", "http://user:word@host/v1"])
def test_an_invalid_address_in_the_environment_is_an_input_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(InputError, match=r"the address of the model must .*OPENAI_BASE_URL") as raised:
        openai_service("the model", "llm.server", None, "OPENAI_API_KEY").credentials()
    assert "user:word" not in str(raised.value)
