"""A client of the server: `async with Client.connect(url) as client: await client.send(pcm); async for event in client: …`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import numpy as np
from numpy.typing import NDArray

from schemas.base import InputError
from streaming.protocol import MAX_MESSAGE, SAMPLE_RATE

PIECE_SECONDS: Final = 0.1
DECIDED: Final = ("chunk.silent", "response.created")


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
            "session": session,
            "speak": int(speak) or None,
        }
        query = {name: str(value) for name, value in options.items() if value is not None}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = url.rstrip("/") + "/v1/listen"
        async with aiohttp.ClientSession(headers=headers) as http:
            try:
                socket = await http.ws_connect(address, params=query, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as refused:
                raise InputError(await _reason(http, address, query, refused.status), file=url) from None
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


async def play(client: Client, pcm: NDArray[np.int16], *, pace: float = 1.0) -> AsyncIterator[dict[str, Any]]:
    """Send samples at `pace` times real time (0: as fast as they go) and give the events until every chunk is decided and the
    last response has ended, aloud too where it is spoken. The last chunk is filled up with silence."""
    events = client.__aiter__()
    greeting = await anext(events)
    yield greeting
    if "session" not in greeting:
        return
    chunk, speaks = greeting["session"]["chunk_ms"] * SAMPLE_RATE // 1000, greeting["session"].get("speaks", False)
    padded = np.pad(pcm, (0, -len(pcm) % chunk))
    sender = asyncio.create_task(_send_at(client, padded, pace))
    left, speaking, aloud = len(padded) // chunk, False, 0
    try:
        async for event in events:
            yield event
            if event["type"] in DECIDED:
                left, speaking = left - 1, event["type"] == "response.created"
                aloud = event["chunk"] if speaking and speaks else aloud
            elif event["type"] == "input_audio.dropped":
                left -= event["chunks"]
            elif event["type"] == "session.restarted":
                left, speaking = left - event["lost"], False
            elif event["type"] == "response.done":
                speaking = False
            elif event["type"] == "response.output_audio.done":
                aloud = 0 if event["chunk"] == aloud else aloud
            if left <= 0 and not speaking and not aloud:
                break
        await client.finish()
    finally:
        sender.cancel()


async def _send_at(client: Client, pcm: NDArray[np.int16], pace: float) -> None:
    piece = round(PIECE_SECONDS * SAMPLE_RATE)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for start in range(0, len(pcm), piece):
        due = begun + (start + piece) / SAMPLE_RATE / pace if pace else 0.0
        await asyncio.sleep(max(0.0, due - loop.time()))
        await client.send(pcm[start : start + piece])
