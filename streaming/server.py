"""The web server: WebSocket sessions (`streaming.protocol`), health, metrics and the page."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler
from prometheus_client import generate_latest
from pydantic import SecretStr, ValidationError

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.base import InputError
from soundflow.streaming import protocol
from soundflow.streaming.engine import Engine, EngineFull
from soundflow.streaming.events import ErrorEvent, Event, ListenConfig, SessionCreated, SessionResumed
from soundflow.streaming.metrics import Metrics
from soundflow.streaming.protocol import LONGEST_LINE, MAX_MESSAGE, RESUME_SECONDS
from soundflow.streaming.sessions import LiveSession
from soundflow.streaming.signals import run_until_stopped
from soundflow.streaming.speaking import Voices

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SEND_SECONDS: Final = 10.0
"""A client that receives nothing for this long is disconnected; its session waits for it."""
SILENT_SECONDS: Final = 120.0
"""A connection that sends nothing for this long, not even a pong, is closed."""
IDLE_SECONDS: Final = 300.0
"""A session that receives no audio for this long is ended."""
HEADER_SECONDS: Final = 10.0
"""A connection without a complete first request by then is closed, so that idle connections cannot fill the server."""
DEFAULT_INSTRUCTION: Final = "Listen continuously. Respond when it is called for; otherwise stay silent."
SWEEP_SECONDS: Final = 1.0
"""Interval between searches for abandoned sessions."""


class Server:
    """The web application of one engine."""

    def __init__(
        self,
        engine: Engine,
        token: SecretStr | None = None,
        threshold: float = 0.5,
        voices: Voices | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
    ):
        """Create the application. `threshold` and `instruction` apply to clients that set none.

        Raises InputError for an instruction that is too long or not text.
        """
        _check_instruction(instruction)
        self.engine, self.token, self.threshold, self.voices, self.instruction = engine, token, threshold, voices, instruction
        self.metrics = Metrics(engine)
        self.sessions: dict[str, LiveSession] = {}
        self._closing: set[asyncio.Task[bool]] = set()

    def application(self) -> web.Application:
        """Build the aiohttp application with its routes and the task that ends abandoned sessions."""
        application = web.Application(client_max_size=MAX_MESSAGE)
        application.router.add_get("/", self.page)
        for name in ("page.js", "page.css", "worklet.js"):
            application.router.add_get(f"/{name}", self.page)
        application.router.add_get("/healthz", self.health)
        application.router.add_get("/metrics", self.show_metrics)
        application.router.add_get("/v1/listen", self.listen)
        application.cleanup_ctx.append(self._sweeping)
        return application

    async def page(self, request: web.Request) -> web.Response:
        """Serve the page and its files; nothing is loaded from other hosts."""
        name = {"/": "page.html"}.get(request.path, request.path.lstrip("/"))
        kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
        body = (resources.files("soundflow.streaming") / name).read_bytes()
        policy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; img-src 'self' data:"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return web.Response(body=body, content_type=kinds[name.rsplit(".", 1)[1]], charset="utf-8", headers=headers)

    async def health(self, request: web.Request) -> web.Response:
        """Answer 200 when both processes have loaded the model, else 503."""
        engine = self.engine
        state: dict[str, Any] = {"ready": engine.ready, "sessions": len(self.sessions), "capacity": engine.capacity}
        state |= {"restarts": engine.restarts, "speaks": self.voices is not None}
        state |= {"instruction": self.instruction, "threshold": self.threshold}
        return web.json_response(state, status=200 if engine.ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Serve the metrics in the Prometheus text format."""
        if refusal := self._unauthorised(request):
            return refusal
        self.metrics.sessions.set(len(self.sessions))
        return web.Response(body=generate_latest(self.metrics.registry), content_type="text/plain", charset="utf-8")

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Serve one client: admit or refuse it before the upgrade, then receive audio until it leaves."""
        if refusal := self._unauthorised(request):
            return refusal
        try:
            session, resumed = self._session(request)
        except EngineFull as full:
            return self._refuse(503, protocol.FULL, str(full), {"Retry-After": "5"})
        except KeyError:
            return self._refuse(404, protocol.UNKNOWN_SESSION, "unknown session; it may have ended")
        except InputError as error:
            return self._refuse(400, protocol.BAD_REQUEST, str(error))
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE + 1, heartbeat=SILENT_SECONDS / 2, compress=False)
        try:
            await socket.prepare(request)
        except BaseException:
            self._end(session)
            raise
        previous, session.client = session.client, socket
        if isinstance(previous, web.WebSocketResponse):
            self._close(previous, protocol.TAKEN_OVER)
        session.put((SessionResumed if resumed else SessionCreated)(missed=session.missed, session=session.info))
        sender = asyncio.create_task(self._send(session, socket))
        try:
            finished = await self._receive(session, socket)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender
            if session.client is socket:
                session.client, session.left = None, time.monotonic()
        if finished:
            self._end(session)
        return socket

    def _session(self, request: web.Request) -> tuple[LiveSession, bool]:
        """Return the session of a request and whether it is resumed. A newer connection takes a session over."""
        query = request.query
        if "session" in query:
            return self.sessions[query["session"]], True
        instruction = query.get("instruction") or self.instruction
        _check_instruction(instruction)
        config = _config({"threshold": str(self.threshold), **query})
        speaks = query.get("speak", "0") not in ("", "0", "false")
        if speaks and self.voices is None:
            raise InputError("this server has no voice", field="speak", remedy="Start it with `soundflow serve --speak VOICE`")
        voices = self.voices if speaks else None
        session = LiveSession(self.engine, instruction, config, asyncio.get_running_loop(), voices)
        self.sessions[session.id] = session
        return session, False

    async def _receive(self, session: LiveSession, socket: web.WebSocketResponse) -> bool:
        """Receive until the client leaves; return True when the session has ended, False when it may be resumed."""
        async for message in socket:
            if session.client is not socket:
                return False  # taken over
            if message.type is WSMsgType.BINARY:
                try:
                    session.push(message.data)
                except ValueError as error:
                    return await self._fatal(socket, protocol.BAD_AUDIO, str(error))
                except OverflowError as error:
                    return await self._fatal(socket, protocol.TOO_FAST, str(error))
            elif message.type is WSMsgType.TEXT:
                try:
                    kind = json.loads(message.data)["type"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    return await self._fatal(socket, protocol.BAD_MESSAGE, "text messages must be JSON objects with `type`")
                if kind == "session.close":
                    await socket.close()
                    return True
                if kind == "response.cancel":
                    session.cancel()
                    continue
                session.put(ErrorEvent.of(protocol.BAD_MESSAGE, f"unknown message type {str(kind)[:80]!a}"))
        return False

    async def _send(self, session: LiveSession, socket: web.WebSocketResponse) -> None:
        """Send events as they arrive. What a slow or lost client has not received waits for its next connection."""
        while not socket.closed and session.client is socket:
            events = await session.take()
            if session.client is not socket:
                session.put_back(events)
                return
            for number, event in enumerate(events):
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await self._send_event(socket, event)
                except (TimeoutError, ConnectionError, asyncio.CancelledError) as lost:
                    session.put_back(events[number:])
                    if isinstance(lost, asyncio.CancelledError):
                        raise
                    await socket.close(code=1013, message=b"too slow")
                    return
                self.metrics.count(event)

    @staticmethod
    async def _send_event(socket: web.WebSocketResponse, event: Event) -> None:
        """Serialise and send one event: the only place where an event becomes JSON."""
        await socket.send_json(event.to_wire())

    async def _fatal(self, socket: web.WebSocketResponse, code: str, message: str) -> bool:
        """Send a fatal error and close. Returns True: the session has ended."""
        with contextlib.suppress(ConnectionError):
            await self._send_event(socket, ErrorEvent.of(code, message))
            await socket.close(code=1008, message=code.encode())
        self.metrics.refused.labels(code).inc()
        return True

    def _close(self, connection: web.WebSocketResponse, code: str) -> None:
        """Close a connection without waiting for the closing handshake."""
        task = asyncio.get_running_loop().create_task(connection.close(code=1008, message=code.encode()))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _end(self, session: LiveSession) -> None:
        self.sessions.pop(session.id, None)
        session.end()

    def _unauthorised(self, request: web.Request) -> web.Response | None:
        """Return a refusal, or None for a request that is not from another site and carries the token if one is set."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return self._refuse(403, protocol.UNAUTHORISED, "requests from pages of other sites are refused")
        if self.token is None:
            return None
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("token", "")
        if hmac.compare_digest(given.encode(), self.token.get_secret_value().encode()):
            return None
        return self._refuse(401, protocol.UNAUTHORISED, "missing or wrong token: send Authorization: Bearer TOKEN, or ?token=")

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self.metrics.refused.labels(code).inc()
        return web.json_response(ErrorEvent.of(code, message).to_wire(), status=status, headers=headers)

    async def _sweeping(self, application: web.Application) -> AsyncIterator[None]:
        """End sessions without a client or without audio for too long, while the server runs."""

        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                now = time.monotonic()
                for session in list(self.sessions.values()):
                    if session.client is None and now - session.left > RESUME_SECONDS:
                        self._end(session)
                    elif now - session.last_audio > IDLE_SECONDS:
                        self._end(session)
                        self.metrics.refused.labels(protocol.IDLE).inc()
                        if isinstance(session.client, web.WebSocketResponse):
                            self._close(session.client, protocol.IDLE)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for session in list(self.sessions.values()):
            self._end(session)


def _is_not_client_error(record: logging.LogRecord) -> bool:
    """Filter log records: input that is not HTTP is answered with 400 and not logged as a server error."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def run(application: web.Application, listening: socket.socket) -> None:
    """Serve on a listening socket until cancelled."""
    without_request: set[RequestHandler] = set()

    @web.middleware
    async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        without_request.discard(request.protocol)
        return await handler(request)

    def abort(connection: RequestHandler) -> None:
        if connection in without_request:
            without_request.discard(connection)
            if connection.transport is not None:
                connection.transport.abort()

    def connected() -> RequestHandler:
        assert runner.server is not None
        connection = runner.server()
        without_request.add(connection)
        asyncio.get_running_loop().call_later(HEADER_SECONDS, abort, connection)
        return connection

    application.middlewares.append(note_request)
    log = logging.getLogger(__name__)
    log.addFilter(_is_not_client_error)
    runner = web.AppRunner(
        application, handle_signals=False, access_log=None, logger=log, shutdown_timeout=2.0, max_line_size=LONGEST_LINE
    )
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(connected, sock=listening)
    try:
        await server.serve_forever()
    finally:
        await runner.cleanup()


def _raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, since every connection needs one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


OPTIONS: Final = {
    "threshold": "threshold",
    "drain": "longest_drain",
    "longest": "longest_response",
    "remember": "remember_tokens",
}
"""Query parameter → field of ListenConfig."""


def _config(query: Mapping[str, str]) -> ListenConfig:
    """Return the configuration of a query; raises InputError naming the invalid parameter."""
    given = {field: query[name] for name, field in OPTIONS.items() if name in query}
    try:
        return ListenConfig.model_validate_strings(given)
    except ValidationError as error:
        (field, *_), message = error.errors()[0]["loc"], error.errors()[0]["msg"]
        name = next(name for name, known in OPTIONS.items() if known == field)
        raise InputError("is invalid", field=name, value=query[name], remedy=message) from None


def _check_instruction(instruction: str) -> None:
    """Raise InputError for an instruction that is too long or not text: it would delay or end the decoder of all sessions."""
    if len(instruction) > protocol.LONGEST_INSTRUCTION:
        why = f"has {len(instruction)} characters, more than {protocol.LONGEST_INSTRUCTION}"
        raise InputError(why, field="instruction", remedy="Shorten it")
    try:
        tokens = len(QwenTokenizer.load().encode(instruction))
    except ValueError as error:
        raise InputError(f"is not text: {error}", field="instruction") from None
    if tokens > protocol.LONGEST_INSTRUCTION_TOKENS:
        why = f"has {tokens} tokens, more than {protocol.LONGEST_INSTRUCTION_TOKENS}"
        raise InputError(why, field="instruction", remedy="Shorten it")


def serve(
    model: Path,
    *,
    host: str,
    port: int,
    sessions: int,
    threads: int,
    token: SecretStr | None,
    threshold: float,
    say: Callable[[str], None],
    instruction: str = DEFAULT_INSTRUCTION,
    voices: Voices | None = None,
) -> None:
    """Load the model and serve until SIGINT or SIGTERM, then raise Interrupted.

    Raises InputError for a public address without a token, a port in use, an invalid instruction or a broken checkpoint.
    """
    if host not in LOOPBACK and token is None:
        remedy = "Set SOUNDFLOW_TOKEN, or serve on 127.0.0.1"
        raise InputError("other machines can reach this address: it needs a token", field="--host", value=host, remedy=remedy)
    _check_instruction(instruction)
    try:  # before loading the model, which may take minutes
        listening = socket.create_server((host, port), backlog=128, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = f"cannot listen: {error.strerror or error}"
        raise InputError(why, field="--port", value=f"{host}:{port}", remedy="Choose another --host or --port") from None
    _raise_file_limit()
    with listening:
        engine = Engine(model, sessions=sessions, threads=threads)
        try:
            engine.start()
            application = Server(engine, token, threshold, voices, instruction).application()
            say(f"listening on http://{host}:{port} ({sessions} sessions; page at /, health at /healthz, metrics at /metrics)")
            run_until_stopped(run(application, listening))
        finally:
            engine.close()
            if voices is not None:
                voices.close()
