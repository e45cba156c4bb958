"""The encoder and the decoder process as the server sees them: start, commands, supervision, end."""

from __future__ import annotations

import queue
import threading
import time
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, Final

from soundflow.streaming.workers import READY, CancelResponse, Command, Layout, decode_forever, encode_forever

START_SECONDS: Final = 300.0
"""Maximum time for both processes to load the model; a large checkpoint takes minutes."""
WATCH_SECONDS: Final = 0.2
"""Interval at which the processes are checked."""
END_SECONDS: Final = 10.0
"""Time a killed process has to end. One that hangs in a device driver is left to the operating system."""


class Outbox:
    """Sends commands to a process in order, from its own thread: a process that reads nothing blocks no caller."""

    def __init__(self, pipe: Connection, wake: Any, name: str):
        self._pipe, self._wake = pipe, wake
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name=name, daemon=True)
        self._thread.start()

    def put(self, command: Command) -> None:
        """Send a command. Returns at once."""
        self._commands.put(command)

    def close(self) -> None:
        """End the thread. Call it after the process has ended."""
        self._commands.put(None)
        self._thread.join(END_SECONDS)

    def _send_all(self) -> None:
        while (command := self._commands.get()) is not None:
            try:
                self._pipe.send(command)
            except OSError:
                return  # the process died: the engine starts a new pair and opens every session there
            self._wake.release()


class WorkerPair:
    """Both processes and the server's ends of their pipes. `context` is the multiprocessing context that starts them."""

    def __init__(self, context: Any, layout: Layout):
        ours, theirs = zip(*(context.Pipe() for _ in range(2)), strict=True)
        self.events, writer = context.Pipe(duplex=False)
        self.wake = [context.Semaphore(0) for _ in range(2)]
        self._turns = context.RawArray("Q", 2)
        make = context.Process
        encoder = (layout, theirs[0], self.wake[0], self.wake[1], self._turns)
        decoder = (layout, theirs[1], writer, self.wake[1], self._turns)
        self.processes: list[Any] = [
            make(target=encode_forever, args=encoder, daemon=True, name="encoder"),
            make(target=decode_forever, args=decoder, daemon=True, name="decoder"),
        ]
        for process in self.processes:
            process.start()
        for end in (*theirs, writer):
            end.close()
        self.commands: list[Connection] = list(ours)
        self._outboxes = [Outbox(*place) for place in zip(ours, self.wake, ("to encoder", "to decoder"), strict=True)]
        self._loaded = [False, False]
        self._seen, self._silent, self._looked = [0, 0], [0.0, 0.0], time.monotonic()
        self.stalled: tuple[str, ...] = ()
        """Names of the processes that were killed because they did not respond."""

    @property
    def ready(self) -> bool:
        """Whether both processes have loaded the model."""
        return all(self._loaded)

    @property
    def silent(self) -> float:
        """Seconds without a sign of life, of the process that has been silent for longer."""
        return max(self._silent)

    def send(self, command: Command) -> None:
        """Send a command to the processes it concerns. Returns at once."""
        for outbox in self._outboxes[1:] if isinstance(command, CancelResponse) else self._outboxes:
            outbox.put(command)

    def wait_until_loaded(self) -> str | None:
        """Wait until both have loaded the model; return the reason if one cannot, None if both have."""
        deadline = time.monotonic() + START_SECONDS
        for process, commands in zip(self.processes, self.commands, strict=True):
            while not commands.poll(0.1) and process.is_alive() and time.monotonic() < deadline:
                pass
            if (answer := _first_message(commands)) != READY:
                return answer or f"the {process.name} process ended without a message"
        self._loaded = [True, True]
        return None

    def note_loaded(self, ready: list[Any]) -> None:
        """Read the messages of processes that have loaded the model. Raises EOFError or OSError when one has died."""
        for number, commands in enumerate(self.commands):
            if commands in ready and commands.recv() == READY:
                self._loaded[number] = True

    def died(self) -> tuple[str, ...]:
        """Return the names of the processes that have ended, after waiting a moment for one that is ending."""
        ended = connection.wait([process.sentinel for process in self.processes], timeout=1.0)
        return tuple(process.name for process in self.processes if process.sentinel in ended)

    def kill_stalled(self, patience: float) -> bool:
        """Kill processes that have not shown a sign of life for `patience` seconds; return whether there was one, now or before.

        Call it every `WATCH_SECONDS`. Time in which the caller itself did not run (a suspended machine, Ctrl-Z) does not count.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 5 * WATCH_SECONDS), now
        for number, process in enumerate(self.processes):
            turns = self._turns[number]
            alive = turns != self._seen[number]
            self._seen[number], self._silent[number] = turns, 0.0 if alive else self._silent[number] + passed
            if self._silent[number] > (patience if self._loaded[number] else START_SECONDS) and process.name not in self.stalled:
                self.stalled += (process.name,)
                process.kill()
        return bool(self.stalled)

    def stop(self) -> None:
        """Kill both processes."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join(END_SECONDS)
        for outbox in self._outboxes:
            outbox.close()
        for end in (*self.commands, self.events):
            end.close()


def _first_message(commands: Connection) -> str:
    """Return the first message of a process; empty when it sent none."""
    try:
        return str(commands.recv()) if commands.poll() else ""
    except (EOFError, OSError):
        return ""
