"""The two processes of Algorithm 4: an encoder that never waits, a decoder that drains at interruption points.

Each serves all sessions of one model. A session is a slot with two rings: samples (server → encoder) and features (encoder →
decoder). Commands come through a pipe, one small message a session; the hot path is shared memory and a semaphore that wakes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas import constants as c
from streaming.events import ListenConfig
from streaming.ring import Ring

QUEUE_CHUNKS: Final = 60
"""Features a session may have waiting; what does not fit is dropped and told."""
SAMPLE_CHUNKS: Final = round(60 / c.CHUNK_SECONDS)
"""Chunks of samples that may wait for the encoder: a minute."""
IDLE_SECONDS: Final = 0.05
READY: Final = "ready"


@dataclass(frozen=True, slots=True)
class Layout:
    """What both processes and the server must agree on; pickles."""

    model: str
    chunk_samples: int
    slots: int
    """Audio embeddings a chunk."""
    hidden: int
    samples: tuple[str, ...] = ()
    """Names of the rings of samples, one a session."""
    features: tuple[str, ...] = ()
    threads: int = 1

    def sample_type(self) -> np.dtype[Any]:
        """One chunk as it arrived: its number in the session, when, and the audio."""
        return np.dtype([("epoch", "<i8"), ("number", "<i8"), ("arrived", "<f8"), ("pcm", "<i2", (self.chunk_samples,))])

    def feature_type(self) -> np.dtype[Any]:
        """One encoded chunk."""
        return np.dtype(
            [
                ("epoch", "<i8"),
                ("number", "<i8"),
                ("arrived", "<f8"),
                ("started", "<f8"),
                ("dropped", "<i8"),
                ("audio", "<f4", (self.slots, self.hidden)),
            ]
        )


@dataclass(frozen=True, slots=True)
class Open:
    """A session begins in a slot. `epoch` tells its records from those of the slot's earlier sessions."""

    slot: int
    epoch: int
    instruction: str
    config: ListenConfig


@dataclass(frozen=True, slots=True)
class Close:
    """The session in a slot is over."""

    slot: int


@dataclass(slots=True)
class _Heard:
    """The encoder's state of one session."""

    epoch: int
    front_end: Any
    dropped: int = 0


def encode_forever(layout: Layout, commands: Connection, woken: Any, wake_decoder: Any) -> None:
    """The encoder process. Chunks of all sessions that are ready go through the tower as one batch."""
    model = _begin(layout)
    import torch

    from model.frontend import CausalLogMel, chunked

    samples = [Ring.attach(name, SAMPLE_CHUNKS, layout.sample_type()) for name in layout.samples]
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _Heard] = {}
    commands.send(READY)
    while True:
        while commands.poll():
            command = commands.recv()
            if isinstance(command, Open):
                sessions[command.slot] = _Heard(command.epoch, CausalLogMel())
            else:
                sessions.pop(command.slot, None)
        batch: list[tuple[int, _Heard, Any, Any]] = []
        for slot, session in sessions.items():
            for record in samples[slot].pop(1, session.epoch):  # one a session and turn: none waits behind another's backlog
                mel = session.front_end.push(record["pcm"].astype(np.float32) / np.float32(32768.0))
                batch.append((slot, session, record, chunked(mel, mel.shape[1])))
        if not batch:
            woken.acquire(timeout=IDLE_SECONDS)
            continue
        started = time.monotonic()
        with torch.inference_mode():
            encoded = model.encode_chunks(torch.from_numpy(np.concatenate([mel for *_, mel in batch]))).float().cpu().numpy()
        for (slot, session, record, _), audio in zip(batch, encoded, strict=True):
            kept = features[slot].push(
                epoch=session.epoch,
                number=record["number"],
                arrived=record["arrived"],
                started=started,
                dropped=session.dropped,
                audio=audio,
            )
            session.dropped += not kept
        wake_decoder.release()


@dataclass(slots=True)
class _Spoken:
    """The decoder's state of one session."""

    epoch: int
    listener: Any
    number: int = 0
    """Of the newest chunk heard, as the server counts."""
    dropped: int = 0


def decode_forever(layout: Layout, commands: Connection, events: Connection, woken: Any) -> None:
    """The decoder process. At interruption points a session's queue is drained whole; sessions that speak take turns by token."""
    model = _begin(layout)
    from operators.qwen_bpe import QwenTokenizer
    from streaming.listener import Listener

    tokenizer = QwenTokenizer.load()
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _Spoken] = {}
    commands.send(READY)
    while True:
        while commands.poll():
            command = commands.recv()
            if isinstance(command, Open):
                listener = Listener(model, tokenizer, command.instruction, command.config)
                sessions[command.slot] = _Spoken(command.epoch, listener)
            else:
                sessions.pop(command.slot, None)
        busy = False
        for slot, session in sessions.items():
            told: list[dict[str, Any]] = []
            if session.listener.speaking:
                told = [event.model_dump(mode="json") | {"chunk": session.number} for event in session.listener.step()]
            else:
                records = features[slot].pop(session.listener.config.window_chunks, session.epoch)
                if len(records):
                    told = _hear(session, records)
            if told:
                busy = True
                _tell(events, session.epoch, told)
        if not busy:
            woken.acquire(timeout=IDLE_SECONDS)


def _hear(session: _Spoken, records: Any) -> list[dict[str, Any]]:
    """Drain records; events carry the server's chunk numbers, when each chunk arrived and when its encoding started."""
    told = []
    lost = int(records[-1]["dropped"]) - session.dropped
    if lost:
        session.dropped += lost
        told.append({"kind": "dropped", "chunks": lost})
    for event in session.listener.hear(records["audio"]):
        document = event.model_dump(mode="json")
        if event.kind in ("silent", "response"):
            record = records[event.chunk - (session.listener.heard - len(records)) - 1]
            document |= {"chunk": int(record["number"]), "arrived": float(record["arrived"])}
            document |= {"started": float(record["started"]), "drained": len(records)}
        told.append(document)
    session.number = int(records[-1]["number"])
    return told


def _tell(events: Connection, epoch: int, told: list[dict[str, Any]]) -> None:
    now = time.monotonic()
    events.send_bytes(json.dumps([epoch, [document | {"time": now} for document in told]]).encode())


def _begin(layout: Layout) -> Any:
    """Load the model; Ctrl-C is the server's business, which ends its processes itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(layout.threads)
    import torch

    from model.thinker import StreamingThinker

    torch.set_num_threads(layout.threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    return StreamingThinker.load(Path(layout.model)).eval()
