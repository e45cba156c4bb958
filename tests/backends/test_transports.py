"""What both transports of metered calls, plain HTTP and the OpenAI SDK, send and read."""

from __future__ import annotations

import contextlib
import re
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from soundflow.backends.calls.metering import Limits, ProcessMeter
from soundflow.operators.protocols.faults import BackendError
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import ServiceBroken
from tests.support.every_backend import BACKENDS, KEY, OPENAI, SERVER, ScriptedServer, every_backend


class DrippingServer(ScriptedServer):
    """Sends an error, a byte every 0.2 s."""

    def post(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers["content-length"]))
        request.send_response(500)
        request.send_header("content-length", "1000")
        request.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(40):
                request.wfile.write(b"x")
                request.wfile.flush()
                time.sleep(0.2)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@every_backend
def test_the_sdk_sends_what_is_openais_protocol_and_nothing_from_its_own_variables(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Token: hush\nAuthorization: Bearer other")
    ask, good = BACKENDS[backend]
    with ScriptedServer(good) as server:
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    [sent] = server.requests
    sender = r"(Async)?OpenAI/Python 3\.[\d.]+" if backend in OPENAI else "soundflow"
    assert re.fullmatch(sender, sent["user-agent"]) and sent["accept-encoding"] == "identity"
    assert not {"org-1", "proj-1", "hush", "Bearer other"} & set(sent.values())
    if backend in OPENAI:
        assert sent["x-stainless-retry-count"] == "0"


@every_backend
def test_without_a_key_none_is_sent(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    ask, good = BACKENDS[backend]
    with ScriptedServer(good) as server:
        if backend == "elevenlabs":
            with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
                ask(server.origin, ProcessMeter(Limits()), tmp_path)
            return
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    assert "authorization" not in server.requests[0]


@every_backend
def test_no_transport_retries_by_itself(backend: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    fault = (503, {"x-should-retry": "true", "retry-after-ms": "1"}, b"busy")
    with ScriptedServer(good, fault) as server, pytest.raises((BackendError, OSError), match="HTTP 503"):
        ask(server.origin, ProcessMeter(Limits()), tmp_path)


@every_backend
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_endless_error_is_read_to_its_limit_and_keeps_its_status(backend: str, encoding: str, tmp_path: Path) -> None:
    ask, good = BACKENDS[backend]
    body = b"no such model " * 300_000
    headers = {"content-encoding": encoding} if encoding != "identity" else {}
    with (
        ScriptedServer(good, (404, headers, body)) as server,
        pytest.raises(InputError, match="HTTP 404: no such model") as raised,
    ):
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    assert len(str(raised.value)) < 1000


@every_backend
def test_a_dripping_error_ends_with_the_deadline(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, good = BACKENDS[backend]
    monkeypatch.setitem(SERVER, "timeout_seconds", 1.0)
    started = time.monotonic()
    with (
        DrippingServer(good) as server,
        pytest.raises((BackendError, OSError, ServiceBroken), match="no complete response within 1 s"),
    ):
        ask(server.origin, ProcessMeter(Limits()), tmp_path)
    assert time.monotonic() - started < 8
