"""One client's session on the server: audio cut into chunks, events numbered and kept until sent, a grace for reconnects."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Any

import numpy as np

from soundflow.streaming.engine import Engine
from soundflow.streaming.events import ListenConfig
from soundflow.streaming.protocol import BUFFERED_EVENTS, BURST_SECONDS, MOST_WAITING, SAMPLE_RATE, Translator
from soundflow.streaming.speaking import Speech, Voices


class LiveSession:
    """Belongs to the server's event loop; the engine's thread hands events in through `call_soon_threadsafe`."""

    def __init__(
        self,
        engine: Engine,
        instruction: str,
        config: ListenConfig,
        loop: asyncio.AbstractEventLoop,
        voices: Voices | None = None,
    ):
        """With `voices` responses are spoken too."""
        self.id = secrets.token_urlsafe(18)
        self.instruction = instruction
        self.begun = time.monotonic()
        self.client: object | None = None
        """The connection that owns the session now; None while it waits for one."""
        self.left = time.monotonic()
        """When the last client left."""
        self.heard_at = self.begun
        """When audio came last."""
        self.missed = 0
        """Events that no longer fitted."""
        self._engine, self._loop, self._translator = engine, loop, Translator()
        self._held = b""
        self._pushed = 0
        self._sequence = 0
        self._events: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._speech = None if voices is None else Speech(voices.speak, voices.pool, self.put, self._takes_audio)
        self.engine_session = engine.open(instruction, config, self._from_engine)

    @property
    def speaks(self) -> bool:
        """Aloud."""
        return self._speech is not None

    @property
    def chunk_bytes(self) -> int:
        """Bytes of PCM16 a decision period has."""
        return 2 * self._engine.config.chunk_samples

    def hear(self, pcm: bytes) -> int:
        """Take audio, an even number of bytes; returns how many whole chunks it completed.

        Raises OverflowError when the client is further ahead of time than the burst allows, ValueError for half a sample.
        """
        self.heard_at = time.monotonic()
        if len(pcm) % 2:
            raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        ahead = (2 * self._pushed * self._engine.config.chunk_samples + len(self._held) + len(pcm)) / (2 * SAMPLE_RATE)
        if ahead - (time.monotonic() - self.begun) > BURST_SECONDS:
            raise OverflowError(f"audio comes faster than it lasts: more than {BURST_SECONDS:.0f} s ahead")
        self._held += pcm
        whole = len(self._held) // self.chunk_bytes
        for number in range(whole):
            chunk = np.frombuffer(self._held, "<i2", self.chunk_bytes // 2, number * self.chunk_bytes)
            if not self._engine.push(self.engine_session, chunk):
                self.put({"type": "input_audio.dropped", "chunks": 1})
        self._held = self._held[whole * self.chunk_bytes :]
        self._pushed += whole
        return whole

    def put(self, event: dict[str, Any]) -> None:
        """Number an event and keep it for the client; the oldest goes when too many wait."""
        self._sequence += 1
        self._events.append(event | {"sequence": self._sequence, "time": round(time.monotonic() - self.begun, 3)})
        if len(self._events) > BUFFERED_EVENTS:
            self._events.popleft()
            self.missed += 1
        self._news.set()

    async def take(self) -> list[dict[str, Any]]:
        """The events that wait, once there are any."""
        await self._news.wait()
        taken = list(self._events)
        self._events.clear()
        self._news.clear()
        return taken

    def put_back(self, events: list[dict[str, Any]]) -> None:
        """What could not be sent waits for the next client."""
        self._events.extendleft(reversed(events))
        while len(self._events) > BUFFERED_EVENTS:
            self._events.popleft()
            self.missed += 1
        if self._events:
            self._news.set()

    def waiting(self) -> int:
        """Events not sent yet."""
        return len(self._events)

    def stop(self) -> None:
        """What is being said ends here, text and audio."""
        self._engine.stop(self.engine_session)
        if self._speech is not None:
            self._speech.stop()

    def end(self) -> None:
        """Give the slot back."""
        if self._speech is not None:
            self._speech.stop()
        self._engine.end(self.engine_session)

    def _from_engine(self, event: dict[str, Any]) -> None:
        """In the engine's thread."""
        queue = self._engine.waiting(self.engine_session)
        self._loop.call_soon_threadsafe(self._told, event, queue)

    def _told(self, event: dict[str, Any], queue: int) -> None:
        told = self._translator.translate(event, queue)
        self.put(told)
        if self._speech is not None:
            self._speech.told(told)

    def _takes_audio(self) -> bool:
        return self.client is not None and len(self._events) < MOST_WAITING
