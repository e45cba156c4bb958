"""No dialogue is lost or repeated when models die or hang, or the driver is killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from soundflow.backends.tts.speakers import open_speaker
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.protocols.tts import Rendering
from soundflow.pipeline.speech import ray_models as ray_speech
from soundflow.pipeline.speech.models import ModelSpec
from soundflow.pipeline.speech.ray_models import RayPool
from soundflow.pipeline.speech.speak import SpeakProgress, speak
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import HibariConfig
from tests.pipeline.build.test_kill import ROOT, wait_for
from tests.support.spoken import begin, dialogue, lenient, rows, write_dialogues

ray = pytest.importorskip("ray")

DIALOGUES = [dialogue(number, 1) for number in range(8)]
HEART = open_speaker(HibariConfig()).voices[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(dialogues, output) of a run in one process."""
    root = tmp_path_factory.mktemp("undisturbed")
    speak(write_dialogues(root / "dialogues.jsonl", DIALOGUES), begin(root / "out", lenient()), lenient())
    return root / "dialogues.jsonl", root / "out"


class Pools:
    """The pools a run opens, by the kind of model."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        found: dict[str, RayPool] = {}

        class Noted(RayPool):
            def __init__(self, spec: ModelSpec, size: int) -> None:
                super().__init__(spec, size)
                found["speaker" if spec.is_speaker else "recogniser"] = self

        patch.setattr(ray_speech, "RayPool", Noted)
        self.of = found

    def kill(self, kind: str) -> int:
        """SIGKILL the process of a pool; which it was."""
        pid = self.of[kind].pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid


def test_killed_models_are_replaced_and_every_dialogue_is_there_once(
    cluster: None, undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, killed = Pools(monkeypatch), []

    def kill_between(progress: SpeakProgress) -> None:
        if progress.done > 2 * len(killed) and len(killed) < 3:
            killed.append(pools.kill("speaker" if len(killed) == 1 else "recogniser"))

    out = begin(tmp_path / "out", lenient())
    summary = speak(undisturbed[0], out, lenient(), executor="ray", workers=1, on_event=kill_between)
    assert len(set(killed)) >= 2 and summary.failed == 0
    assert (out / "manifest.jsonl").read_bytes() == (undisturbed[1] / "manifest.jsonl").read_bytes()
    assert len(list(out.glob("dialogues/*/*.json"))) == len(DIALOGUES)


def test_a_model_that_is_killed_in_the_middle_of_a_call_answers_it_all_the_same(cluster: None) -> None:
    pool = RayPool(ModelSpec(HibariConfig(), True, 300.0), 1)
    text = "This sentence is long enough to be killed in. " * 40
    call = ("say", (text, HEART), {"seed": 1, "speed": 1.0})
    pid = pool.pids()[0]
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    rendering: Rendering = pool.call(call)
    assert rendering.samples.size > 16_000 and pool.pids()[0] != pid
    pool.close()
    with pytest.raises(BackendError, match="closed"):
        pool.call(call)


def test_a_model_that_hangs_is_replaced(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = RayPool(ModelSpec(HibariConfig(), True, 300.0), 1)
    stopped, patience = pool.pids()[0], pool.spec
    os.kill(stopped, signal.SIGSTOP)
    pool.spec = replace(patience, timeout=1.0)
    anew = ray_speech._ActorSlot.replace

    def patient_again(slot: Any, failed: Any) -> None:
        pool.spec = patience
        anew(slot, failed)

    monkeypatch.setattr(ray_speech._ActorSlot, "replace", patient_again)
    assert pool.call(("say", ("Hello there.", HEART), {})).samples.size > 4_000
    assert pool.pids()[0] != stopped
    pool.close()


class Deadly:
    """A model that takes its process along."""

    def say(self, text: str, voice: object) -> None:
        os._exit(1)


class DeadlySpec(ModelSpec):
    """Opens it."""

    def open(self) -> Any:
        """See `ModelSpec.open`."""
        return Deadly()


class MissingSpec(ModelSpec):
    """A model that is not on the machine of the actor."""

    def open(self) -> Any:
        """See `ModelSpec.open`."""
        raise InputError("this model is not here", remedy="Fetch it")


def test_a_call_that_kills_every_process_is_given_up_and_the_pool_lives_on(
    cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_speech, "ATTEMPTS", 2)
    pool = RayPool(DeadlySpec(HibariConfig(), True, 300.0), 1)
    with pytest.raises(BackendError, match="2 processes died or hung during one call"):
        pool.call(("say", ("Hello.", HEART), {}))
    assert pool.pids()
    pool.close()


def test_a_model_that_is_missing_where_the_actor_runs_ends_the_run_with_the_remedy(cluster: None) -> None:
    pool = RayPool(MissingSpec(HibariConfig(), True, 300.0), 1)
    with pytest.raises(InputError, match="Fetch it"):
        pool.call(("say", ("Hello.", HEART), {}))
    pool.close()


def test_more_recognisers_than_cores_are_rejected(cluster: None, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 2 cores, but 80 processes need one each"):
        speak(undisturbed[0], begin(tmp_path / "out", lenient()), lenient(), executor="ray", workers=64)


def start(lines: Path, out: Path, config: Path, *, file_limit: int | None = None) -> subprocess.Popen[str]:
    """`soundflow speak` in a process of its own; `file_limit`: bytes no file of it can pass, as on a full disk."""
    command = [sys.executable, "-m", "soundflow", "speak", str(lines), "--out", str(out), "--config", str(config)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "--executor", "inline"], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if file_limit is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return process


CONFIG = yaml.safe_dump({"recogniser": {"backend": "pocketsphinx"}, "gate": {"wer_limit": 0.7, "retries": 1}})
"""`lenient` as a file."""


def committed(out: Path, more_than: int) -> Callable[[], bool]:
    """Whether more than this number of dialogues are committed."""
    return lambda: len(list(out.glob("dialogues/*/*.json"))) > more_than


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    out, config = begin(tmp_path / "out", lenient()), tmp_path / "config.yaml"
    config.write_text(CONFIG)
    process = start(undisturbed[0], out, config, file_limit=30_000)  # less than a second of speech
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3 and "the same command again to resume" in stderr and "Traceback" not in stderr
    assert not list(out.glob("audio/*/*")) and not list((out / "_tmp").glob("*")) and not (out / "manifest.jsonl").exists()


def test_sigkill_and_sigterm_then_the_same_command_give_the_same_manifest(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    out, config = begin(tmp_path / "out", lenient()), tmp_path / "config.yaml"
    config.write_text(CONFIG)
    for count, number in ((0, signal.SIGKILL), (3, signal.SIGTERM)):
        process = start(undisturbed[0], out, config)
        wait_for(process, committed(out, count))
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == 130 and "the same command again to resume" in stderr and "Traceback" not in stderr
    process = start(undisturbed[0], out, config)
    process.communicate(timeout=120)
    assert process.returncode == 0 and not list((out / "_tmp").glob("*"))
    assert (out / "manifest.jsonl").read_bytes() == (undisturbed[1] / "manifest.jsonl").read_bytes()
    assert len({row["id"] for row in rows(out / "manifest.jsonl")}) == sum(len(one["turns"]) for one in DIALOGUES)
