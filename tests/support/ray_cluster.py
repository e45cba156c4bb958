"""A Ray cluster of two nodes on this machine, whose nodes can be lost, broken and given another time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SITE = """\
import os, sys, time
_real, _gmtime = time.time, time.gmtime
def _jumping():
    try:
        return _real() + int(os.readlink({shift!r}))
    except OSError:
        return _real()
time.time = _jumping
time.gmtime = lambda seconds=None: _gmtime(_jumping() if seconds is None else seconds)


class _Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "soundflow.pipeline.build.worker" and os.path.islink({broken!r}):
            if os.readlink({broken!r}) == os.environ.get("CHAOS_NODE"):
                raise ImportError("a library is missing on this node")


sys.meta_path.insert(0, _Broken())
"""
"""A sitecustomize of nodes, workers and drivers.

Their wall clock is as many seconds off as a link says. The node that another link names cannot import the worker of a build.
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for parent in found:
        found += parents.get(parent, [])
    return found


def send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids: list[int]) -> None:
    send(signal.SIGKILL, pids)


def actors(node: subprocess.Popen[bytes]) -> list[int]:
    """The workers of builds on a node."""
    found = []
    for pid in family(node.pid):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::LoadingActor"):
                found.append(pid)
    return found


class Cluster:
    """A head node and a worker node, one core each, whose processes run `python`."""

    def __init__(self, root: Path, python: str = sys.executable):
        self.root, self.python, self.port, self.started = root, python, free_port(), 0
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.site, self.shift, self.broken = root / "site", root / "shift", root / "broken"
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(SITE.format(shift=str(self.shift), broken=str(self.broken)))
        self.environment["PYTHONPATH"] = str(self.site)
        client = f"--ray-client-server-port={free_port()}"
        self.head = self._start("--head", f"--port={self.port}", "--include-dashboard=false", client)
        self.worker = self.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.started += 1
        folder = Path(tempfile.mkdtemp(prefix="n", dir=self.root))
        command = [self.python, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
        command += ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}", f"--dashboard-agent-listen-port={free_port()}"]
        command += ["--object-store-memory=80000000", *arguments]
        with (self.root / f"node-{self.started}.log").open("wb") as log:
            environment = self.environment | {"CHAOS_NODE": str(self.started)}
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def join(self) -> subprocess.Popen[bytes]:
        """A further worker node."""
        deadline = time.monotonic() + 90
        while not _listens(self.port):
            assert self.head.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.2)
        return self._start(f"--address={self.address}")

    def lose(self) -> None:
        """The worker node is gone, all its processes at once; another joins."""
        kill(family(self.worker.pid))
        self.worker.wait()
        self.worker = self.join()

    def wait(self) -> None:
        """Until both nodes are there."""
        deadline = time.monotonic() + 90
        while not all("runtime started" in (self.root / f"node-{number}.log").read_text() for number in (1, self.started)):
            assert self.worker.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def set_clock(self, seconds: int) -> None:
        """How far the wall clock of everything is off."""
        self.shift.unlink(missing_ok=True)
        if seconds:
            self.shift.symlink_to(str(seconds))

    def break_worker(self) -> None:
        """Let the worker node be unable to load a build."""
        self.mend()
        self.broken.symlink_to(str(self.started))

    def mend(self) -> None:
        self.broken.unlink(missing_ok=True)

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.root.glob("node-*.log")))

    def stop(self) -> None:
        for node in (self.worker, self.head):
            kill(family(node.pid))
            node.wait()


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="sf", ignore_cleanup_errors=True) as folder:
        running = Cluster(Path(folder))
        try:
            yield running
        finally:
            running.stop()
