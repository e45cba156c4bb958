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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.pcm16 import from_pcm16
from soundflow.streaming.events import Event, ListenConfig
from soundflow.streaming.ring import Ring

if TYPE_CHECKING:
    from soundflow.streaming.listener import Listener

QUEUE_CHUNKS: Final = 60
"""Features a session may have waiting; what does not fit is dropped and told."""
SAMPLE_CHUNKS: Final = round(60 / c.CHUNK_SECONDS)
"""Chunks of samples that may wait for the encoder: a minute."""
IDLE_SECONDS: Final = 0.05
READY: Final = "ready"
Thing = TypeVar("Thing")


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
    together: int = 64
    """Sessions that share a forward pass at most."""

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


@dataclass(frozen=True, slots=True)
class Stop:
    """The response that is being spoken in a slot, if any, ends here."""

    slot: int


@dataclass(slots=True)
class _EncoderSession:
    """The encoder's state of one session."""

    epoch: int
    front_end: Any
    dropped: int = 0


def encode_forever(layout: Layout, commands: Connection, woken: Any, wake_decoder: Any) -> None:
    """The encoder process. Chunks of all sessions that are ready go through the tower as one batch."""
    model = _begin(layout, commands)
    import torch

    from soundflow.model.frontend import CausalLogMel, chunked

    samples = [Ring.attach(name, SAMPLE_CHUNKS, layout.sample_type()) for name in layout.samples]
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _EncoderSession] = {}
    commands.send(READY)
    while True:
        while commands.poll():
            command = commands.recv()
            if isinstance(command, Open):
                sessions[command.slot] = _EncoderSession(command.epoch, CausalLogMel())
            elif isinstance(command, Close):
                sessions.pop(command.slot, None)
        batch: list[tuple[int, _EncoderSession, Any, Any]] = []
        for slot, session in sessions.items():
            for record in samples[slot].pop(1, session.epoch):  # one a session and turn: none waits behind another's backlog
                mel = session.front_end.push(from_pcm16(record["pcm"]))
                batch.append((slot, session, record, chunked(mel, mel.shape[1])))
        if not batch:
            woken.acquire(timeout=IDLE_SECONDS)
            continue
        for some in _in_groups(batch, layout.together):
            started = time.monotonic()
            with torch.inference_mode():
                mels = torch.from_numpy(np.concatenate([mel for *_, mel in some]))
                encoded = model.encode_chunks(mels).float().cpu().numpy()
            for (slot, session, record, _), audio in zip(some, encoded, strict=True):
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
class _DecoderSession:
    """The decoder's state of one session."""

    epoch: int
    listener: Listener
    number: int = 0
    """Of the newest chunk heard, as the server counts."""
    dropped: int = 0

    @property
    def most(self) -> int:
        """Chunks a drain may have."""
        return min(self.listener.config.longest_drain, self.listener.config.window_chunks)


def decode_forever(layout: Layout, commands: Connection, events: Connection, woken: Any) -> None:
    """The decoder process. Each turn every session has its share: those that speak one token, those at an interruption point
    their whole queue; what several of them do at a time goes through the model together."""
    model = _begin(layout, commands)
    from soundflow.model.seats import SeatedCache
    from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
    from soundflow.streaming.listener import Listener, hear_all, step_all

    tokenizer, cache = QwenTokenizer.load(), SeatedCache(len(layout.features))
    features = [Ring.attach(name, QUEUE_CHUNKS, layout.feature_type()) for name in layout.features]
    sessions: dict[int, _DecoderSession] = {}
    commands.send(READY)
    while True:
        while commands.poll():
            command = commands.recv()
            if isinstance(command, Open):
                listener = Listener(model, tokenizer, command.instruction, command.config, cache)
                sessions[command.slot] = _DecoderSession(command.epoch, listener)
            elif session := sessions.get(command.slot):
                if isinstance(command, Close):
                    session.listener.leave()
                    del sessions[command.slot]
                else:
                    _tell(events, session, session.listener.stop())
        speaking = [session for session in sessions.values() if session.listener.speaking]
        hearing = [
            (session, records)
            for slot, session in sessions.items()
            if not session.listener.speaking and len(records := features[slot].pop(session.most, session.epoch))
        ]
        for talking in _in_groups(speaking, layout.together):
            for session, said in zip(talking, step_all([session.listener for session in talking]), strict=True):
                _tell(events, session, said)
        for drains in _in_groups(hearing, layout.together):
            listeners, audio = [session.listener for session, _ in drains], [records["audio"] for _, records in drains]
            for (session, records), decided in zip(drains, hear_all(listeners, audio), strict=True):
                _tell(events, session, decided, records)
        if not speaking and not hearing:
            woken.acquire(timeout=IDLE_SECONDS)


def _in_groups(things: Sequence[Thing], most: int) -> Iterator[Sequence[Thing]]:
    for start in range(0, len(things), most):
        yield things[start : start + most]


def _tell(events: Connection, session: _DecoderSession, told: Sequence[Event], drained: Any = None) -> None:
    """Send events with the server's chunk numbers; decisions about `drained` records with when they arrived and were encoded."""
    documents: list[dict[str, Any]] = []
    if drained is not None:
        lost = int(drained[-1]["dropped"]) - session.dropped
        documents += [{"kind": "dropped", "chunks": lost}] if lost else []
        session.dropped, session.number = session.dropped + lost, int(drained[-1]["number"])
    for event in told:
        document = event.model_dump(mode="json")
        if event.kind in ("silent", "response"):
            begun = session.listener.heard - len(drained) + 1
            record = drained[event.chunk - begun]
            document |= {"chunk": int(record["number"]), "arrived": float(record["arrived"])}
            document |= {"started": float(record["started"]), "drained": len(drained)}
            if event.called_by is not None:
                document["called_by"] = int(drained[event.called_by - begun]["number"])
        elif event.kind != "reanchored":
            document["chunk"] = session.number
        documents.append(document)
    if documents:
        now = time.monotonic()
        events.send_bytes(json.dumps([session.epoch, [document | {"time": now} for document in documents]]).encode())


def _begin(layout: Layout, commands: Connection) -> Any:
    """Load the model, or tell why not and end. Ctrl-C is the server's business, which ends its processes itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(layout.threads)
    import torch

    from soundflow.model.thinker import StreamingThinker

    torch.set_num_threads(layout.threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    try:
        return StreamingThinker.load(Path(layout.model)).eval()
    except Exception as wrong:  # what a broken file raises depends on where it is broken
        commands.send(f"{wrong}" if isinstance(wrong, InputError) else f"{type(wrong).__name__}: {wrong}")
        raise SystemExit(1) from None
