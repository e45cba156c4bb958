"""One client's session on the server: audio cut into chunks, events numbered and kept until sent, time to reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter, deque

import numpy as np
import soxr

from soundflow.schemas.pcm16 import from_pcm16, to_pcm16
from soundflow.streaming import protocol
from soundflow.streaming.engine import Engine
from soundflow.streaming.events import (
    AudioDropped,
    ChunkSilent,
    DropReason,
    EngineEvent,
    ErrorEvent,
    Event,
    ListenConfig,
    ResponseCreated,
    ResponseDone,
    Restarted,
    SessionInfo,
)
from soundflow.streaming.protocol import BUFFERED_EVENTS, BURST_SECONDS, MOST_WAITING, SAMPLE_RATE
from soundflow.streaming.speaking import Speech, Voices


class Resampler:
    """Resamples a stream of PCM16 to the rate of the model, piece by piece, with the filter that clips are resampled with.

    The filter looks ahead: the output lags at most 80 ms behind the input.
    """

    def __init__(self, rate: int):
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, pcm: bytes) -> bytes:
        """Return the samples that a piece completes."""
        return to_pcm16(self._stream.resample_chunk(from_pcm16(pcm))).tobytes()


class LiveSession:
    """Runs in the server's event loop. The engine's thread delivers events through `call_soon_threadsafe`."""

    def __init__(
        self,
        engine: Engine,
        instruction: str,
        config: ListenConfig,
        loop: asyncio.AbstractEventLoop,
        voices: Voices | None = None,
        sample_rate: int = SAMPLE_RATE,
    ):
        """Open a session for audio at `sample_rate` Hz; with `voices`, responses are also spoken. Raises EngineFull."""
        self.id = secrets.token_urlsafe(18)
        self.instruction = instruction
        self.begun = time.monotonic()
        self.client: object | None = None
        """The connection that owns the session; None while it waits for a client."""
        self.left = time.monotonic()
        """When the last client left."""
        self.is_closed_by_client = False
        """The last client closed its connection with a close frame: it is not expected back."""
        self.last_audio = self.begun
        """When the last chunk was complete."""
        self.missed = 0
        """Events discarded because too many were waiting."""
        self._engine, self._loop = engine, loop
        self.sample_rate = sample_rate
        self._resampler = None if sample_rate == SAMPLE_RATE else Resampler(sample_rate)
        self._partial = b""
        self._accepted = 0
        """Chunks passed to the engine."""
        self._responding = False
        """A response is open and has not been cancelled."""
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
            sample_rate=self.sample_rate,
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

        Chunks that are too far ahead of real time are dropped and reported, like those that find the queue full. Raises
        ValueError for an odd number of bytes.
        """
        if len(pcm) % 2:
            raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
        self._partial += pcm if self._resampler is None else self._resampler.push(pcm)
        whole = len(self._partial) // self.chunk_bytes
        dropped: Counter[DropReason] = Counter()
        for number in range(whole):
            chunk = np.frombuffer(self._partial, "<i2", self.chunk_bytes // 2, number * self.chunk_bytes)
            if self._is_too_fast():
                self._engine.skip(self.engine_session)
                dropped["too_fast"] += 1
            else:
                self._accepted += 1
                dropped["queue_full"] += not self._engine.push(self.engine_session, chunk)
        for reason, chunks in dropped.items():
            if chunks:
                self.put(AudioDropped(chunks=chunks, reason=reason))
        self._partial = self._partial[whole * self.chunk_bytes :]
        if whole:
            self.last_audio = time.monotonic()
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
        """End the open response, text and audio. Without one, and for the second time, this is no work for the engine."""
        if self._responding:
            self._responding = False
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
        if isinstance(event, ResponseCreated):
            self._responding = True
        elif isinstance(event, ResponseDone | Restarted):
            self._responding = False
        if isinstance(event, Restarted) and event.stalled:
            why = f"the {' and the '.join(event.died)} process did not respond and was replaced; the context is empty"
            self.put(ErrorEvent.of(protocol.ENGINE_STALLED, why))
        self.put(event)
        if self._speech is not None:
            self._speech.follow(event)

    def _is_too_fast(self) -> bool:
        """Whether one more chunk would be too far ahead of real time."""
        seconds = (self._accepted + 1) * self.chunk_bytes / (2 * SAMPLE_RATE)
        return seconds - (time.monotonic() - self.begun) > BURST_SECONDS

    def _takes_audio(self) -> bool:
        return self.client is not None and len(self._events) < MOST_WAITING
