"""Builds on a cluster of two nodes with injected faults: `python -m tests.chaos --rounds 20`, three rounds in the suite.

The nodes are processes of this machine with folders of their own. A round builds a corpus, has two or three seeded faults
happen at seeded moments, runs the same command until it says it is done, and holds the result against the undisturbed build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.table import TABLE, ClipIndex, write_table
from soundflow.pipeline.corpus.build_dir import BuildDir
from tests.support import ROOT
from tests.support.corpus import corpus, write_recipe
from tests.support.ray_cluster import Cluster, actors, cluster, family, kill, send

FIRST = (("node", "clock", "stop"), ("actor", "driver", "cache", "index"), ("disk", "term", "load"))
"""The kinds of the first three rounds: each once."""
KINDS = tuple(kind for kinds in FIRST for kind in kinds)
SHARDS = 16
TRIES = 12
"""Runs of the command until it has to be done."""
SHARD_SECONDS = 60
"""The time limit of a shard. One takes about a second."""
AHEAD, BEHIND = 3 * 86_400, -3 * 86_400


def can_mount(folder: Path) -> bool:
    """Whether a small disk of memory can be had here."""
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


class Round:
    """One build and what happens to it."""

    def __init__(self, running: Cluster, clips: Path, root: Path, seed: int, kinds: tuple[str, ...]):
        self.cluster, self.root, self.kinds = running, root, kinds
        self.rng = np.random.default_rng(seed)
        self.clips = Path(shutil.copytree(clips, root / "clips"))
        self.recipe = write_recipe(root / "recipe.yaml", self.clips, streams=SHARDS * 14, shards=SHARDS)
        self.out = root / "out"
        self.outputs: list[str] = []
        self.happened: list[str] = []
        """Kind and number of shards committed then."""
        self.codes: list[int] = []
        """How each run of the command ended."""
        self.struck = 0
        """The process that a fault has hit which takes a while to be noticed."""
        self.former_index: bytes | None = None
        """The clip index, while another one is in its place."""
        self.mounted = False

    def run(self) -> None:
        undisturbed = self.root / "undisturbed"
        build(self.recipe, undisturbed, executor="inline")
        moments = sorted(int(moment) for moment in self.rng.integers(1, SHARDS // 2, len(self.kinds)))
        kinds = sorted(self.kinds, key="stop".__eq__)  # last: while it is being noticed, the other worker finishes the rest
        waiting = [(kind, moment) for kind, moment in zip(kinds, moments, strict=True) if kind != "disk"]
        self.cluster.wait()
        try:
            if "disk" in self.kinds:
                size = sum(path.stat().st_size for path in (undisturbed / "data").iterdir())
                self._mount(int(size * 0.6))
            for _ in range(TRIES):
                process, earliest = self._start(), self._commits() + 1
                self.struck = 0
                while process.poll() is None:
                    if waiting and self._commits() >= max(earliest, waiting[0][1]) and getattr(self, waiting[0][0])(process):
                        earliest, self.struck = self._commits() + 1, 0
                        self.happened.append(f"{waiting.pop(0)[0]} at {earliest - 1}")
                    time.sleep(0.005)
                process.wait()
                self.outputs.append(self._log())
                self.codes.append(process.returncode)
                if self.former_index is not None:
                    self._restore()
                if process.returncode == 0:
                    break
                if process.returncode == 3 and self.mounted:
                    assert "No space left" in self.outputs[-1], self.outputs
                    subprocess.run(["mount", "-o", "remount,size=200m", str(self.out)], check=True)
            self._check(undisturbed, waiting)
        finally:
            self.cluster.set_clock(0)
            self.cluster.mend()
            if self.mounted:
                subprocess.run(["umount", "-l", str(self.out)], check=True)

    def _check(self, undisturbed: Path, waiting: list[tuple[str, int]]) -> None:
        ends = {"driver": -signal.SIGKILL, "term": 130, "disk": 3}
        missed = [kind for kind in self.kinds if kind in ends and ends[kind] not in self.codes]
        assert self.codes[-1] == 0 and not waiting and not missed, (
            f"not everything happened: {waiting}, {missed}, {self.codes}, {self.outputs}"
        )
        assert corpus(self.out) == corpus(undisturbed), (self.kinds, self.outputs)
        there = BuildDir(self.out)
        manifests = there.manifests()
        assert [entry.shard for entry in manifests] == list(range(SHARDS))
        assert there.quarantine() == [] and there.failures() == [], self.outputs
        report = verify(self.out)
        assert report.ok, report.problems
        days = {str(entry.timings["committed_at"])[:10] for entry in manifests}
        assert "clock" not in self.kinds or len(days) > 1, f"no shard was committed at another time: {self.happened}"

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "soundflow", "build", str(self.recipe), "-o", str(self.out)]
        paths = os.pathsep.join((str(self.cluster.site), str(ROOT)))
        command += ["--address", self.cluster.address, "--workers", "2", "--shard-timeout", str(SHARD_SECONDS)]
        with (self.root / "log").open("w") as log:
            return subprocess.Popen(
                command,
                env=self.cluster.environment | {"PYTHONPATH": paths},
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def _log(self) -> str:
        """What the present run of the command has printed."""
        return (self.root / "log").read_text()

    def _restore(self) -> None:
        """The build must have ended with the name of the index that was replaced; put the former one back."""
        assert self.former_index is not None
        assert self.codes[-1] == 2 and f"{self.clips / TABLE}: the clip index was replaced" in self.outputs[-1], self.outputs
        (self.clips / TABLE).write_bytes(self.former_index)
        self.former_index = None

    def _commits(self) -> int:
        return len(list((self.out / "manifest").glob("0*.json")))

    def _workers(self, node: subprocess.Popen[bytes]) -> list[int]:
        """Processes of a node that have committed something in this round."""
        names = [str(manifest.timings["worker"]) for manifest in BuildDir(self.out).manifests()]
        return sorted({int(name.rpartition(":")[2]) for name in names} & set(family(node.pid)))

    def _mount(self, size: int) -> None:
        self.out.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.out)], check=True)
        self.mounted = True

    # What breaks: each says whether it happened; else it is tried again a moment later.

    def node(self, process: subprocess.Popen[str]) -> bool:
        """A node that is at work: until it is, the other one pauses, which would be done before it."""
        at_work = bool(self._workers(self.cluster.worker))
        if at_work:
            self.cluster.lose()
        send(signal.SIGCONT if at_work else signal.SIGSTOP, self._workers(self.cluster.head))
        return at_work

    def actor(self, process: subprocess.Popen[str]) -> bool:
        """A worker that has committed something."""
        workers = self._workers(self.cluster.worker) or self._workers(self.cluster.head)
        kill(workers[:1])
        return bool(workers)

    def driver(self, process: subprocess.Popen[str]) -> bool:
        process.kill()
        process.wait()
        return True

    def term(self, process: subprocess.Popen[str]) -> bool:
        process.terminate()
        process.wait()
        return True

    def clock(self, process: subprocess.Popen[str]) -> bool:
        """Three days ahead or behind, for everyone, to the round's end."""
        self.cluster.set_clock(AHEAD if self.rng.random() < 0.5 else BEHIND)
        return True

    def cache(self, process: subprocess.Popen[str]) -> bool:
        """Half of the cleaned clips are damaged while they are in use."""
        entries = sorted((self.clips / "cache").glob("*/*.pcm"))
        for number in self.rng.choice(len(entries), len(entries) // 2, replace=False).tolist():
            data = bytearray(entries[number].read_bytes())
            data[len(data) // 2] ^= 0x55
            entries[number].write_bytes(data[: -2 * (number % 2)] if number % 2 else data)
        return True

    def stop(self, process: subprocess.Popen[str]) -> bool:
        """A worker is stopped. The build notices when it has not finished its shard in time."""
        if not self.struck:
            workers = self._workers(self.cluster.worker) or self._workers(self.cluster.head)
            if workers:
                self.struck = workers[0]
                os.kill(self.struck, signal.SIGSTOP)
        return bool(self.struck) and f":{self.struck} hung: no result after {SHARD_SECONDS} s" in self._log()

    def load(self, process: subprocess.Popen[str]) -> bool:
        """A node becomes unable to load the build, and its worker is killed, so that another one starts there.

        Until that is noticed, the other node pauses, which would be done before it.
        """
        if not self.struck:
            self.struck = self.cluster.worker.pid
            self.cluster.break_worker()
            kill(actors(self.cluster.worker))
        is_noticed = "a library is missing on this node" in self._log()
        send(signal.SIGCONT if is_noticed else signal.SIGSTOP, actors(self.cluster.head))
        time.sleep(0.1)
        return is_noticed

    def index(self, process: subprocess.Popen[str]) -> bool:
        """The clip index is replaced by another one, and all workers are killed, so that those after them find it."""
        if not self._workers(self.cluster.head) and not self._workers(self.cluster.worker):
            return False
        former = ClipIndex.open(self.clips)
        self.former_index = (self.clips / TABLE).read_bytes()
        write_table(self.clips / TABLE, (row | {"caption": "something else"} for row in former.rows()), former.footer.config)
        kill([*actors(self.cluster.head), *actors(self.cluster.worker)])
        return True


def kinds_of(seed: int, available: tuple[str, ...] = KINDS) -> tuple[str, ...]:
    """The first three rounds have every kind once, later ones two or three by chance."""
    if seed < len(FIRST):
        return tuple(kind for kind in FIRST[seed] if kind in available)
    rng = np.random.default_rng(seed)
    return tuple(str(kind) for kind in rng.choice(available, int(rng.integers(2, 4)), replace=False))


def main() -> int:
    """Run rounds and say how each went; exit code 1 when one was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("CHAOS_ROUNDS", "20")))
    parser.add_argument("--first", type=int, default=int(os.environ.get("CHAOS_FIRST", "0")), help="seed of the first round")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # nodes and mounts are not left behind
    bad = 0
    with tempfile.TemporaryDirectory(prefix="chaos") as name, cluster() as running:
        clips = make_world(Path(name))
        available = KINDS if can_mount(Path(name) / "mount") else tuple(kind for kind in KINDS if kind != "disk")
        for seed in range(arguments.first, arguments.first + arguments.rounds):
            kinds, began = kinds_of(seed, available), time.monotonic()
            root = Path(name) / f"round-{seed}"
            root.mkdir()
            try:
                this = Round(running, clips, root, seed, kinds)
                this.run()
                how = f"as the undisturbed build after runs that ended with {this.codes} ({'; '.join(this.happened)})"
            except AssertionError as error:
                bad, how = bad + 1, f"WRONG: {error}"
            print(f"round {seed}: {', '.join(kinds)}: {how} ({time.monotonic() - began:.0f} s)", flush=True)
            shutil.rmtree(root, ignore_errors=True)
    return 1 if bad else 0


def make_world(root: Path) -> Path:
    """Clips like those of the suite, without its fixtures."""
    import soxr
    from hibari import SAMPLE_RATE, Hibari

    from soundflow.pipeline.clips.index import index_clips
    from tests.conftest import SENTENCES
    from tests.support.corpus import write_sources

    voice = Hibari()
    resample: Callable[..., np.ndarray] = soxr.resample
    spoken = {
        name: resample(np.asarray(voice(text, seed=1), dtype=np.float32), SAMPLE_RATE, 16_000) for name, text in SENTENCES.items()
    }
    index_clips([write_sources(root / "sources", spoken, SENTENCES)], root / "clips", workers=1)
    return root / "clips"


if __name__ == "__main__":
    raise SystemExit(main())
