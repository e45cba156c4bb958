"""Who gets in: Host, Origin and token over raw sockets, as a browser, a proxy or an attacker would send them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from soundflow.schemas.base import InputError
from soundflow.streaming.access import check_token, is_local, parse_authority
from soundflow.streaming.limits import FailedAttempts, RateLimit
from soundflow.streaming.server import Server
from tests.streaming.serving import run

TOKEN = "correct-horse-battery"


class IdleEngine:
    """An engine that never gets any work."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(chunk_samples=6400)
        self.ready, self.capacity, self.restarts = True, 1, 0


@asynccontextmanager
async def answering(token: str | None = None, proxies: tuple[str, ...] = ()) -> AsyncIterator[Any]:
    """A function from request lines to (status, body) of a server that has `token`."""
    secret = None if token is None else SecretStr(token)
    server = TestServer(Server(IdleEngine(), secret, instruction="A secret plan.", proxies=proxies).application())  # type: ignore[arg-type]
    await server.start_server()

    async def ask(target: str, *headers: bytes | str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = [f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]
        writer.write(b"\r\n".join(line if isinstance(line, bytes) else line.encode("latin-1") for line in lines))
        answer = (await reader.read()).decode("latin-1")
        writer.close()
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]

    try:
        yield ask
    finally:
        await server.close()


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8765", "LocalHost", "LOCALHOST.:80", "127.0.0.1", "127.0.0.1:1", "127.9.8.7"),
        *("[::1]", "[::1]:8765", "[0:0:0:0:0:0:0:1]:80", "[::ffff:127.0.0.1]"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/page.js"])
def test_a_server_without_a_token_answers_to_every_spelling_of_this_machine(host: str, path: str) -> None:
    async def test() -> None:
        async with answering() as ask:
            assert (await ask(path, f"Host: {host}"))[0] == 200

    run(test)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example", "localhost..", "10.0.0.1"),
        *("0.0.0.0", "[::]", "[2001:db8::1]:8765", "127.1", "2130706433", "0x7f.1", "xn--localhost-1"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v1/listen", "/nothing"])
def test_a_host_name_that_was_made_to_point_here_is_refused_everywhere(host: str, path: str) -> None:
    """DNS rebinding: the page's own name resolves to 127.0.0.1, so Origin and Host agree."""

    async def test() -> None:
        async with answering() as ask:
            for more in ((), (f"Origin: http://{host}",)):
                status, body = await ask(path, f"Host: {host}", *more)
                assert status == 403 and "set SOUNDFLOW_TOKEN" in json.loads(body)["error"]["message"]
        async with answering(TOKEN) as ask:  # with a token, the server may have any name
            assert (await ask("/healthz", f"Host: {host}", f"Origin: http://{host}"))[0] == 200

    run(test)


@pytest.mark.parametrize(
    "headers",
    [
        *((), ("Host:",), ("Host: ",), ("Host: [::1",), ("Host: ::1",), ("Host: [1]",), ("Host: [::1]x",), ("Host: a b",)),
        *(("Host: localhost:99999",), ("Host: localhost:x",), ("Host: localhost:-1",), ("Host: user@localhost",)),
        *(("Host: localhost/",), (b"Host: \xff\xfe",), ("Host: http://localhost",), ("Host: local\thost",)),
        ("Host: localhost", "Host: evil.example"),
    ],
)
@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_malformed_host_is_a_bad_request(headers: tuple[str | bytes, ...], token: str | None) -> None:
    async def test() -> None:
        async with answering(token) as ask:
            for path in ("/healthz", "/v1/listen"):
                assert (await ask(path, *headers))[0] == 400

    run(test)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        *(("http://localhost:8765", True), ("HTTP://LOCALHOST:8765", True), ("http://localhost.:8765", True)),
        *(("https://localhost:8765", True), ("http://localhost", False), ("http://localhost:80", False)),
        *(("http://evil.example", False), ("http://127.0.0.1:8765", False), ("null", False), ("", False), ("http://[", False)),
        *(
            ("http://localhost:8765/", False),
            ("localhost:8765", False),
            ("file://", False),
            ("http://localhost:8765@evil", False),
        ),
        *(("http://", False), ("chrome-extension://localhost:8765", False), (b"\xff\xfe", False), ("http://[::1", False)),
    ],
)
def test_only_pages_of_the_server_itself_may_ask(origin: str | bytes, allowed: bool) -> None:
    header = b"Origin: " + (origin if isinstance(origin, bytes) else origin.encode())

    async def test() -> None:
        async with answering() as ask:
            assert (await ask("/healthz", "Host: localhost:8765", header))[0] == (200 if allowed else 403)
            assert (await ask("/healthz", "Host: localhost:8765", "Origin: http://localhost:8765", "Origin: null"))[0] in (
                400,
                403,
            )

    run(test)


def test_a_page_may_leave_the_default_port_out() -> None:
    async def test() -> None:
        async with answering(TOKEN) as ask:
            for host, origin in (("a.example:443", "https://a.example"), ("a.example", "http://a.example:80")):
                assert (await ask("/healthz", f"Host: {host}", f"Origin: {origin}"))[0] == 200
            assert (await ask("/healthz", "Host: a.example:443", "Origin: http://a.example"))[0] == 403

    run(test)


@pytest.mark.parametrize(
    "header",
    [
        *(
            b"Bearer",
            b"Bearer ",
            b"",
            b"Basic Zm9vOmJhcg==",
            b"Bearer \xff\xfe\xfd",
            b"Bearer \xed\xb3\xbf",
            b"\xff",
            b"Bearer a b c",
        ),
        *(b"bearer correct-horse-batterY", b"Bearer correct-horse-batter", TOKEN.encode(), b"Bearer " + b"x" * 5000),
    ],
)
def test_whatever_is_not_the_token_is_unauthorised_and_no_server_error(header: bytes) -> None:
    async def test() -> None:
        async with answering(TOKEN) as ask:
            for path in ("/metrics", "/v1/listen"):
                status, body = await ask(path, "Host: a.example", b"Authorization: " + header)
                assert status == 401 and "token" in json.loads(body)["error"]["message"]

    run(test)


@pytest.mark.parametrize("query", ["token=", "token=%ff", "token=%ED%A0%80", "token=%00", "token=a&token=b", "token=correct"])
def test_a_token_in_the_query_is_checked_like_one_in_the_header(query: str) -> None:
    async def test() -> None:
        async with answering(TOKEN) as ask:
            assert (await ask(f"/metrics?{query}", "Host: a.example"))[0] == 401
            assert (await ask(f"/metrics?token={TOKEN}", "Host: a.example"))[0] == 200
            for scheme in ("Bearer", "bearer", "BEARER "):
                assert (await ask("/metrics", "Host: a.example", f"Authorization: {scheme} {TOKEN}"))[0] == 200

    run(test)


def test_health_shows_its_settings_only_with_the_token() -> None:
    async def test() -> None:
        async with answering(TOKEN) as ask:
            status, body = await ask("/healthz", "Host: a.example")
            assert status == 200 and "A secret plan." not in body
            assert json.loads(body) == {"ready": True, "sessions": 0, "capacity": 1, "restarts": 0, "speaks": False}
            assert "A secret plan." in (await ask(f"/healthz?token={TOKEN}", "Host: a.example"))[1]
            status, body = await ask("/healthz?token=guess", "Host: a.example")
            assert status == 401 and "A secret plan." not in body
        async with answering() as ask:
            assert "A secret plan." in (await ask("/healthz", "Host: localhost"))[1]

    run(test)


def test_an_address_that_guesses_has_to_wait_and_others_do_not() -> None:
    async def test() -> None:
        async with answering(TOKEN, proxies=("127.0.0.1",)) as ask:

            async def attempt(token: str, client: str) -> int:
                header = (f"Authorization: Bearer {token}", f"X-Forwarded-For: 203.0.113.9, {client}")
                return int((await ask("/metrics", "Host: a.example", *header))[0])

            assert [await attempt(f"guess-{k}", "198.51.100.7") for k in range(12)] == [401] * 10 + [429] * 2
            assert await attempt(TOKEN, "198.51.100.7") == 429  # the answer does not show that this one is right
            assert await attempt(TOKEN, "198.51.100.8") == 200
            assert (await ask("/healthz", "Host: a.example"))[0] == 200  # asks nothing
        async with answering(TOKEN) as ask:  # no proxy is trusted: the header means nothing
            for k in range(10):
                assert (await ask(f"/metrics?token=guess-{k}", "Host: a.example", f"X-Forwarded-For: 198.51.100.{k}"))[0] == 401
            status, body = await ask(f"/metrics?token={TOKEN}", "Host: a.example", "X-Forwarded-For: 198.51.100.99")
            assert status == 429 and "try again in" in json.loads(body)["error"]["message"]

    run(test)


def test_failed_attempts_are_forgiven_one_by_one_and_kept_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    failed = FailedAttempts(lambda: now)
    for _ in range(10):
        assert failed.wait("a") == 0
        failed.add("a")
    assert failed.wait("a") == pytest.approx(6) and failed.wait("b") == 0
    now = 6.0
    assert failed.wait("a") == 0
    failed.add("a")
    assert failed.wait("a") == pytest.approx(6)
    monkeypatch.setattr("soundflow.streaming.limits.MOST_ADDRESSES", 3)
    for address in ("b", "c", "d"):
        failed.add(address)
    assert failed.wait("a") == 0 and len(failed._limits) == 3


def test_a_rate_limit_lets_a_burst_through_and_then_its_rate() -> None:
    now = 0.0
    limit = RateLimit(rate=10, burst=3, clock=lambda: now)
    assert [limit.take() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    now = 0.2
    assert limit.wait() == pytest.approx(0.1) and limit.take() == pytest.approx(0.1)
    now = 100.0
    assert [limit.take() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])  # no more than the burst is saved up


@pytest.mark.parametrize(
    "token", ["", "a", "123456789012345", "with space 123456", "übergroß-und-lang", "line\nbreak-12345678", "\udcff" * 20]
)
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(InputError, match=r"^SOUNDFLOW_TOKEN: .*openssl rand"):
        check_token(SecretStr(token))
    with pytest.raises(InputError):
        Server(IdleEngine(), SecretStr(token))  # type: ignore[arg-type]
    check_token(SecretStr("1234567890123456"))


def test_authorities_are_read_as_the_standard_says() -> None:
    assert parse_authority("Example.COM:8080") == ("example.com", 8080) and parse_authority("a.b.") == ("a.b", None)
    assert parse_authority("[2001:DB8::0001]:1") == ("2001:db8::1", 1) and parse_authority("a:") == ("a", None)
    assert not any(map(parse_authority, ("", ":1", "[", "[]", "[g::]", "a:b", "a:65536", "a/b", "a@b", "ä", "a b", "::1", "a\n")))
    assert is_local("127.255.255.254") and is_local("::1") and not is_local("128.0.0.1") and not is_local("")


def test_no_header_or_query_makes_a_server_error() -> None:
    names = ("Host", "Origin", "Authorization", "X-Forwarded-For", "Connection", "Upgrade", "Sec-WebSocket-Key", "Content-Length")
    values = (
        b"",
        b"\x00",
        b"\xff" * 9,
        b"[",
        b"::",
        b"a" * 9000,
        b"-1",
        b"null",
        b"\xed\xa0\x80",
        b"%00",
        b"Bearer \x80",
        b"=,;",
    )
    queries = (
        "%",
        "%ff",
        "a=%ED%A0%80",
        "session=%00",
        "=",
        "&&",
        "threshold=nan",
        "speak=%ff",
        "instruction=%ED%A0%80",
        "sample_rate=1e5",
    )

    async def test() -> None:
        async with answering() as ask, answering(TOKEN) as ask_with_token:
            for name in names:
                for value in values:
                    more = () if name == "Host" else ("Host: localhost",)
                    for one in (ask, ask_with_token):
                        with contextlib.suppress(IndexError):  # closed without an answer
                            assert (await one("/v1/listen", *more, name.encode() + b": " + value))[0] in (400, 401, 403)
            for query in queries:
                assert (await ask(f"/v1/listen?{query}", "Host: localhost"))[0] in (400, 404)

    run(test)
