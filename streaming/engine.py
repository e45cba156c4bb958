"""The server's side of the two worker processes: their start, their sessions and their replacement when one of them dies.

Nothing is computed here: samples go into shared memory, events come out of a pipe. When one worker dies, both are replaced by a
fork server that has torch loaded, and every session receives `Restarted` and continues with an empty context.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.model.checkpoint_files import check_checkpoint
from soundflow.model.vocabulary import CHECKPOINT_REMEDY, StreamingConfig
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import parse_json
from soundflow.streaming.events import AudioDropped, ChunkSilent, EngineEvent, ListenConfig, ResponseCreated, Restarted
from soundflow.streaming.pair import WATCH_SECONDS, WorkerPair
from soundflow.streaming.ring import Ring
from soundflow.streaming.workers import (
    QUEUE_CHUNKS,
    SAMPLE_CHUNKS,
    CancelResponse,
    CloseSession,
    Command,
    Layout,
    OpenSession,
)

STALL_SECONDS: Final = 10.0
"""A process without a sign of life for this long is replaced. `Engine.ready` is false after half of it."""
LONGEST_STALL_SECONDS: Final = 120.0
"""The time doubles with every replacement up to this one, in case the machine is slow and nothing hangs."""
PRELOAD: Final = [
    "torch",
    "transformers",
    "soundflow.model.thinker",
    "soundflow.streaming.listener",
    "soundflow.operators.tokens.qwen_bpe",
]
SHARED: Final = Path("/dev/shm")
OnEvent = Callable[[EngineEvent], None]


class EngineFull(Exception):
    """Every session slot is taken."""


@dataclass(slots=True)
class Session:
    """One stream on the server."""

    slot: int
    epoch: int
    instruction: str
    config: ListenConfig
    on_event: OnEvent
    """Called with each event, from the engine's thread."""
    number: int = 0
    """Chunks pushed."""
    settled: int = 0
    """Chunks decided or reported as dropped."""


class Engine:
    """Serves sessions of the checkpoint in `model`. Call `start` first and `close` last. Thread-safe."""

    def __init__(
        self,
        model: Path,
        *,
        sessions: int = 8,
        threads: int = 1,
        together: int = 64,
        stall_seconds: float = STALL_SECONDS,
    ):
        """Allocate the rings of `sessions` sessions.

        `threads` is the number of CPU threads per process, `together` the maximum number of sessions in one forward pass. A
        process that does not respond for `stall_seconds` is replaced. Raises InputError when `model` is not a checkpoint or
        shared memory is too small.
        """
        self.config = _streaming_config(model)
        hidden = parse_json((model / "config.json").read_bytes())["text_config"]["hidden_size"]
        layout = Layout(str(model), self.config.chunk_samples, self.config.slots, int(hidden), threads=threads, together=together)
        session_bytes = SAMPLE_CHUNKS * layout.sample_type().itemsize + QUEUE_CHUNKS * layout.feature_type().itemsize
        _check_shared_memory(sessions * session_bytes)
        self._samples = [Ring.create(SAMPLE_CHUNKS, layout.sample_type()) for _ in range(sessions)]
        self._features = [Ring.create(QUEUE_CHUNKS, layout.feature_type()) for _ in range(sessions)]
        samples, features = (tuple(ring.name for ring in rings) for rings in (self._samples, self._features))
        self.layout = replace(layout, samples=samples, features=features)
        self.capacity, self.restarts = sessions, 0
        self._context: Any = multiprocessing.get_context("forkserver")
        _start_fork_server()
        self._sessions: dict[int, Session] = {}
        self._lock = threading.RLock()
        self._epochs = 0
        self._closing = False
        self._patience = stall_seconds
        self._pair: WorkerPair | None = None
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._watch, "engine"), (self._supervise, "engine supervisor"))
        ]

    def start(self) -> None:
        """Start both processes and wait until they have loaded the model; raises InputError when they cannot."""
        self._pair = WorkerPair(self._context, self.layout)
        if (reason := self._pair.wait_until_loaded()) is not None:
            self.close()
            raise InputError(f"the model cannot be loaded: {reason}", file=self.layout.model)
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether both processes have loaded the model and respond."""
        pair = self._pair
        return pair is not None and pair.ready and pair.silent < self._patience / 2

    @property
    def processes(self) -> tuple[int, int]:
        """Process ids of encoder and decoder."""
        assert self._pair is not None
        encoder, decoder = (process.pid for process in self._pair.processes)
        return int(encoder), int(decoder)

    def open(self, instruction: str, config: ListenConfig, on_event: OnEvent) -> Session:
        """Open a session; raises EngineFull when no slot is free."""
        with self._lock:
            free = sorted(set(range(self.capacity)) - set(self._sessions))
            if not free:
                raise EngineFull(f"all {self.capacity} sessions are in use; try again later")
            session = Session(free[0], self._next_epoch(), instruction, config, on_event)
            self._sessions[session.slot] = session
            self._command(OpenSession(session.slot, session.epoch, instruction, config))
            return session

    def push(self, session: Session, pcm: NDArray[np.int16]) -> bool:
        """Queue the next chunk of a session, int16 (chunk_samples,).

        Returns False when a minute of audio waits already or the session has ended: the chunk is dropped.
        """
        with self._lock:
            if self._sessions.get(session.slot) is not session:
                return False
            session.number += 1
            now = time.monotonic()
            fits = self._samples[session.slot].push(epoch=session.epoch, number=session.number, arrived=now, pcm=pcm)
            session.settled += not fits
            assert self._pair is not None
            self._pair.wake[0].release()
            return fits

    def skip(self, session: Session) -> None:
        """Count a chunk that the client sent and that is not decided."""
        with self._lock:
            session.number += 1
            session.settled += 1

    def waiting(self, session: Session) -> int:
        """Return the number of chunks of a session that wait for a decision."""
        return len(self._samples[session.slot]) + len(self._features[session.slot])

    def cancel(self, session: Session) -> None:
        """End the open response of a session, if any: a `ResponseDone` with `cut` follows."""
        with self._lock:
            if self._sessions.get(session.slot) is session:
                self._command(CancelResponse(session.slot))

    def end(self, session: Session) -> None:
        """Close a session. Its slot is free at once."""
        with self._lock:
            if self._sessions.get(session.slot) is session:
                del self._sessions[session.slot]
                self._command(CloseSession(session.slot))

    def close(self) -> None:
        """End both processes and free the shared memory. Idempotent."""
        with self._lock:
            closed, self._closing = self._closing, True
        if closed:
            return
        if self._pair is not None:
            self._pair.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)
        for ring in (*self._samples, *self._features):
            ring.close(unlink=True)

    def _next_epoch(self) -> int:
        self._epochs += 1
        return self._epochs

    def _command(self, command: Command) -> None:
        assert self._pair is not None
        self._pair.send(command)

    def _supervise(self) -> None:
        """Run the thread that kills processes that hang; `_watch` sees them end and replaces them."""
        while not self._closing:
            time.sleep(WATCH_SECONDS)
            if self._pair is not None:
                self._pair.kill_stalled(self._patience)

    def _watch(self) -> None:
        """Run the engine's thread: deliver events, and start a new pair when a process dies."""
        while not self._closing:
            pair = self._pair
            assert pair is not None
            sentinels = [process.sentinel for process in pair.processes]
            try:
                ready = connection.wait([pair.events, *pair.commands, *sentinels], timeout=0.2)
            except OSError:
                continue  # closed while waiting
            dead = any(sentinel in ready for sentinel in sentinels)
            try:
                pair.note_loaded(ready)
                while pair.events in ready and pair.events.poll():
                    self._deliver(*pair.events.recv())
            except (EOFError, OSError):
                dead = True
            if dead and not self._closing:
                self._restart(pair)

    def _deliver(self, epoch: int, events: Sequence[EngineEvent]) -> None:
        with self._lock:
            session = next((session for session in self._sessions.values() if session.epoch == epoch), None)
        if session is None:
            return
        for event in events:
            if isinstance(event, ChunkSilent | ResponseCreated):
                session.settled += 1
            elif isinstance(event, AudioDropped):
                session.settled += event.chunks
            session.on_event(event)

    def _restart(self, pair: WorkerPair) -> None:
        died, stalled = pair.died(), bool(pair.stalled)
        if stalled:
            self._patience = min(2 * self._patience, max(LONGEST_STALL_SECONDS, self._patience))
        # Ending and starting processes takes time, and the server's event loop must not wait for the lock meanwhile. Chunks that
        # arrive in between are counted and lost. The new processes read the rings only once sessions are opened there.
        pair.stop()
        started = WorkerPair(self._context, self.layout)
        restarted: list[tuple[Session, Restarted]] = []
        with self._lock:
            if self._closing:
                started.stop()
                return
            self.restarts += 1
            for ring in (*self._samples, *self._features):
                ring.clear()
            self._pair = started
            for session in self._sessions.values():
                session.epoch = self._next_epoch()
                self._command(OpenSession(session.slot, session.epoch, session.instruction, session.config))
                lost, session.settled = session.number - session.settled, session.number
                event = Restarted(died=died or pair.stalled, chunk=max(session.number, 1), lost=lost, stalled=stalled)
                restarted.append((session, event))
        for session, event in restarted:
            session.on_event(event)


def _start_fork_server() -> None:
    """Start the fork server, unless it runs, with the module search path of this process.

    By itself it searches the working directory first, and would preload modules of the user that have the name of one of ours.
    """
    multiprocessing.set_forkserver_preload(PRELOAD)
    path = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
    previous = {name: os.environ.get(name) for name in path}
    os.environ.update(path)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_shared_memory(size: int) -> None:
    """Raise InputError unless `size` bytes of shared memory are free: writing to missing pages kills the process (SIGBUS)."""
    if SHARED.is_dir() and (free := shutil.disk_usage(SHARED).free) < size:
        why = f"too little shared memory is free: {size >> 20} MB needed, {free >> 20} MB free"
        remedy = "Lower --sessions, or enlarge /dev/shm (docker run --shm-size)"
        raise InputError(why, file=SHARED, remedy=remedy)


def _streaming_config(model: Path) -> StreamingConfig:
    check_checkpoint(model)
    try:
        document = parse_json((model / "config.json").read_bytes())
        return StreamingConfig.model_validate(document["soundflow"])
    except (OSError, KeyError, ValueError):
        raise InputError("is not a checkpoint of a streaming model", file=model, remedy=CHECKPOINT_REMEDY) from None
