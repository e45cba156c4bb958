"""Connections that do nothing, half-open requests and TLS, on the real listening socket of the command."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from soundflow.cli.app import app
from soundflow.schemas.base import InputError
from soundflow.streaming.client import Client
from soundflow.streaming.connections import load_tls
from soundflow.streaming.connections import run as run_server
from soundflow.streaming.server import serve
from tests.streaming.serving import run

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 signed by itself, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "key.pem").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    (folder / "encrypted.pem").write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    return folder / "cert.pem", folder / "key.pem"


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server whose page is `hello`; `/slow` answers when its event is set."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", hello)
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = asyncio.create_task(run_server(application, free, tls))
        yield free.getsockname()[1]
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


async def is_open(connection: Pair) -> bool:
    """Whether a request is still answered; the connection is used up."""
    reader, writer = connection
    with contextlib.suppress(ConnectionError):
        writer.write(REQUEST)
        return b"hello" in await reader.read(1000)
    return False


def test_idle_connections_are_bounded_in_number_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.connections.MOST_IDLE", 5)

    async def test() -> None:
        async with listening() as port:
            connections: list[Pair] = []
            for _ in range(12):
                connections.append(await asyncio.open_connection("127.0.0.1", port))
                connections[-1][1].write(b"GET / HTTP/1.1\r\nHo")  # half a request is none
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as answer:
                assert await answer.text() == "hello"  # the twelve idle connections keep no other client out
            closed = [reader for reader, _ in connections[:7]]
            for reader in closed:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer = connections[-1][1]
            writer.write(b"st: localhost\r\n\r\n")
            assert b"hello" in await connections[-1][0].read(1000)
            for _, writer in connections:
                writer.close()

    run(test)


@pytest.mark.parametrize("start", [b"", b"GET", REQUEST[:-2], REQUEST + b"GET / HT", REQUEST, REQUEST * 3])
def test_a_connection_without_a_whole_request_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    """The first request as well as a later one: whoever sends a byte now and then holds no connection."""
    monkeypatch.setattr("soundflow.streaming.connections.REQUEST_SECONDS", 0.2)

    async def test() -> None:
        async with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            with contextlib.suppress(ConnectionError):
                assert (await reader.read()).count(b"hello") == start.count(REQUEST)  # to the end: it is closed
            writer.close()

    run(test)


def test_a_body_that_never_comes_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.streaming.connections.REQUEST_SECONDS", 0.2)

    async def test() -> None:
        async with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
            assert b"hello" in await reader.read()
            writer.close()

    run(test)


def test_the_server_speaks_tls_and_a_handshake_that_never_ends_is_closed(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundflow.streaming.connections.REQUEST_SECONDS", 0.5)

    async def test() -> None:
        async with listening(load_tls(*certificate)) as port, aiohttp.ClientSession() as http:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)  # sends no handshake
            trusted = ssl.create_default_context(cafile=str(certificate[0]))
            async with http.get(f"https://localhost:{port}/", ssl=trusted) as answer:
                assert await answer.text() == "hello"
            with pytest.raises(InputError, match="certificate of the server is not trusted") as refused:
                async with Client.connect(f"https://localhost:{port}"):
                    pass
            assert "SSL_CERT_FILE" in refused.value.remedy
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"http://localhost:{port}/")
            assert await reader.read() == b""
            writer.close()

    run(test)


def test_files_that_are_not_a_certificate_and_its_key_are_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    with pytest.raises(InputError, match=r"missing\.pem: --tls-cert: there is no such file"):
        load_tls(tmp_path / "missing.pem", key)
    with pytest.raises(InputError, match=r"--tls-key: there is no such file"):
        load_tls(cert, tmp_path)
    with pytest.raises(InputError, match=r"encrypted\.pem: --tls-key: is encrypted.*openssl pkey"):
        load_tls(cert, key.with_name("encrypted.pem"))
    for wrong in ((key, key), (cert, cert)):
        with pytest.raises(InputError, match="--tls-cert: is not a PEM certificate that belongs to the key"):
            load_tls(*wrong)
    with pytest.raises(InputError, match="there is no such file"):  # before a port is taken or a model loaded
        serve(
            tmp_path,
            host="127.0.0.1",
            port=1,
            sessions=1,
            threads=1,
            token=None,
            threshold=0.5,
            say=print,
            tls=(tmp_path / "a", tmp_path / "b"),
        )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--tls-cert", "a.pem"], {}, "--tls-cert and --tls-key belong together"),
        (["--tls-key", "a.pem"], {}, "--tls-cert and --tls-key belong together"),
        (["--trusted-proxy", "proxy.example"], {}, "--trusted-proxy: is not an IP address"),
        ([], {"SOUNDFLOW_TOKEN": ""}, "SOUNDFLOW_TOKEN: has 0 characters"),
        ([], {"SOUNDFLOW_TOKEN": "too short"}, "SOUNDFLOW_TOKEN: has 9 characters, fewer than 16"),
        (["--host", "0.0.0.0"], {}, "needs a token"),
        (["--host", "localhost.example"], {}, "needs a token"),
    ],
)
def test_the_command_refuses_settings_that_would_not_protect(
    arguments: list[str], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["serve", "--model", str(tmp_path), "--port", "1", *arguments], env=environment)
    assert isinstance(result.exception, InputError) and message in str(result.exception)
