"""An OpenAI-compatible server on a real socket. It answers in every role, and misbehaves on demand.

    with HostileLlm(faulty(0.3)) as server:
        config = LlmConfig(model="m", server=server.settings(timeout_seconds=0.5, backoff_seconds=0.01))

Answers follow from the request alone, faults from the request and how often it came: neither from time or order.
`python -m tests.support.hostile_llm [SHARE]` runs it by hand.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self

from soundflow.schemas.llm import LlmServer
from tests.support.llm_roles import role_of, well_behaved

ENOUGH = 1_100_000
"""Bytes of a huge answer."""


class Fault(StrEnum):
    """One way to misbehave."""

    BODY_NOT_JSON = "body_not_json"
    HTML = "html"
    NO_CHOICES = "no_choices"
    NULL_CONTENT = "null_content"
    ANOTHER_PROTOCOL = "another_protocol"
    """Valid JSON, but not a chat completion."""
    TRUNCATED_BODY = "truncated_body"
    TRUNCATED_STREAM = "truncated_stream"
    """Chunked, and the last chunk never comes."""
    RESET = "reset"
    """Instead of an answer."""
    RESET_IN_BODY = "reset_in_body"
    CLOSED = "closed"
    HANG = "hang"
    DRIP = "drip"
    """A byte now and then: no single read takes long."""
    BUSY = "busy"
    """429 without Retry-After."""
    BUSY_SECONDS = "busy_seconds"
    BUSY_DATE = "busy_date"
    BUSY_FOR_EVER = "busy_for_ever"
    NO_QUOTA = "no_quota"
    ERROR_500 = "error_500"
    ERROR_503_SECONDS = "error_503_seconds"
    HUGE = "huge"
    HUGE_ERROR = "huge_error"
    ENCODED = "encoded"
    UNAUTHORIZED = "unauthorized"
    """Quotes the key it was given."""
    NO_MODEL = "no_model"
    TOO_LONG = "too_long"
    """400."""
    NOT_JSON = "not_json"
    """A good response whose text is not JSON."""
    WRONG_SCHEMA = "wrong_schema"
    FENCED = "fenced"
    """Harmless: the answer in a code fence after some prose."""
    CUT_OFF = "cut_off"
    REFUSED = "refused"
    QUOTES_KEY = "quotes_key"
    NO_USAGE = "no_usage"
    ABSURD_USAGE = "absurd_usage"


TRANSIENT = (
    Fault.BODY_NOT_JSON,
    Fault.HTML,
    Fault.NO_CHOICES,
    Fault.NULL_CONTENT,
    Fault.ANOTHER_PROTOCOL,
    Fault.TRUNCATED_BODY,
    Fault.TRUNCATED_STREAM,
    Fault.RESET,
    Fault.RESET_IN_BODY,
    Fault.CLOSED,
    Fault.BUSY,
    Fault.BUSY_SECONDS,
    Fault.BUSY_DATE,
    Fault.ERROR_500,
    Fault.ERROR_503_SECONDS,
    Fault.HUGE,
    Fault.HUGE_ERROR,
    Fault.ENCODED,
    Fault.ABSURD_USAGE,
)
"""Faults that an immediate retry gets over; HANG and DRIP as well, after the timeout of the client."""
BAD_ANSWERS = (Fault.NOT_JSON, Fault.WRONG_SCHEMA, Fault.FENCED, Fault.CUT_OFF)
"""Faults of the model: the response is valid, its text is not (or is wrapped)."""
Script = Callable[[dict[str, Any], int], Fault | None]
"""(request, number of earlier equal requests) → fault."""


def faulty(share: float, kinds: tuple[Fault, ...] = TRANSIENT + BAD_ANSWERS, salt: str = "") -> Script:
    """Return a script in which a share of all calls fails, with equally frequent kinds of fault."""

    def script(body: dict[str, Any], before: int) -> Fault | None:
        draw = digest(f"{salt}/{before}/{json.dumps(body, sort_keys=True)}")
        return kinds[draw // 1_000_000 % len(kinds)] if draw % 1_000_000 < share * 1_000_000 else None

    return script


def once(*faults: Fault) -> Script:
    """Return a script with these faults, in order for each request, before the answer."""
    return lambda body, before: faults[before] if before < len(faults) else None


def always(fault: Fault) -> Script:
    """Return a script with this fault for every call."""
    return lambda body, before: fault


def digest(text: str) -> int:
    """Return a hash of `text`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class HostileLlm:
    """The server, in a thread of its own while the `with` block lasts."""

    def __init__(self, script: Script = lambda body, before: None, port: int = 0, latency_seconds: float = 0.0):
        self.script, self.latency, self._port = script, latency_seconds, port
        self.seen: Counter[str] = Counter()
        """Request (as JSON) → number of calls."""
        self.answered: Counter[str] = Counter()
        """Request → number of good responses."""
        self.faults: Counter[Fault] = Counter()
        self.roles: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *unused: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def calls(self) -> int:
        """Number of calls."""
        return self.seen.total()

    def settings(self, **changes: Any) -> LlmServer:
        """Settings of an impatient client."""
        quick = {"base_url": self.url, "timeout_seconds": 5.0, "backoff_seconds": 0.005, "retries": 12}
        return LlmServer.model_validate(quick | changes)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", self._port, limit=2**26))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether another may follow on this connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        self.headers.append(headers)
        mark = json.dumps(body, sort_keys=True)
        fault = self.script(body, self.seen[mark])
        self.seen[mark] += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.latency)
            if fault is None or fault in (*BAD_ANSWERS, Fault.QUOTES_KEY, Fault.REFUSED, Fault.NO_USAGE):
                self.answered[mark] += 1
            if fault is not None:
                self.faults[fault] += 1
            else:
                self.roles[role_of(body)] += 1
            return await self._misbehave(fault, body, headers, writer)
        finally:
            self.open -= 1

    async def _misbehave(self, fault: Fault | None, body: Any, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        good = json.dumps(completion(body, fault, key)).encode()
        match fault:
            case Fault.HANG:
                await asyncio.sleep(3600)
            case Fault.DRIP:
                writer.write(head(200, len(good)))
                for number in range(len(good)):
                    writer.write(good[number : number + 1])
                    await asyncio.sleep(0.05)
            case Fault.RESET | Fault.RESET_IN_BODY:
                if fault is Fault.RESET_IN_BODY:
                    writer.write(head(200, len(good)) + good[:40])
                    await writer.drain()
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Fault.CLOSED:
                pass
            case Fault.TRUNCATED_BODY:
                writer.write(head(200, len(good)) + good[: len(good) // 2])
            case Fault.TRUNCATED_STREAM:
                writer.write(head(200, None) + f"{len(good):x}\r\n".encode() + good + b"\r\n")
            case Fault.HUGE | Fault.HUGE_ERROR:
                status = 200 if fault is Fault.HUGE else 500
                writer.write(head(status, ENOUGH) + b" " * ENOUGH)
            case _:
                status, content, more = response(fault, good, key)
                writer.write(head(status, len(content), more) + content)
                await writer.drain()
                return True
        await writer.drain()
        return False


def head(status: int, length: int | None, more: str = "") -> bytes:
    """The head of a response; `length` None: in chunks."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}{size}\r\n\r\n".encode()


def response(fault: Fault | None, good: bytes, key: str) -> tuple[int, bytes, str]:
    """(status, body, further headers) of a whole response."""
    date = email.utils.formatdate(time.time() - 1, usegmt=True)
    match fault:
        case Fault.BODY_NOT_JSON:
            return 200, b'{"choices": [', ""
        case Fault.HTML:
            return 200, b"<html><body>Bad gateway</body></html>", ""
        case Fault.ANOTHER_PROTOCOL:
            return 200, b'{"output": "hello", "choices": 7}', ""
        case Fault.ENCODED:
            return 200, good, "Content-Encoding: gzip\r\n"
        case Fault.BUSY:
            return 429, error("slow down"), ""
        case Fault.BUSY_SECONDS:
            return 429, error("slow down"), "Retry-After: 0.01\r\n"
        case Fault.BUSY_DATE:
            return 429, error("slow down"), f"Retry-After: {date}\r\n"
        case Fault.BUSY_FOR_EVER:
            return 429, error("come back tomorrow"), "Retry-After: 86400\r\n"
        case Fault.NO_QUOTA:
            return 429, error("You exceeded your quota", "insufficient_quota"), ""
        case Fault.ERROR_500:
            return 500, b"oops", ""
        case Fault.ERROR_503_SECONDS:
            return 503, error("loading"), "Retry-After: 0\r\n"
        case Fault.UNAUTHORIZED:
            return 401, error(f"Incorrect API key provided: {key}", "invalid_api_key"), ""
        case Fault.NO_MODEL:
            return 404, error("no such model", "model_not_found"), ""
        case Fault.TOO_LONG:
            return 400, error("too many tokens", "context_length_exceeded"), ""
    return 200, good, ""


def error(message: str, code: str = "x") -> bytes:
    """An error in OpenAI's format."""
    return json.dumps({"error": {"message": message, "type": "error", "code": code}}).encode()


def completion(body: dict[str, Any], fault: Fault | None, key: str) -> dict[str, Any]:
    """The chat completion for `body`, in its role, with the fault if it is one of the text."""
    text: str | None = well_behaved(body)
    finish, more = "stop", {}
    match fault:
        case Fault.NULL_CONTENT:
            text = None
        case Fault.NOT_JSON:
            text = "I would rather not say. {maybe}"
        case Fault.WRONG_SCHEMA:
            text = '{"mood": "good", "events": [{"order": "first"}]}'
        case Fault.FENCED:
            text = f"<think>Is {{this}} right?</think>Sure! Here it is:\n```json\n{text}\n```\nAnything else?"
        case Fault.CUT_OFF:
            text, finish = str(text)[: len(str(text)) // 2], "length"
        case Fault.REFUSED:
            text, more = None, {"refusal": "I can't help with that."}
        case Fault.QUOTES_KEY:
            text = f"Your key is {key}, and {text}"
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **more}}
    usage: dict[str, Any] | None = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    usage = {Fault.NO_USAGE: None, Fault.ABSURD_USAGE: {"prompt_tokens": -5, "completion_tokens": 10**30}}.get(fault, usage)  # type: ignore[arg-type]
    choices = [] if fault is Fault.NO_CHOICES else [choice]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "hostile-1", "choices": choices, "usage": usage}


if __name__ == "__main__":
    import sys

    with HostileLlm(faulty(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)) as running:
        sys.stdout.write(f"OPENAI_BASE_URL={running.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
