"""A model that listens to many streams: the two worker processes, their sessions, and what happens when one of them dies.

The server's side. Nothing here computes: samples go into shared memory, events come out of a pipe. A worker that dies takes its
twin with it; both are started anew at once (the interpreter with torch loaded waits in a fork server) and every session is told
`restarted`, after which it hears again with an empty memory.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.model.vocabulary import StreamingConfig
from soundflow.schemas.base import InputError
from soundflow.streaming.events import ListenConfig
from soundflow.streaming.ring import Ring
from soundflow.streaming.workers import (
    QUEUE_CHUNKS,
    READY,
    SAMPLE_CHUNKS,
    Close,
    Layout,
    Open,
    Stop,
    decode_forever,
    encode_forever,
)

START_SECONDS: Final = 300.0
"""A large checkpoint may take minutes to load."""
PRELOAD: Final = [
    "torch",
    "transformers",
    "soundflow.model.thinker",
    "soundflow.streaming.listener",
    "soundflow.operators.tokens.qwen_bpe",
]
SHARED: Final = Path("/dev/shm")
Tell = Callable[[dict[str, Any]], None]


class Full(Exception):
    """Every slot is taken: try again later."""


@dataclass(slots=True)
class Session:
    """One stream, as its server holds it."""

    slot: int
    epoch: int
    instruction: str
    config: ListenConfig
    tell: Tell
    """Called from the engine's thread with each event."""
    number: int = 0
    """Chunks pushed."""
    told: int = 0
    """Chunks decided, or dropped and told."""


@dataclass(slots=True)
class _Pair:
    """The two processes of one life."""

    processes: list[Any]
    commands: list[Connection]
    events: Connection
    wake: list[Any]
    ready: list[bool] = field(default_factory=lambda: [False, False])


class Engine:
    """Serves sessions of the checkpoint in `model`. `start` it, `close` it; safe to use from several threads."""

    def __init__(self, model: Path, *, sessions: int = 8, threads: int = 1, together: int = 64):
        """`together`: sessions that share a forward pass at most."""
        self.config = _streaming_config(model)
        hidden = json.loads((model / "config.json").read_text())["text_config"]["hidden_size"]
        layout = Layout(str(model), self.config.chunk_samples, self.config.slots, int(hidden), threads=threads, together=together)
        _room_for(sessions * (SAMPLE_CHUNKS * layout.sample_type().itemsize + QUEUE_CHUNKS * layout.feature_type().itemsize))
        self._samples = [Ring.create(SAMPLE_CHUNKS, layout.sample_type()) for _ in range(sessions)]
        self._features = [Ring.create(QUEUE_CHUNKS, layout.feature_type()) for _ in range(sessions)]
        samples, features = (tuple(ring.name for ring in rings) for rings in (self._samples, self._features))
        self.layout = replace(layout, samples=samples, features=features)
        self.capacity, self.restarts = sessions, 0
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self._sessions: dict[int, Session] = {}
        self._lock = threading.RLock()
        self._epochs = 0
        self._closing = False
        self._pair: _Pair | None = None
        self._thread = threading.Thread(target=self._watch, name="engine", daemon=True)

    def start(self) -> None:
        """Start both processes and wait until the model is loaded; InputError when it cannot be."""
        self._pair = self._spawn()
        deadline = time.monotonic() + START_SECONDS
        for process, commands in zip(self._pair.processes, self._pair.commands, strict=True):
            while not commands.poll(0.1) and process.is_alive() and time.monotonic() < deadline:
                pass
            if (told := _received(commands)) != READY:
                self.close()
                raise InputError(f"the model cannot be loaded: {told or 'a process ended'}", file=self.layout.model)
        self._pair.ready = [True, True]
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Both processes have the model loaded."""
        return self._pair is not None and all(self._pair.ready)

    @property
    def processes(self) -> tuple[int, int]:
        """Process ids of encoder and decoder."""
        assert self._pair is not None
        encoder, decoder = (process.pid for process in self._pair.processes)
        return int(encoder), int(decoder)

    def open(self, instruction: str, config: ListenConfig, tell: Tell) -> Session:
        """Begin a session; raises Full when there is no room."""
        with self._lock:
            free = sorted(set(range(self.capacity)) - set(self._sessions))
            if not free:
                raise Full(f"{self.capacity} sessions are open, and no more fit")
            session = Session(free[0], self._next_epoch(), instruction, config, tell)
            self._sessions[session.slot] = session
            self._command(Open(session.slot, session.epoch, instruction, config))
            return session

    def push(self, session: Session, pcm: NDArray[np.int16]) -> bool:
        """Give a session its next chunk, (chunk_samples,) int16; False when a minute waits already: it is lost, and counted."""
        with self._lock:
            if self._sessions.get(session.slot) is not session:
                return False
            session.number += 1
            now = time.monotonic()
            fits = self._samples[session.slot].push(epoch=session.epoch, number=session.number, arrived=now, pcm=pcm)
            session.told += not fits
            assert self._pair is not None
            self._pair.wake[0].release()
            return fits

    def waiting(self, session: Session) -> int:
        """Chunks of a session that nobody has decided about yet."""
        return len(self._samples[session.slot]) + len(self._features[session.slot])

    def stop(self, session: Session) -> None:
        """End the response the session is speaking, if any: an `eos` that is `cut` follows."""
        with self._lock:
            if self._sessions.get(session.slot) is session:
                self._command(Stop(session.slot))

    def end(self, session: Session) -> None:
        """A session is over; its slot is free at once."""
        with self._lock:
            if self._sessions.get(session.slot) is session:
                del self._sessions[session.slot]
                self._command(Close(session.slot))

    def close(self) -> None:
        """End both processes and give the memory back; once is enough, twice does no harm."""
        with self._lock:
            closed, self._closing = self._closing, True
        if closed:
            return
        if self._pair is not None:
            self._stop(self._pair)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for ring in (*self._samples, *self._features):
            ring.close(unlink=True)

    def _next_epoch(self) -> int:
        self._epochs += 1
        return self._epochs

    def _command(self, command: Open | Close | Stop) -> None:
        assert self._pair is not None
        for commands, wake in zip(self._pair.commands, self._pair.wake, strict=True):
            try:
                commands.send(command)
            except OSError:
                return  # dead: the watching thread starts a new pair, and opens every session there
            wake.release()

    def _spawn(self) -> _Pair:
        ours, theirs = zip(*(self._context.Pipe() for _ in range(2)), strict=True)
        events, tell = self._context.Pipe(duplex=False)
        wake = [self._context.Semaphore(0) for _ in range(2)]
        make = self._context.Process
        encoder = make(target=encode_forever, args=(self.layout, theirs[0], wake[0], wake[1]), daemon=True, name="encoder")
        decoder = make(target=decode_forever, args=(self.layout, theirs[1], tell, wake[1]), daemon=True, name="decoder")
        for process in (encoder, decoder):
            process.start()
        for end in (*theirs, tell):
            end.close()
        return _Pair([encoder, decoder], list(ours), events, wake)

    @staticmethod
    def _stop(pair: _Pair) -> None:
        for process in pair.processes:
            process.kill()
        for process in pair.processes:
            process.join()
        for end in (*pair.commands, pair.events):
            end.close()

    def _watch(self) -> None:
        """The engine's thread: hands events out, and starts a new pair when a process dies."""
        while not self._closing:
            pair = self._pair
            assert pair is not None
            sentinels = [process.sentinel for process in pair.processes]
            try:
                ready = connection.wait([pair.events, *pair.commands, *sentinels], timeout=0.2)
            except OSError:
                continue  # closed under way
            dead = any(sentinel in ready for sentinel in sentinels)
            try:
                for number, commands in enumerate(pair.commands):
                    if commands in ready and commands.recv() == READY:
                        pair.ready[number] = True
                while pair.events in ready and pair.events.poll():
                    self._hand_out(json.loads(pair.events.recv_bytes()))
            except (EOFError, OSError):
                dead = True
            if dead and not self._closing:
                self._restart(pair)

    def _hand_out(self, message: list[Any]) -> None:
        epoch, events = message
        with self._lock:
            session = next((session for session in self._sessions.values() if session.epoch == epoch), None)
        for event in events if session is not None else ():
            assert session is not None
            session.told += event["chunks"] if event["kind"] == "dropped" else event["kind"] in ("silent", "response")
            session.tell(event)

    def _restart(self, pair: _Pair) -> None:
        gone = connection.wait([process.sentinel for process in pair.processes], timeout=1.0)
        died = [process.name for process in pair.processes if process.sentinel in gone]
        with self._lock:
            self._stop(pair)
            self.restarts += 1
            for ring in (*self._samples, *self._features):
                ring.clear()
            self._pair = self._spawn()
            sessions = list(self._sessions.values())
            restarted = []
            for session in sessions:
                session.epoch = self._next_epoch()
                self._command(Open(session.slot, session.epoch, session.instruction, session.config))
                restarted.append({"kind": "restarted", "died": died, "chunk": max(session.number, 1), "time": time.monotonic()})
                restarted[-1]["lost"], session.told = session.number - session.told, session.number
        for session, event in zip(sessions, restarted, strict=True):
            session.tell(event)


def _room_for(size: int) -> None:
    """Shared memory that is not there kills whoever writes to it, so it is looked for first. InputError when it is too little."""
    if SHARED.is_dir() and (free := shutil.disk_usage(SHARED).free) < size:
        remedy = "Fewer --sessions, or a larger /dev/shm (docker run --shm-size)"
        raise InputError("too little shared memory is free", file=SHARED, value=f"{free >> 20} of {size >> 20} MB", remedy=remedy)


def _received(commands: Connection) -> str:
    """What a process said first; empty when it said nothing."""
    try:
        return str(commands.recv()) if commands.poll() else ""
    except (EOFError, OSError):
        return ""


def _streaming_config(model: Path) -> StreamingConfig:
    try:
        document = json.loads((model / "config.json").read_text())
        return StreamingConfig.model_validate(document["soundflow"])
    except (OSError, KeyError, ValueError):
        remedy = "Name RUN/model of `soundflow train`, or what `model init` wrote"
        raise InputError("is not a checkpoint of a streaming model", file=model, remedy=remedy) from None
