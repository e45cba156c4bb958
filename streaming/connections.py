"""Connections of the server: WebSockets that report why they end, and limits for idle connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from soundflow.schemas.base import InputError
from soundflow.streaming import protocol
from soundflow.streaming.events import ErrorEvent, Event

SEND_SECONDS: Final = 10.0
"""A client that receives nothing for this long is disconnected; its session waits for it."""
SILENT_SECONDS: Final = 120.0
"""A connection that sends nothing for this long, not even a pong, is closed."""
REQUEST_SECONDS: Final = 10.0
"""A connection that has not sent a complete request by then is closed, be it the first request or a later one."""
MOST_IDLE: Final = 128
"""Maximum connections without a request in progress. The oldest one is closed for a new one."""
LINGER_SECONDS: Final = 1.0
"""Time a client has to read why its connection ends while it is still sending."""
VIOLATIONS: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: (
        protocol.TOO_LARGE,
        f"a message has more than {protocol.MAX_MESSAGE} bytes: send the audio in smaller pieces",
    ),
    WSCloseCode.INVALID_TEXT: (protocol.BAD_MESSAGE, "a text message is not UTF-8"),
    WSCloseCode.PROTOCOL_ERROR: (protocol.BAD_MESSAGE, "a frame violates the WebSocket protocol (RFC 6455)"),
}
"""Close code of aiohttp's parser → code and message of the error event."""


class EventSocket(web.WebSocketResponse):
    """A WebSocket that sends events. `on_fatal` is called with the error code before a fatal error is sent."""

    def __init__(self, on_fatal: Callable[[str], None]):
        super().__init__(max_msg_size=protocol.MAX_MESSAGE + 1, heartbeat=SILENT_SECONDS / 2, compress=False)
        self._on_fatal = on_fatal

    async def send_event(self, event: Event) -> None:
        """Serialise and send one event: the only place where an event becomes JSON. Raises TimeoutError, ConnectionError."""
        async with asyncio.timeout(SEND_SECONDS):
            await self.send_json(event.to_wire())

    async def finish(self, code: int = WSCloseCode.OK, message: str = "", seconds: float = SEND_SECONDS) -> None:
        """Close and wait for the client's answer, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await super().close(code=code, message=message.encode())
        except TimeoutError:
            self._abort()

    async def fail(self, code: str, message: str) -> None:
        """Send a fatal error and close."""
        self._on_fatal(code)
        if await self._try_to_send(ErrorEvent.of(code, message)):
            await self.finish(WSCloseCode.POLICY_VIOLATION, code)

    async def abandon(self) -> None:
        """Close the connection of a client that receives nothing."""
        await self.finish(WSCloseCode.TRY_AGAIN_LATER, "too slow", LINGER_SECONDS)

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close. Where aiohttp closes for a violation of the WebSocket protocol, the client is sent an error event first."""
        if code in VIOLATIONS and not self.closed:
            error, why = VIOLATIONS[WSCloseCode(code)]
            self._on_fatal(error)
            message = error.encode()
            if await self._try_to_send(ErrorEvent.of(error, why)):
                # Closing at once would reset the connection of a client that is still sending before it reads the error.
                deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
                while self._is_connected() and asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(LINGER_SECONDS / 20)
        return await super().close(code=code, message=message, drain=drain)

    async def _try_to_send(self, event: ErrorEvent) -> bool:
        try:
            await self.send_event(event)
        except TimeoutError:
            self._abort()
        except ConnectionError:
            pass
        else:
            return True
        return False

    def _is_connected(self) -> bool:
        return self._req is not None and self._req.transport is not None

    def _abort(self) -> None:
        if self._req is not None and self._req.transport is not None:
            self._req.transport.abort()


class IdleConnections:
    """Connections without a request in progress, oldest first, at most `MOST_IDLE`. aiohttp bounds their time."""

    def __init__(self) -> None:
        self._idle: dict[RequestHandler, None] = {}

    def opened(self, connection: RequestHandler) -> None:
        """Register a connection that waits for a request, and close the oldest ones that are too many."""
        self._idle[connection] = None
        if len(self._idle) > MOST_IDLE:
            # a new connection has no transport yet, but is the last one; those that were closed have none any more
            *older, newest = self._idle
            self._idle = {one: None for one in older if one.transport is not None} | {newest: None}
        while len(self._idle) > MOST_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            if oldest.transport is not None:
                oldest.transport.abort()

    @web.middleware
    async def note_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark a connection as busy during a request (aiohttp middleware)."""
        self._idle.pop(request.protocol, None)
        try:
            return await handler(request)
        finally:
            if request.transport is not None:
                self.opened(request.protocol)


def load_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server. Raises InputError for files that are not a certificate and its key."""
    for option, file in (("--tls-cert", certificate), ("--tls-key", key)):
        if not file.is_file():
            raise InputError("there is no such file", file=file, field=option)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def no_password() -> str:
        raise InputError("is encrypted", file=key, field="--tls-key", remedy="Decrypt it with: openssl pkey -in KEY -out NEW")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        why = f"is not a PEM certificate that belongs to the key: {error}"
        raise InputError(why, file=certificate, field="--tls-cert", remedy=f"Check {certificate} and {key}") from None
    return context


def _is_not_client_error(record: logging.LogRecord) -> bool:
    """Filter log records: input that is not HTTP is answered with 400 and not logged as a server error."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def run(application: web.Application, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
    """Serve on a listening socket until cancelled, with `tls` over HTTPS."""
    idle = IdleConnections()

    def connected() -> RequestHandler:
        assert runner.server is not None
        connection = runner.server()
        idle.opened(connection)
        return connection

    application.middlewares.append(idle.note_request)
    log = logging.getLogger(__name__)
    log.addFilter(_is_not_client_error)
    runner = web.AppRunner(
        application,
        handle_signals=False,
        access_log=None,
        logger=log,
        shutdown_timeout=2.0,
        keepalive_timeout=REQUEST_SECONDS,
        lingering_time=REQUEST_SECONDS,
        max_line_size=protocol.LONGEST_LINE,
    )
    await runner.setup()
    handshake = None if tls is None else REQUEST_SECONDS
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connected, sock=listening, ssl=tls, ssl_handshake_timeout=handshake)
    try:
        await server.serve_forever()
    finally:
        await runner.cleanup()
