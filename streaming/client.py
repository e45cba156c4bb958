"""A client of the server. Events are the typed ones of `streaming.events`.

async with Client.connect("http://127.0.0.1:8765") as client:
    async for event in play(client, pcm):
        ...
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, assert_never
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray

from soundflow.schemas.base import InputError
from soundflow.streaming.events import (
    AudioDelta,
    AudioDone,
    AudioDropped,
    ChunkSilent,
    ErrorEvent,
    Event,
    Reanchored,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionCreated,
    SessionResumed,
    TextDelta,
    parse_event,
)
from soundflow.streaming.protocol import BURST_SECONDS, MAX_MESSAGE, SAMPLE_RATE

PIECE_SECONDS: Final = 0.1
AHEAD_SECONDS: Final = BURST_SECONDS - 2.0
"""Audio sent ahead of real time at most, when the server sets the pace."""
AHEAD: Final = 20
"""Maximum chunks in flight when the server sets the pace."""


class Client:
    """One connection to a session. Iterate over it for the events."""

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
        sample_rate: int | None = None,
        token: str | None = None,
    ) -> AsyncIterator[Client]:
        """Connect to `url` (http://HOST:PORT). `streaming.protocol` describes the options.

        Raises InputError when no server answers or it refuses, with its message.
        """
        options = {
            "instruction": instruction,
            "threshold": threshold,
            "drain": drain,
            "longest": longest,
            "remember": remember,
            "session": session,
            "sample_rate": sample_rate,
            "speak": int(speak) or None,
        }
        query = {name: str(value) for name, value in options.items() if value is not None}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = url.rstrip("/") + "/v1/listen"
        async with aiohttp.ClientSession(headers=headers) as http:
            if urlsplit(url).scheme not in ("http", "https"):
                raise InputError("is not the address of a server", file=url, remedy="Write it as http://HOST:PORT")
            try:
                socket = await http.ws_connect(address, params=query, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as refused:
                remedy = "Set SOUNDFLOW_TOKEN for `soundflow listen`, or pass `token=`" if refused.status == 401 else ""
                raise InputError(await _reason(http, address, query, refused.status), file=url, remedy=remedy) from None
            except aiohttp.ClientConnectorCertificateError as untrusted:
                remedy = "Set SSL_CERT_FILE to the certificate of the server or of its authority (PEM)"
                reason = untrusted.certificate_error
                raise InputError(f"the certificate of the server is not trusted ({reason})", file=url, remedy=remedy) from None
            except (aiohttp.ClientError, OSError, ValueError) as lost:
                remedy = "Start one with `soundflow serve --model DIR`"
                raise InputError(f"no server answers ({lost})", file=url, remedy=remedy) from None
            try:
                yield cls(socket)
            finally:
                await socket.close()

    async def send(self, pcm: NDArray[np.int16] | bytes) -> None:
        """Send int16 samples (n,) at the sampling rate of the session, or their little-endian bytes."""
        data = pcm if isinstance(pcm, bytes) else np.ascontiguousarray(pcm, dtype="<i2").tobytes()
        for start in range(0, len(data), MAX_MESSAGE):
            await self._socket.send_bytes(data[start : start + MAX_MESSAGE])

    async def finish(self) -> None:
        """Ask the server to end the session."""
        await self._socket.send_str(json.dumps({"type": "session.close"}))

    async def interrupt(self) -> None:
        """End the open response (barge-in)."""
        await self._socket.send_str(json.dumps({"type": "response.cancel"}))

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT and (event := parse_event(message.data)) is not None:
                yield event


async def _reason(http: aiohttp.ClientSession, address: str, query: dict[str, str], status: int) -> str:
    """Return the server's message for the same request without the upgrade."""
    try:
        async with http.get(address, params=query, allow_redirects=False) as answer:
            return str((await answer.json())["error"]["message"])
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        return f"the server refuses the connection (HTTP {status})"


Audio = NDArray[np.int16] | AsyncIterator[bytes]
"""Samples (n,) at the sampling rate of the session, or pieces of little-endian PCM16."""


async def play(client: Client, audio: Audio, *, pace: float = 1.0) -> AsyncIterator[Event]:
    """Send audio and yield events until every chunk is decided and the last response has ended, spoken audio included.

    An array is sent at `pace` times real time (0: as fast as chunks are decided), an iterator of PCM16 bytes as it comes. The
    last chunk is padded with silence. Raises ConnectionError when the connection ends earlier.
    """
    events = client.__aiter__()
    greeting = await anext(events, None)
    if greeting is not None:
        yield greeting
    if not isinstance(greeting, SessionCreated | SessionResumed):
        return
    rate = greeting.session.sample_rate
    chunk = 2 * (greeting.session.chunk_ms * rate // 1000)
    state = _PlaybackState(greeting.session.speaks)
    if isinstance(audio, AsyncIterator):
        pieces = audio
    else:
        pieces = _paced(audio, pace, rate) if pace else _as_decided(audio, state, chunk, rate)
    look_ahead = 0 if rate == SAMPLE_RATE else chunk // 2  # what the server's resampler holds back
    sending = asyncio.create_task(_send(client, pieces, chunk, look_ahead))
    following = asyncio.ensure_future(anext(events, None))
    try:
        while not (sending.done() and state.chunks >= sending.result() and not state.responding and not state.spoken):
            await asyncio.wait({following} if sending.done() else {following, sending}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                if (event := following.result()) is None:
                    raise ConnectionError("the connection ended before every chunk was decided")
                state.update(event)
                yield event
                following = asyncio.ensure_future(anext(events, None))
        await client.finish()
    finally:
        for task in (sending, following):
            task.cancel()
        await asyncio.gather(sending, following, return_exceptions=True)


class _PlaybackState:
    """The progress of a session, derived from its events."""

    def __init__(self, speaks: bool):
        self.chunks = 0
        """Chunks decided or lost."""
        self.responding = False
        """Whether a response is open."""
        self.spoken = 0
        """Chunk of the response that is being spoken; 0 when there is none."""
        self.changed = asyncio.Event()
        self._speaks = speaks

    def update(self, event: Event) -> None:
        self.changed.set()
        match event:
            case ChunkSilent():
                self.chunks, self.responding = self.chunks + 1, False
            case ResponseCreated():
                self.chunks, self.responding = self.chunks + 1, True
                self.spoken = event.chunk if self._speaks else 0
            case AudioDropped():
                self.chunks += event.chunks
            case Restarted():
                self.chunks, self.responding = self.chunks + event.lost, False
            case ResponseDone():
                self.responding = False
            case AudioDone():
                self.spoken = 0 if event.chunk == self.spoken else self.spoken
            case TextDelta() | AudioDelta() | Reanchored() | SessionCreated() | SessionResumed() | ErrorEvent():
                pass
            case _:
                assert_never(event)


async def _send(client: Client, pieces: AsyncIterator[bytes], chunk: int, look_ahead: int) -> int:
    """Send all pieces, pad the last chunk of `chunk` bytes with silence, and return the number of chunks.

    `look_ahead` bytes of silence follow, which complete no chunk of their own.
    """
    sent, odd = 0, b""
    async for piece in pieces:
        data = odd + piece
        odd = data[len(data) // 2 * 2 :]
        await client.send(data[: len(data) - len(odd)])
        sent += len(data) - len(odd)
    await client.send(bytes(-sent % chunk + look_ahead // 2 * 2))
    return -(-sent // chunk)


async def _paced(pcm: NDArray[np.int16], pace: float, rate: int) -> AsyncIterator[bytes]:
    piece = round(PIECE_SECONDS * rate)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for start in range(0, len(pcm), piece):
        await asyncio.sleep(max(0.0, begun + (start + piece) / rate / pace - loop.time()))
        yield np.ascontiguousarray(pcm[start : start + piece], dtype="<i2").tobytes()


async def _as_decided(pcm: NDArray[np.int16], state: _PlaybackState, chunk: int, rate: int) -> AsyncIterator[bytes]:
    """Yield one chunk after another: few enough in flight that none is dropped, and as far ahead of time as the server allows."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, start in enumerate(range(0, len(pcm), chunk // 2)):
        while number - state.chunks >= AHEAD:
            state.changed.clear()
            await state.changed.wait()
        await asyncio.sleep(max(0.0, begun + start / rate - AHEAD_SECONDS - loop.time()))
        yield np.ascontiguousarray(pcm[start : start + chunk // 2], dtype="<i2").tobytes()
