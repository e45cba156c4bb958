"""One client's session on the server: audio cut into chunks, events numbered and kept until sent, time to reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque

import numpy as np

from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    EngineEvent,
    Event,
    ListenConfig,
    ResponseCreated,
    SessionInfo,
)
from soundflow.streaming.protocol import BUFFERED_EVENTS, BURST_SECONDS, MOST_WAITING, SAMPLE_RATE
from soundflow.streaming.speaking import Speech, Voices


class LiveSession:
    """Runs in the server's event loop. The engine's thread delivers events through `call_soon_threadsafe`."""

    def __init__(
        self,
        engine: Engine,
        instruction: str,
        config: ListenConfig,
        loop: asyncio.AbstractEventLoop,
        voices: Voices | None = None,
    ):
        """Open a session of the engine; with `voices`, responses are also spoken. Raises EngineFull."""
        self.id = secrets.token_urlsafe(18)
        self.instruction = instruction
        self.begun = time.monotonic()
        self.client: object | None = None
        """The connection that owns the session; None while it waits for a client."""
        self.left = time.monotonic()
        """When the last client left."""
        self.last_audio = self.begun
        """When audio last arrived."""
        self.missed = 0
        """Events discarded because too many were waiting."""
        self._engine, self._loop = engine, loop
        self._partial = b""
        self._pushed = 0
        self._sequence = 0
        self._events: deque[Event] = deque()
        self._available = asyncio.Event()
        self._speech = None if voices is None else Speech(voices.speak, voices.pool, self.put, self._takes_audio)
        self.engine_session = engine.open(instruction, config, self._from_engine)

    @property
    def info(self) -> SessionInfo:
        """What the client needs to know about the session."""
        return SessionInfo(
            chunk_ms=1000 * self.chunk_bytes // (2 * SAMPLE_RATE),
            sample_rate=SAMPLE_RATE,
            id=self.id,
            instruction=self.instruction,
            speaks=self._speech is not None,
        )

    @property
    def chunk_bytes(self) -> int:
        """Bytes of PCM16 per chunk."""
        return 2 * self._engine.config.chunk_samples

    def push(self, pcm: bytes) -> int:
        """Take PCM16 of any even length; return the number of chunks it completed.

        Raises ValueError for an odd number of bytes, OverflowError when the client is too far ahead of real time.
        """
        self.last_audio = time.monotonic()
        if len(pcm) % 2:
            raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
        ahead = (2 * self._pushed * self._engine.config.chunk_samples + len(self._partial) + len(pcm)) / (2 * SAMPLE_RATE)
        if ahead - (time.monotonic() - self.begun) > BURST_SECONDS:
            raise OverflowError(f"audio arrives too fast: more than {BURST_SECONDS:.0f} s ahead of real time")
        self._partial += pcm
        whole = len(self._partial) // self.chunk_bytes
        for number in range(whole):
            chunk = np.frombuffer(self._partial, "<i2", self.chunk_bytes // 2, number * self.chunk_bytes)
            if not self._engine.push(self.engine_session, chunk):
                self.put(AudioDropped(chunks=1))
        self._partial = self._partial[whole * self.chunk_bytes :]
        self._pushed += whole
        return whole

    def put(self, event: Event) -> None:
        """Number an event and keep it for the client. The oldest is discarded when too many wait."""
        self._sequence += 1
        time_ = round(time.monotonic() - self.begun, 3)
        self._events.append(event.model_copy(update={"sequence": self._sequence, "time": time_}))
        self._discard()
        self._available.set()

    async def take(self) -> list[Event]:
        """Wait for events; return all that wait."""
        await self._available.wait()
        taken = list(self._events)
        self._events.clear()
        self._available.clear()
        return taken

    def put_back(self, events: list[Event]) -> None:
        """Keep events that could not be sent for the next client."""
        self._events.extendleft(reversed(events))
        self._discard()
        if self._events:
            self._available.set()

    def cancel(self) -> None:
        """End the open response, text and audio."""
        self._engine.cancel(self.engine_session)
        if self._speech is not None:
            self._speech.stop()

    def end(self) -> None:
        """Close the session and free its slot."""
        if self._speech is not None:
            self._speech.stop()
        self._engine.end(self.engine_session)

    def _discard(self) -> None:
        while len(self._events) > BUFFERED_EVENTS:
            self._events.popleft()
            self.missed += 1

    def _from_engine(self, event: EngineEvent) -> None:
        """Forward an event from the engine's thread to the loop."""
        if isinstance(event, ChunkSilent | ResponseCreated):
            event = event.model_copy(update={"queue": self._engine.waiting(self.engine_session)})
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has shut down
            self._loop.call_soon_threadsafe(self._receive, event)

    def _receive(self, event: EngineEvent) -> None:
        self.put(event)
        if self._speech is not None:
            self._speech.follow(event)

    def _takes_audio(self) -> bool:
        return self.client is not None and len(self._events) < MOST_WAITING
