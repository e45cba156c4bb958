"""The two worker processes of Algorithm 4: an encoder that never waits, a decoder that drains at interruption points.

Both serve all sessions of one model. A session is a slot with two rings in shared memory: samples (server → encoder) and features
(encoder → decoder). Commands arrive through a pipe, one small message per session; the hot path uses only shared memory and a
semaphore that wakes the reader.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

import numpy as np

from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.streaming.events import AudioDropped, ChunkSilent, DecoderEvent, EngineEvent, ListenConfig, ResponseCreated
from soundflow.streaming.ring import Ring

if TYPE_CHECKING:
    from soundflow.streaming.listener import Listener

QUEUE_CHUNKS: Final = 60
"""Encoded chunks a session may have waiting. Further ones are dropped and reported."""
SAMPLE_CHUNKS: Final = round(60 / c.CHUNK_SECONDS)
"""Chunks of samples that may wait for the encoder: one minute."""
IDLE_SECONDS: Final = 0.05
COMMANDS_PER_TURN: Final = 64
"""Maximum commands between two turns: no flood of commands keeps a process from its sessions."""
READY: Final = "ready"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """What both processes and the server agree on; picklable."""

    model: str
    chunk_samples: int
    slots: int
    """Audio embeddings per chunk."""
    hidden: int
    samples: tuple[str, ...] = ()
    """Names of the sample rings, one per session."""
    features: tuple[str, ...] = ()
    """Names of the feature rings, one per session."""
    threads: int = 1
    together: int = 64
    """Maximum sessions in one forward pass."""

    def sample_type(self) -> np.dtype[Any]:
        """Return the record of one received chunk: its number in the session, arrival time and PCM16 samples."""
        return np.dtype([("epoch", "<i8"), ("number", "<i8"), ("arrived", "<f8"), ("pcm", "<i2", (self.chunk_samples,))])

    def feature_type(self) -> np.dtype[Any]:
        """Return the record of one encoded chunk: number, arrival time, chunks dropped so far, embeddings (slots, hidden)."""
        return np.dtype(
            [
                ("epoch", "<i8"),
                ("number", "<i8"),
                ("arrived", "<f8"),
                ("dropped", "<i8"),
                ("audio", "<f4", (self.slots, self.hidden)),
            ]
        )


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session begins in a slot. `epoch` distinguishes its records from those of the slot's earlier sessions."""

    slot: int
    epoch: int
    instruction: str
    config: ListenConfig


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The session in a slot has ended."""

    slot: int


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """End the open response of a slot, if any."""

    slot: int


Command = OpenSession | CloseSession | CancelResponse


@dataclass(slots=True)
class _EncoderSession:
    """The encoder's state of one session."""

    epoch: int
    front_end: Any
    dropped: int = 0
    """Chunks that found the feature ring full."""


def encode_forever(layout: Layout, commands: Connection, woken: Any, wake_decoder: Any, turns: Any) -> None:
    """Run the encoder process. Ready chunks of all sessions go through the audio tower as one batch.

    It counts in `turns[0]`, the decoder in `turns[1]`: a number that does not change for long belongs to a process that hangs.
    """
    model = _load_model(layout, commands)
    import torch

    from soundflow.model.frontend import CausalLogMel, chunked

    samples = [Ring.attach(name, SAMPLE_CHUNKS, layout.sample_type()) for name in layout.samples]
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _EncoderSession] = {}
    commands.send(READY)
    while True:
        turns[0] += 1
        for command in _received(commands):
            match command:
                case OpenSession():
                    sessions[command.slot] = _EncoderSession(command.epoch, CausalLogMel())
                case CloseSession():
                    sessions.pop(command.slot, None)
                case CancelResponse():
                    pass
                case _:
                    assert_never(command)
        batch: list[tuple[int, _EncoderSession, Any, Any]] = []
        for slot, session in sessions.items():
            for record in samples[slot].pop(1, session.epoch):  # one per session and turn: no session waits for another's backlog
                mel = session.front_end.push(from_pcm16(record["pcm"]))
                batch.append((slot, session, record, chunked(mel, mel.shape[1])))
        if not batch:
            woken.acquire(timeout=IDLE_SECONDS)
            continue
        for group in _groups(batch, layout.together):
            turns[0] += 1
            with torch.inference_mode():
                mels = torch.from_numpy(np.concatenate([mel for *_, mel in group]))
                encoded = model.encode_chunks(mels).float().cpu().numpy()
            for (slot, session, record, _), audio in zip(group, encoded, strict=True):
                kept = features[slot].push(
                    epoch=session.epoch,
                    number=record["number"],
                    arrived=record["arrived"],
                    dropped=session.dropped,
                    audio=audio,
                )
                session.dropped += not kept
            wake_decoder.release()


@dataclass(slots=True)
class _DecoderSession:
    """The decoder's state of one session."""

    epoch: int
    listener: Listener
    dropped: int = 0
    """Dropped chunks already reported."""

    @property
    def longest_drain(self) -> int:
        """Maximum chunks of a drain."""
        return min(self.listener.config.longest_drain, self.listener.config.window_chunks)


def decode_forever(layout: Layout, commands: Connection, events: Connection, woken: Any, turns: Any) -> None:
    """Run the decoder process.

    Each turn serves every session once: one token for sessions with an open response, the whole queue for those at an
    interruption point. Sessions share forward passes. Messages on `events` are (epoch, list of events).
    """
    model = _load_model(layout, commands)
    from soundflow.model.seats import SeatedCache
    from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
    from soundflow.streaming.listener import Listener, drain_all, step_all

    tokenizer, cache = QwenTokenizer.load(), SeatedCache(len(layout.features))
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _DecoderSession] = {}
    commands.send(READY)

    def send(session: _DecoderSession, published: Sequence[EngineEvent]) -> None:
        if published:
            events.send((session.epoch, published))

    while True:
        turns[1] += 1
        for command in _received(commands):
            match command:
                case OpenSession():
                    listener = Listener(model, tokenizer, command.instruction, command.config, cache)
                    sessions[command.slot] = _DecoderSession(command.epoch, listener)
                case CloseSession():
                    if closed := sessions.pop(command.slot, None):
                        closed.listener.close()
                case CancelResponse():
                    if session := sessions.get(command.slot):
                        send(session, session.listener.cancel())
                case _:
                    assert_never(command)
        responding = [session for session in sessions.values() if session.listener.responding]
        drains = [
            (session, records)
            for slot, session in sessions.items()
            if not session.listener.responding and len(records := features[slot].pop(session.longest_drain, session.epoch))
        ]
        for group in _groups(responding, layout.together):
            turns[1] += 1
            for session, generated in zip(group, step_all([session.listener for session in group]), strict=True):
                send(session, generated)
        for drained in _groups(drains, layout.together):
            turns[1] += 1
            listeners, audio = [session.listener for session, _ in drained], [records["audio"] for _, records in drained]
            numbers = [records["number"].tolist() for _, records in drained]
            for (session, records), decided in zip(drained, drain_all(listeners, audio, numbers), strict=True):
                send(session, _timed(session, decided, records))
        if not responding and not drains:
            woken.acquire(timeout=IDLE_SECONDS)


def _timed(session: _DecoderSession, events: Sequence[DecoderEvent], records: Any) -> list[EngineEvent]:
    """Return the events of one drain with latencies, after a report of chunks that were dropped before it."""
    now = time.monotonic()
    arrived = dict(zip(records["number"].tolist(), records["arrived"].tolist(), strict=True))
    dropped = int(records[-1]["dropped"]) - session.dropped
    session.dropped += dropped
    timed: list[EngineEvent] = [AudioDropped(chunks=dropped)] if dropped else []
    for event in events:
        if isinstance(event, ChunkSilent | ResponseCreated):
            latency_ms = round(1000 * (now - arrived[event.chunk]), 1)
            event = event.model_copy(update={"latency_ms": latency_ms, "drained": len(records)})
        timed.append(event)
    return timed


def _received(commands: Connection) -> Iterator[Command]:
    for _ in range(COMMANDS_PER_TURN):
        if not commands.poll():
            return
        yield commands.recv()


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _load_model(layout: Layout, commands: Connection) -> Any:
    """Load the model, or send the reason to the server and exit. Ctrl-C is handled by the server, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(layout.threads)
    import torch

    from soundflow.model.thinker import StreamingThinker

    torch.set_num_threads(layout.threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    try:
        return StreamingThinker.load(Path(layout.model)).eval()
    except Exception as error:  # a damaged file raises different types depending on where it is damaged
        commands.send(f"{error}" if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None
