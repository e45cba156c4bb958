"""The answer cache: the first answer wins, damage is detected, killed writers leave nothing, no request is repeated."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.backends.calls.answers import answered_once
from soundflow.pipeline.services.answer_cache import AnswerCache, answers_dir
from soundflow.schemas.atomic_file import temporary_file
from soundflow.schemas.base import InputError
from tests.support import ROOT


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != "asking.lock"]


def test_the_first_answer_wins_and_every_caller_gets_it(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    assert cache.get(key("a")) is None
    assert cache.put(key("a"), b"first") == b"first" == cache.put(key("a"), b"second")
    assert cache.get(key("a")) == b"first" == pickle.loads(pickle.dumps(cache)).get(key("a"))
    assert len(files(tmp_path)) == 1


@given(st.binary(max_size=200), st.integers(0, 10_000), st.sampled_from(["cut", "flip", "grow"]))
def test_any_damage_is_detected_and_repaired(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, how: str) -> None:
    cache = AnswerCache(tmp_path_factory.mktemp("cache"))
    cache.put(key("a"), data)
    (path,) = files(cache.directory)
    whole = path.read_bytes()
    place = at % len(whole)
    damaged = {
        "cut": whole[:place],
        "flip": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        "grow": whole + b"x",
    }
    path.write_bytes(damaged[how])
    assert cache.get(key("a")) is None
    assert cache.put(key("a"), b"again") == b"again" == cache.get(key("a"))


def test_an_unreadable_entry_is_requested_again_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(key("a"), b"first")

    def broken(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(self))

    with monkeypatch.context() as disk, pytest.warns(UserWarning, match=f"{key('a')}: Input/output error"):
        disk.setattr(Path, "read_bytes", broken)
        assert cache.get(key("a")) is None
        assert cache.put(key("a"), b"again") == b"again"
    assert cache.get(key("a")) == b"again"


def test_an_unwritable_cache_is_an_input_error(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache._path(key("a")).mkdir(parents=True)
    with (
        pytest.warns(UserWarning, match="the request is repeated"),
        pytest.raises(InputError, match=r"cannot be written.*SOUNDFLOW_ANSWERS"),
    ):
        cache.put(key("a"), b"paid")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        AnswerCache(tmp_path / "file").put(key("a"), b"paid")

    async def claim() -> None:
        async with AnswerCache(tmp_path / "file" / "below").claimed(key("a")):
            raise AssertionError("it cannot be claimed")

    with pytest.raises(InputError, match="SOUNDFLOW_ANSWERS"):
        asyncio.run(claim())


def test_a_file_system_without_links_keeps_the_first_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*unused: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    cache = AnswerCache(tmp_path)
    assert cache.put(key("a"), b"first") == b"first" == cache.put(key("a"), b"second") == cache.get(key("a"))
    assert len(files(tmp_path)) == 1


def test_a_file_system_without_locks_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*unused: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    model = Model()
    assert asyncio.run(answered_once(AnswerCache(tmp_path), key("a"), model)) == (b"answer 1", False)
    assert asyncio.run(answered_once(AnswerCache(tmp_path), key("a"), model)) == (b"answer 1", True)


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space"):
        AnswerCache(tmp_path).put(key("a"), b"x")
    assert files(tmp_path) == []


WRITER = """
import sys, hashlib
from pathlib import Path
from soundflow.pipeline.services.answer_cache import AnswerCache
cache, me = AnswerCache(Path(sys.argv[1])), sys.argv[2]
print("go", flush=True)
for number in range(int(sys.argv[3])):
    name = hashlib.sha256(str(number).encode()).hexdigest()
    kept = cache.put(name, f"{number} by {me} ".encode() * 500)
    assert cache.get(name) == kept
    print(number, hashlib.sha256(kept).hexdigest(), flush=True)
"""


def test_concurrent_writers_agree_on_every_answer(tmp_path: Path) -> None:
    writers = [run(WRITER, tmp_path, me, 150) for me in range(4)]
    outputs = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert len(set(outputs)) == 1 and len(outputs[0].splitlines()) == 151
    assert len(files(tmp_path)) == 150


def test_a_writer_killed_anywhere_leaves_whole_answers_or_none(tmp_path: Path) -> None:
    for number in range(6):
        writer = run(WRITER, tmp_path, number, 10_000)
        assert writer.stdout is not None
        seen = [writer.stdout.readline() for _ in range(1 + 37 * number)]
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert len(seen) == 1 + 37 * number
    cache = AnswerCache(tmp_path)
    kept = [path for path in files(tmp_path) if not path.name.startswith(".tmp-")]
    assert len(kept) >= 37 * 5
    assert all(cache.get(path.name) is not None for path in kept)


class Model:
    """Something slow that counts its calls."""

    def __init__(self, fail: int = 0):
        self.calls, self.fail = 0, fail

    async def __call__(self) -> bytes:
        self.calls += 1
        mine = self.calls
        await asyncio.sleep(0.01)
        if mine <= self.fail:
            raise ValueError("not today")
        return f"answer {mine}".encode()


def test_equal_concurrent_requests_are_made_once(tmp_path: Path) -> None:
    cache, model = AnswerCache(tmp_path), Model()

    async def ask() -> list[tuple[bytes, bool]]:
        return await asyncio.gather(*(answered_once(cache, key(str(n % 3)), model) for n in range(30)))

    answers = asyncio.run(ask())
    assert model.calls == 3 and len({answer for answer, _ in answers}) == 3
    assert sum(not cached for _, cached in answers) == 3
    asyncio.run(ask())
    assert model.calls == 3 and not cache._asking


def test_only_successes_are_stored_and_a_failure_affects_no_other_caller(tmp_path: Path) -> None:
    cache, model = AnswerCache(tmp_path), Model(fail=2)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(answered_once(cache, key("a"), model) for _ in range(5)), return_exceptions=True)

    outcomes = asyncio.run(ask())
    assert [type(outcome) for outcome in outcomes[:2]] == [ValueError] * 2
    assert {outcome[0] for outcome in outcomes[2:]} == {b"answer 3"} and model.calls == 3


def test_waiting_callers_continue_when_the_first_one_is_cancelled(tmp_path: Path) -> None:
    cache, model = AnswerCache(tmp_path), Model()

    async def ask() -> bytes:
        first = asyncio.create_task(answered_once(cache, key("a"), model))
        await asyncio.sleep(0)
        second = asyncio.create_task(answered_once(cache, key("a"), model))
        await asyncio.sleep(0)
        first.cancel()
        return (await second)[0]

    assert asyncio.run(ask()) == b"answer 2"


ASKER = """
import asyncio, os, sys
from pathlib import Path
from soundflow.backends.calls.answers import answered_once
from soundflow.pipeline.services.answer_cache import AnswerCache
async def ask():
    with open(sys.argv[3], "a") as log:
        log.write("called\\n")
    print("asking", flush=True)
    await asyncio.sleep(float(sys.argv[4]))
    return str(os.getpid()).encode()
print(asyncio.run(answered_once(AnswerCache(Path(sys.argv[1])), sys.argv[2], ask)), flush=True)
"""


def test_processes_make_an_equal_request_once_and_a_killed_one_releases_its_lock(tmp_path: Path) -> None:
    log = tmp_path / "log"
    killed = run(ASKER, tmp_path / "cache", key("a"), log, 600)
    assert killed.stdout is not None and killed.stdout.readline() == "asking\n"
    waiting = [run(ASKER, tmp_path / "cache", key("a"), log, 0.05) for _ in range(3)]
    other = run(ASKER, tmp_path / "cache", key("b"), log, 0.0)
    assert "False" in other.communicate(timeout=60)[0]  # another question does not wait
    assert log.read_text().count("called") == 2
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    answers = [process.communicate(timeout=60)[0].splitlines()[-1] for process in waiting]
    assert log.read_text().count("called") == 3
    assert sorted(answer.split(", ")[1] for answer in answers) == ["False)", "True)", "True)"]
    assert len({answer.split(", ")[0] for answer in answers}) == 1


def test_the_directory_comes_from_the_environment_or_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "shared"))
    assert answers_dir() == tmp_path / "shared" == AnswerCache().directory
    monkeypatch.delenv("SOUNDFLOW_ANSWERS")
    assert answers_dir() == Path.home() / ".cache" / "soundflow" / "answers"


def test_temporary_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(key("a"), b"x")
    (path,) = files(tmp_path)
    with temporary_file(tmp_path / "unfinished") as alive:
        killed = Path(shutil.copy(alive, f"{alive}"[:-8] + "0" * 8))
        for temporary in (alive, killed):
            os.utime(temporary, (0, 0))
        cache.sweep()
        assert sorted(files(tmp_path)) == sorted([path, alive])
