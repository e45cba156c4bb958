"""The WebSocket server: sessions in, events out, health, metrics and the page. Protocol: `streaming.protocol`."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import resource
import socket
import time
from collections.abc import Callable, Mapping
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
from soundflow.streaming.engine import Engine, Full
from soundflow.streaming.events import ListenConfig
from soundflow.streaming.metrics import Metrics
from soundflow.streaming.protocol import LONGEST_LINE, MAX_MESSAGE, RESUME_SECONDS, SAMPLE_RATE, error
from soundflow.streaming.sessions import LiveSession
from soundflow.streaming.speaking import Voices

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SEND_SECONDS: Final = 10.0
"""A client that takes nothing for so long is cut off; its session waits for it."""
SILENT_SECONDS: Final = 120.0
"""A connection that sends nothing at all, not even a pong, for so long is dead."""
IDLE_SECONDS: Final = 300.0
"""A session that hears nothing for so long gives its seat to others."""
HEADER_SECONDS: Final = 10.0
"""A connection that has not made its first request by then is closed: one that never will must not fill the server."""
DEFAULT_INSTRUCTION: Final = "Listen continuously. Respond when it is called for; otherwise stay silent."
SWEEP_SECONDS: Final = 1.0
"""How often abandoned sessions are looked for."""


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
        """`threshold` and `instruction` are of clients that give none. InputError for an instruction no session can have."""
        _check_instruction(instruction)
        self.engine, self.token, self.threshold, self.voices, self.instruction = engine, token, threshold, voices, instruction
        self.metrics = Metrics(engine)
        self.sessions: dict[str, LiveSession] = {}
        self._closing: set[asyncio.Task[bool]] = set()

    def application(self) -> web.Application:
        """Routes; sessions whose clients stay away are ended by a task of its own."""
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
        """The page and its files; nothing comes from elsewhere."""
        name = {"/": "page.html"}.get(request.path, request.path.lstrip("/"))
        kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
        body = (resources.files("soundflow.streaming") / name).read_bytes()
        policy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; img-src 'self' data:"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return web.Response(body=body, content_type=kinds[name.rsplit(".", 1)[1]], charset="utf-8", headers=headers)

    async def health(self, request: web.Request) -> web.Response:
        """200 when both processes have the model, else 503."""
        engine = self.engine
        state: dict[str, Any] = {"ready": engine.ready, "sessions": len(self.sessions), "capacity": engine.capacity}
        state |= {"restarts": engine.restarts, "speaks": self.voices is not None}
        state |= {"instruction": self.instruction, "threshold": self.threshold}
        return web.json_response(state, status=200 if engine.ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Prometheus text."""
        if refusal := self._unauthorised(request):
            return refusal
        self.metrics.sessions.set(len(self.sessions))
        return web.Response(body=generate_latest(self.metrics.registry), content_type="text/plain", charset="utf-8")

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """One client: admitted or refused before the upgrade, then heard until it leaves."""
        if refusal := self._unauthorised(request):
            return refusal
        try:
            session, resumed = self._session(request)
        except Full as full:
            return self._refuse(503, protocol.FULL, str(full), {"Retry-After": "5"})
        except KeyError:
            return self._refuse(404, protocol.UNKNOWN_SESSION, "there is no such session, or it has ended")
        except InputError as wrong:
            return self._refuse(400, protocol.BAD_REQUEST, str(wrong))
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE + 1, heartbeat=SILENT_SECONDS / 2, compress=False)
        try:
            await socket.prepare(request)
        except BaseException:
            self._end(session)
            raise
        before, session.client = session.client, socket
        if isinstance(before, web.WebSocketResponse):
            self._close(before, protocol.TAKEN_OVER)
        about: dict[str, Any] = {"chunk_ms": 1000 * session.chunk_bytes // (2 * SAMPLE_RATE), "sample_rate": SAMPLE_RATE}
        about |= {"id": session.id, "instruction": session.instruction, "speaks": session.speaks}
        greeting = {"type": "session.resumed" if resumed else "session.created", "missed": session.missed}
        session.put(greeting | {"session": about})
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
        """The session the request asks for, and whether it was there before. A newer connection takes a session over."""
        query = request.query
        if "session" in query:
            return self.sessions[query["session"]], True
        instruction = query.get("instruction") or self.instruction
        _check_instruction(instruction)
        config = _config({"threshold": str(self.threshold), **query})
        speaks = query.get("speak", "0") not in ("", "0", "false")
        if speaks and self.voices is None:
            raise InputError("this server has no voice", field="speak", remedy="Start it with --speak VOICE")
        voices = self.voices if speaks else None
        session = LiveSession(self.engine, instruction, config, asyncio.get_running_loop(), voices)
        self.sessions[session.id] = session
        return session, False

    async def _receive(self, session: LiveSession, socket: web.WebSocketResponse) -> bool:
        """Hear the client until it leaves; True when the session is over, False when it may come back."""
        async for message in socket:
            if session.client is not socket:
                return False  # taken over
            if message.type is WSMsgType.BINARY:
                try:
                    session.hear(message.data)
                except ValueError as wrong:
                    return await self._fatal(socket, protocol.BAD_AUDIO, str(wrong))
                except OverflowError as wrong:
                    return await self._fatal(socket, protocol.TOO_FAST, str(wrong))
            elif message.type is WSMsgType.TEXT:
                try:
                    kind = json.loads(message.data)["type"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    return await self._fatal(socket, protocol.BAD_MESSAGE, "text messages are JSON objects with a type")
                if kind == "session.close":
                    await socket.close()
                    return True
                if kind == "response.cancel":
                    session.stop()
                    continue
                session.put(error(protocol.BAD_MESSAGE, f"no such message: {str(kind)[:80]}"))
        return False

    async def _send(self, session: LiveSession, socket: web.WebSocketResponse) -> None:
        """Send events as they come. What a slow or lost client did not take waits for its next connection."""
        while not socket.closed and session.client is socket:
            events = await session.take()
            if session.client is not socket:
                session.put_back(events)
                return
            for number, event in enumerate(events):
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await socket.send_json(event)
                except (TimeoutError, ConnectionError, asyncio.CancelledError) as lost:
                    session.put_back(events[number:])
                    if isinstance(lost, asyncio.CancelledError):
                        raise
                    await socket.close(code=1013, message=b"too slow")
                    return
                self.metrics.count(event)

    async def _fatal(self, socket: web.WebSocketResponse, code: str, message: str) -> bool:
        """Tell what was wrong and close; the session is over."""
        with contextlib.suppress(ConnectionError):
            await socket.send_json(error(code, message))
            await socket.close(code=1008, message=code.encode())
        self.metrics.refused.labels(code).inc()
        return True

    def _close(self, connection: web.WebSocketResponse, code: str) -> None:
        """Close, without waiting for the other side's goodbye."""
        task = asyncio.get_running_loop().create_task(connection.close(code=1008, message=code.encode()))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _end(self, session: LiveSession) -> None:
        self.sessions.pop(session.id, None)
        session.end()

    def _unauthorised(self, request: web.Request) -> web.Response | None:
        """A refusal, or None when the request may come in: it is no other site's page, and carries the token where one is set."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return self._refuse(403, protocol.UNAUTHORISED, "pages of other sites may not listen here")
        if self.token is None:
            return None
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("token", "")
        if hmac.compare_digest(given.encode(), self.token.get_secret_value().encode()):
            return None
        return self._refuse(401, protocol.UNAUTHORISED, "give the server's token as `Authorization: Bearer …` or ?token=…")

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self.metrics.refused.labels(code).inc()
        return web.json_response(error(code, message), status=status, headers=headers)

    async def _sweeping(self, application: web.Application) -> Any:
        """While the server runs: end sessions whose client has been away too long."""

        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                now = time.monotonic()
                for session in list(self.sessions.values()):
                    if session.client is None and now - session.left > RESUME_SECONDS:
                        self._end(session)
                    elif now - session.heard_at > IDLE_SECONDS:  # a seat nobody uses
                        self._end(session)
                        self.metrics.refused.labels(protocol.IDLE).inc()
                        if isinstance(session.client, web.WebSocketResponse):
                            self._close(session.client, protocol.IDLE)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()
        for session in list(self.sessions.values()):
            self._end(session)


def _of_clients(record: logging.LogRecord) -> bool:
    """A filter: what a client sent that is no HTTP is answered with 400, and is no fault of ours to log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def run(application: web.Application, listening: socket.socket) -> None:
    """Serve until cancelled."""
    silent: set[RequestHandler] = set()

    @web.middleware
    async def heard(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    def too_slow(connection: RequestHandler) -> None:
        if connection in silent:
            silent.discard(connection)
            if connection.transport is not None:
                connection.transport.abort()

    def connected() -> RequestHandler:
        assert runner.server is not None
        connection = runner.server()
        silent.add(connection)
        asyncio.get_running_loop().call_later(HEADER_SECONDS, too_slow, connection)
        return connection

    application.middlewares.append(heard)
    log = logging.getLogger(__name__)
    log.addFilter(_of_clients)
    runner = web.AppRunner(
        application, handle_signals=False, access_log=None, logger=log, shutdown_timeout=2.0, max_line_size=LONGEST_LINE
    )
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(connected, sock=listening)
    try:
        await server.serve_forever()
    finally:
        await runner.cleanup()


def _many_files() -> None:
    """As many connections as the system allows, not as a shell begins with."""
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
    """InputError naming the query parameter that makes no sense."""
    given = {field: query[name] for name, field in OPTIONS.items() if name in query}
    try:
        return ListenConfig.model_validate_strings(given)
    except ValidationError as wrong:
        (field, *_), message = wrong.errors()[0]["loc"], wrong.errors()[0]["msg"]
        name = next(name for name, known in OPTIONS.items() if known == field)
        raise InputError("makes no sense", field=name, value=query[name], remedy=message) from None


def _check_instruction(instruction: str) -> None:
    """InputError for one that is too long, or no text: the decoder process of all sessions would have to bear it."""
    if len(instruction) > protocol.LONGEST_INSTRUCTION:
        raise InputError(f"is longer than {protocol.LONGEST_INSTRUCTION} characters", field="instruction")
    try:
        tokens = len(QwenTokenizer.load().encode(instruction))
    except ValueError as wrong:
        raise InputError(f"is no text: {wrong}", field="instruction") from None
    if tokens > protocol.LONGEST_INSTRUCTION_TOKENS:
        why = f"has {tokens} tokens, more than {protocol.LONGEST_INSTRUCTION_TOKENS}"
        raise InputError(why, field="instruction", remedy="Say it in fewer words")


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
    """Load the model and serve until interrupted. InputError for an address open to others without a token."""
    if host not in LOOPBACK and token is None:
        remedy = "Set SOUNDFLOW_TOKEN, or serve on 127.0.0.1"
        raise InputError("an address others can reach needs a token", field="--host", value=host, remedy=remedy)
    _check_instruction(instruction)
    try:  # before the model is loaded, which may take minutes
        listening = socket.create_server((host, port), backlog=128, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as wrong:
        raise InputError(f"cannot listen: {wrong.strerror or wrong}", field="--port", value=f"{host}:{port}") from None
    _many_files()
    with listening:
        engine = Engine(model, sessions=sessions, threads=threads)
        try:
            engine.start()
            application = Server(engine, token, threshold, voices, instruction).application()
            say(f"listening on http://{host}:{port} ({sessions} sessions; page at /, health at /healthz, metrics at /metrics)")
            asyncio.run(run(application, listening))
        finally:
            engine.close()
            if voices is not None:
                voices.close()
