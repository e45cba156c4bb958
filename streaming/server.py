"""The web server: WebSocket sessions (`streaming.protocol`), health, metrics and the page."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection
from importlib import resources
from pathlib import Path
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http import WebSocketError
from aiohttp.typedefs import Handler
from prometheus_client import generate_latest
from pydantic import SecretStr

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.base import InputError
from soundflow.streaming import protocol
from soundflow.streaming.access import Access, Refusal, check_token, is_local, parse_authority
from soundflow.streaming.connections import EventSocket, load_tls
from soundflow.streaming.connections import run as run_server
from soundflow.streaming.engine import STALL_SECONDS, Engine, EngineFull
from soundflow.streaming.events import ErrorEvent, SessionCreated, SessionResumed
from soundflow.streaming.limits import RateLimit
from soundflow.streaming.metrics import Metrics
from soundflow.streaming.parsing import SessionClose, SessionOptions, check_names, parse_message, parse_options
from soundflow.streaming.protocol import MAX_MESSAGE, RESUME_SECONDS
from soundflow.streaming.sessions import LiveSession
from soundflow.streaming.signals import run_until_stopped
from soundflow.streaming.speaking import Voices

IDLE_SECONDS: Final = 300.0
"""A session in which no chunk of audio is complete for this long is ended."""
DEFAULT_INSTRUCTION: Final = "Listen continuously. Respond when it is called for; otherwise stay silent."
SWEEP_SECONDS: Final = 1.0
"""Interval between searches for abandoned sessions."""
LEAVING_CODES: Final = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, 0)
"""Close codes of a client that means to leave; 0 is a close frame without a code, which browsers send."""
REPORT_SECONDS: Final = 10.0
"""Minimum time between two reports that a client sends too many messages."""


class Server:
    """The web application of one engine."""

    def __init__(
        self,
        engine: Engine,
        token: SecretStr | None = None,
        threshold: float = 0.5,
        voices: Voices | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
        proxies: Collection[str] = (),
    ):
        """Create the application. `threshold` and `instruction` apply to clients that set none.

        `proxies` are the addresses of proxies whose `X-Forwarded-For` is believed. Raises InputError for an instruction that is
        too long or not text, and for a token that is too short.
        """
        _check_instruction(instruction)
        self.engine, self.threshold, self.voices, self.instruction = engine, threshold, voices, instruction
        self.access = Access(token, proxies)
        self.metrics = Metrics(engine)
        self.sessions: dict[str, LiveSession] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Build the aiohttp application with its routes and the task that ends abandoned sessions."""
        application = web.Application(client_max_size=MAX_MESSAGE, middlewares=[self._guard])
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
        headers = {
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return web.Response(body=body, content_type=kinds[name.rsplit(".", 1)[1]], charset="utf-8", headers=headers)

    async def health(self, request: web.Request) -> web.Response:
        """Answer 200 when both processes have loaded the model and respond, else 503. The settings need the token."""
        engine = self.engine
        state: dict[str, Any] = {"ready": engine.ready, "sessions": len(self.sessions), "capacity": engine.capacity}
        state |= {"restarts": engine.restarts, "speaks": self.voices is not None}
        if not self.access.is_anonymous(request):
            if refusal := self._refusal(request, ("token",)):
                return refusal
            state |= {"instruction": self.instruction, "threshold": self.threshold}
        return web.json_response(state, status=200 if engine.ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Serve the metrics in the Prometheus text format."""
        if refusal := self._refusal(request, ("token",)):
            return refusal
        self.metrics.sessions.set(len(self.sessions))
        return web.Response(body=generate_latest(self.metrics.registry), content_type="text/plain", charset="utf-8")

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Serve one client: admit or refuse it before the upgrade, then receive audio until it leaves."""
        if refusal := self._refusal(request):
            return refusal
        socket = EventSocket(lambda code: self._note_failure(session, socket, code))
        try:
            options = parse_options(request.query, self.threshold)
            self._check(options)
            if not _can_upgrade(request, socket):
                raise InputError("this address needs a WebSocket connection", remedy="Connect with ws:// or wss://")
            session, resumed = self._session(options)
        except EngineFull as full:
            return self._refuse(Refusal(503, protocol.FULL, str(full), {"Retry-After": "5"}))
        except KeyError:
            return self._refuse(Refusal(404, protocol.UNKNOWN_SESSION, "unknown session; it may have ended"))
        except InputError as error:
            return self._refuse(Refusal(400, protocol.BAD_REQUEST, str(error)))
        try:
            await socket.prepare(request)
        except BaseException as error:
            if not resumed:
                self._end(session)
            if isinstance(error, ConnectionError):
                return web.Response(status=400)  # the client is gone and cannot read it
            raise
        previous, session.client, session.is_closed_by_client = session.client, socket, False
        if isinstance(previous, EventSocket):
            self._fail(previous, protocol.TAKEN_OVER, "a newer connection continues the session")
        session.put((SessionResumed if resumed else SessionCreated)(missed=session.missed, session=session.info))
        sender = asyncio.create_task(self._send(session, socket))
        await asyncio.sleep(0)  # the greeting is sent before the first message is read, which may be the last one
        try:
            if await self._receive(session, socket):
                self._end(session)
                await socket.finish()
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender
            if session.client is socket:
                session.client, session.left = None, time.monotonic()
        return socket

    def _check(self, options: SessionOptions) -> None:
        """Raise what `_session` would: InputError, EngineFull, or KeyError for an unknown session to resume."""
        if options.session is not None:
            _ = self.sessions[options.session]
            return
        _check_instruction(options.instruction)
        if options.speak and self.voices is None:
            raise InputError("this server has no voice", field="speak", remedy="Start it with `soundflow serve --speak VOICE`")
        self._replaceable()

    def _session(self, options: SessionOptions) -> tuple[LiveSession, bool]:
        """Return the session of a request and whether it is resumed. A newer connection takes a session over."""
        if options.session is not None:
            return self.sessions[options.session], True
        if (gone := self._replaceable()) is not None:
            self._end(gone)
        instruction, voices = options.instruction or self.instruction, self.voices if options.speak else None
        loop = asyncio.get_running_loop()
        session = LiveSession(self.engine, instruction, options.config, loop, voices, options.sample_rate)
        self.sessions[session.id] = session
        return session, False

    def _replaceable(self) -> LiveSession | None:
        """Return the session that a new one replaces; None while a seat is free. Raises EngineFull.

        Only a client that closed its connection is replaced, the first one to do so.
        """
        if len(self.sessions) < self.engine.capacity:
            return None
        gone = [session for session in self.sessions.values() if session.client is None and session.is_closed_by_client]
        if not gone:
            raise EngineFull(f"all {self.engine.capacity} sessions are in use; try again later")
        return min(gone, key=lambda session: session.left)

    async def _receive(self, session: LiveSession, socket: EventSocket) -> bool:
        """Receive until the client leaves; return True when it ended the session, False when it may be resumed."""
        rates = (protocol.MESSAGES_PER_SECOND, protocol.COMMANDS_PER_SECOND)
        messages, commands = (RateLimit(rate, rate * protocol.MESSAGE_BURST_SECONDS) for rate in rates)
        reports = RateLimit(1 / REPORT_SECONDS, 1)
        async for message in socket:
            if session.client is not socket:
                return False  # taken over
            if message.type is WSMsgType.ERROR:
                return isinstance(message.data, WebSocketError)  # the socket has reported it
            wait = messages.take()
            if message.type is WSMsgType.BINARY:
                try:
                    session.push(message.data)
                except ValueError as error:
                    await socket.fail(protocol.BAD_AUDIO, str(error))
            elif message.type is WSMsgType.TEXT:
                wait = max(wait, commands.take())
                try:
                    command = parse_message(message.data)
                except InputError as error:
                    session.put(ErrorEvent.of(protocol.BAD_MESSAGE, str(error)))
                except ValueError:
                    await socket.fail(protocol.BAD_MESSAGE, "text messages must be JSON objects with `type`")
                else:
                    if isinstance(command, SessionClose):
                        return True
                    session.cancel()
            if wait and not reports.take():
                limit = f"{rates[0]:.0f} messages and {rates[1]:.0f} commands per second"
                session.put(ErrorEvent.of(protocol.TOO_MANY_MESSAGES, f"more than {limit}: further ones are read more slowly"))
            await asyncio.sleep(wait)  # also without a wait: other clients are next
        session.is_closed_by_client = socket.close_code in LEAVING_CODES
        return False

    async def _send(self, session: LiveSession, socket: EventSocket) -> None:
        """Send events as they arrive. What a slow or lost client has not received waits for its next connection."""
        while not socket.closed and session.client is socket:
            events = await session.take()
            if session.client is not socket:
                session.put_back(events)
                return
            for number, event in enumerate(events):
                try:
                    await socket.send_event(event)
                except (TimeoutError, ConnectionError, asyncio.CancelledError) as lost:
                    session.put_back(events[number:])
                    if isinstance(lost, asyncio.CancelledError):
                        raise
                    await socket.abandon()
                    return
                self.metrics.count(event)

    def _fail(self, socket: EventSocket, code: str, message: str) -> None:
        """Send a fatal error and close a connection, without waiting for it."""
        task = asyncio.get_running_loop().create_task(socket.fail(code, message))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _note_failure(self, session: LiveSession, socket: EventSocket, code: str) -> None:
        """Count a connection that ends with an error, and end its session unless a newer connection has it."""
        self.metrics.refused.labels(code).inc()
        if session.client is socket:
            self._end(session)

    def _end(self, session: LiveSession) -> None:
        """End a session. Its seat is free at once. Idempotent."""
        self.sessions.pop(session.id, None)
        session.end()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests from other sites, whatever they ask for."""
        if refusal := self.access.check_site(request):
            return self._refuse(refusal)
        return await handler(request)

    def _refusal(self, request: web.Request, options: Collection[str] | None = None) -> web.Response | None:
        """Return the refusal of a request that is not authorised or has query parameters beyond `options`, else None."""
        if refusal := self.access.check_token(request):
            return self._refuse(refusal)
        try:
            if options is not None:
                check_names(request.query, options)
        except InputError as error:
            return self._refuse(Refusal(400, protocol.BAD_REQUEST, str(error)))
        return None

    def _refuse(self, refusal: Refusal) -> web.Response:
        self.metrics.refused.labels(refusal.code).inc()
        document = ErrorEvent.of(refusal.code, refusal.message).to_wire()
        return web.json_response(document, status=refusal.status, headers=refusal.headers)

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
                        if isinstance(session.client, EventSocket):
                            self._fail(session.client, protocol.IDLE, f"no audio for {IDLE_SECONDS:.0f} s: the session has ended")
                        else:
                            self.metrics.refused.labels(protocol.IDLE).inc()

        task = asyncio.create_task(sweep())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for session in list(self.sessions.values()):
            self._end(session)


def _can_upgrade(request: web.Request, socket: EventSocket) -> bool:
    """Whether a request is a WebSocket handshake."""
    try:
        return bool(socket.can_prepare(request))
    except UnicodeError:  # aiohttp's own message about a header that is not UTF-8
        return False


def _raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, since every connection needs one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
    proxies: Collection[str] = (),
    tls: tuple[Path, Path] | None = None,
    stall_seconds: float = STALL_SECONDS,
) -> None:
    """Load the model and serve until SIGINT or SIGTERM, then raise Interrupted. `tls` are the files of a certificate and its key.

    Raises InputError for a public address without a token, a token that is too short, a port in use, an invalid instruction, a
    certificate that cannot be used or a broken checkpoint.
    """
    name = parse_authority(f"[{host}]" if ":" in host else host)
    if token is None and (name is None or not is_local(name[0])):
        remedy = "Set SOUNDFLOW_TOKEN, or serve on 127.0.0.1"
        raise InputError("other machines can reach this address: it needs a token", field="--host", value=host, remedy=remedy)
    if token is not None:
        check_token(token)
    _check_instruction(instruction)
    context = None if tls is None else load_tls(*tls)
    try:  # before loading the model, which may take minutes
        listening = socket.create_server((host, port), backlog=128, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = f"cannot listen: {error.strerror or error}"
        raise InputError(why, field="--port", value=f"{host}:{port}", remedy="Choose another --host or --port") from None
    _raise_file_limit()
    with listening:
        engine = Engine(model, sessions=sessions, threads=threads, stall_seconds=stall_seconds)
        try:
            engine.start()
            application = Server(engine, token, threshold, voices, instruction, proxies).application()
            address = f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
            say(f"listening on {address} ({sessions} sessions; page at /, health at /healthz, metrics at /metrics)")
            run_until_stopped(run_server(application, listening, context))
        finally:
            engine.close()
            if voices is not None:
                voices.close()
