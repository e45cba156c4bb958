"""A client of the server: `async with Client.connect(url) as client: await client.send(pcm); async for event in client: …`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray

from soundflow.schemas.base import InputError
from soundflow.streaming.protocol import BURST_SECONDS, MAX_MESSAGE, SAMPLE_RATE

PIECE_SECONDS: Final = 0.1
AHEAD_SECONDS: Final = BURST_SECONDS - 2.0
AHEAD: Final = 20
"""Chunks in flight where the server sets the pace."""


class Client:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket = socket

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        instruction: str | None = None,
        threshold: float | None = None,
        drain: int | None = None,
        longest: int | None = None,
        remember: int | None = None,
        speak: bool = False,
        session: str | None = None,
        token: str | None = None,
    ) -> AsyncIterator[Client]:
        """Connect to `url` (http://HOST:PORT). InputError when the server is not there or refuses, with what it said."""
        options = {
            "instruction": instruction,
            "threshold": threshold,
            "drain": drain,
            "longest": longest,
            "remember": remember,
            "session": session,
            "speak": int(speak) or None,
        }
        query = {name: str(value) for name, value in options.items() if value is not None}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = url.rstrip("/") + "/v1/listen"
        async with aiohttp.ClientSession(headers=headers) as http:
            if urlsplit(url).scheme not in ("http", "https"):
                raise InputError("is no address of a server", file=url, remedy="Write it as http://HOST:PORT")
            try:
                socket = await http.ws_connect(address, params=query, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as refused:
                remedy = "`token=` of the client; `soundflow listen` takes $SOUNDFLOW_TOKEN" if refused.status == 401 else ""
                raise InputError(await _reason(http, address, query, refused.status), file=url, remedy=remedy) from None
            except (aiohttp.ClientError, OSError, ValueError) as lost:
                remedy = "Start one with: soundflow serve --model DIR"
                raise InputError(f"no server there ({lost})", file=url, remedy=remedy) from None
            try:
                yield cls(socket)
            finally:
                await socket.close()

    async def send(self, pcm: NDArray[np.int16] | bytes) -> None:
        """Samples, int16 at 16 kHz, any number."""
        data = pcm if isinstance(pcm, bytes) else np.ascontiguousarray(pcm, dtype="<i2").tobytes()
        for start in range(0, len(data), MAX_MESSAGE):
            await self._socket.send_bytes(data[start : start + MAX_MESSAGE])

    async def finish(self) -> None:
        """End the session."""
        await self._socket.send_str(json.dumps({"type": "session.close"}))

    async def interrupt(self) -> None:
        """What is being said ends here."""
        await self._socket.send_str(json.dumps({"type": "response.cancel"}))

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield json.loads(message.data)


async def _reason(http: aiohttp.ClientSession, address: str, query: dict[str, str], status: int) -> str:
    """What the server says to the same request without an upgrade."""
    try:
        async with http.get(address, params=query) as answer:
            return str((await answer.json())["error"]["message"])
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        return f"the server refuses (HTTP {status})"


Audio = NDArray[np.int16] | AsyncIterator[bytes]


async def play(client: Client, audio: Audio, *, pace: float = 1.0) -> AsyncIterator[dict[str, Any]]:
    """Send audio and give the events until every chunk is decided and the last response has ended, aloud too where it is spoken.

    Samples are sent at `pace` times real time (0: as fast as they are decided), an iterator's PCM16 as it comes. The last chunk
    is filled up with silence. Raises ConnectionError when the server goes away before that.
    """
    events = client.__aiter__()
    greeting = await anext(events, None)
    if greeting is not None:
        yield greeting
    if greeting is None or "session" not in greeting:
        return
    chunk = 2 * greeting["session"]["chunk_ms"] * SAMPLE_RATE // 1000
    told, end = _PlaybackState(greeting["session"].get("speaks", False)), {"type": "end"}
    paced = pace or not isinstance(audio, np.ndarray)
    pieces = audio if isinstance(audio, AsyncIterator) else _paced(audio, pace) if paced else _as_decided(audio, told, chunk)
    sending = asyncio.create_task(_send(client, pieces, chunk))
    news = asyncio.ensure_future(anext(events, end))
    try:
        while not (sending.done() and told.chunks >= sending.result() and not told.speaking and not told.aloud):
            waiting = {news} if sending.done() else {news, sending}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if news.done():
                if (event := news.result()) is end:
                    raise ConnectionError("before everything was decided")
                told.take(event)
                yield event
                news = asyncio.ensure_future(anext(events, end))
        await client.finish()
    finally:
        for task in (sending, news):
            task.cancel()
        await asyncio.gather(sending, news, return_exceptions=True)


class _PlaybackState:
    """What the events of a session say about where it is."""

    def __init__(self, speaks: bool):
        self.chunks, self.speaking, self.aloud, self._speaks = 0, False, 0, speaks
        self.news = asyncio.Event()

    def take(self, event: dict[str, Any]) -> None:
        self.news.set()
        match event["type"]:
            case "chunk.silent" | "response.created":
                self.chunks += 1
                self.speaking = event["type"] == "response.created"
                self.aloud = event["chunk"] if self.speaking and self._speaks else self.aloud
            case "input_audio.dropped":
                self.chunks += event["chunks"]
            case "session.restarted":
                self.chunks, self.speaking = self.chunks + event["lost"], False
            case "response.done":
                self.speaking = False
            case "response.output_audio.done" if event["chunk"] == self.aloud:
                self.aloud = 0


async def _send(client: Client, pieces: AsyncIterator[bytes], chunk: int) -> int:
    """Send all, and silence until the last chunk of so many bytes is whole; how many chunks that are."""
    sent, odd = 0, b""
    async for piece in pieces:
        data = odd + piece
        odd = data[len(data) // 2 * 2 :]
        await client.send(data[: len(data) - len(odd)])
        sent += len(data) - len(odd)
    await client.send(bytes(-sent % chunk))
    return -(-sent // chunk)


async def _paced(pcm: NDArray[np.int16], pace: float) -> AsyncIterator[bytes]:
    piece = round(PIECE_SECONDS * SAMPLE_RATE)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for start in range(0, len(pcm), piece):
        await asyncio.sleep(max(0.0, begun + (start + piece) / SAMPLE_RATE / pace - loop.time()))
        yield np.ascontiguousarray(pcm[start : start + piece], dtype="<i2").tobytes()


async def _as_decided(pcm: NDArray[np.int16], told: _PlaybackState, chunk: int) -> AsyncIterator[bytes]:
    """Chunk by chunk, so few ahead that nothing is dropped, and as far ahead of time as a server allows."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, start in enumerate(range(0, len(pcm), chunk // 2)):
        while number - told.chunks >= AHEAD:
            told.news.clear()
            await told.news.wait()
        await asyncio.sleep(max(0.0, begun + start / SAMPLE_RATE - AHEAD_SECONDS - loop.time()))
        yield np.ascontiguousarray(pcm[start : start + chunk // 2], dtype="<i2").tobytes()
