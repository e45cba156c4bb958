"""The clip index when things break: kills, signals, dying workers, full disks, missing rights, damaged caches."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute
import pytest
from pyarrow import parquet

from soundflow.operators.clean.clip_cache import CacheEntry, CleanConfig, ClipCache, Treatment
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.clips.table import CACHE, FOOTER_KEY, TABLE
from soundflow.pipeline.clips.workers import Work, clean_all
from soundflow.schemas.base import InputError
from soundflow.schemas.outcome import Failed, Ok, Outcome
from tests.support import ROOT
from tests.support.bad_audio import build, burst, wav

MANY = 60
INDEX = """
import signal, sys
from pathlib import Path
from soundflow.pipeline.clips.index import index_clips
from soundflow.schemas.base import InputError
if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    exec(sys.argv[3])
    try:
        summary = index_clips([Path(sys.argv[1])], Path(sys.argv[2]), workers=2)
        print(summary.describe())
    except (InputError, OSError) as error:
        print(type(error).__name__, error)
    except KeyboardInterrupt:
        print("interrupted")
"""


def start(source: Path, out: Path, first: str = "") -> subprocess.Popen[str]:
    """Index in a process group of its own; `first` is run before."""
    script = source.parent / "index.py"
    script.write_text(INDEX)
    return subprocess.Popen(
        [sys.executable, str(script), str(source), str(out), first],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def entries(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out / CACHE).rglob("*.json")}


def wait_for_entries(out: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(entries(out)) < count:
        assert time.monotonic() < deadline, "nothing is being cleaned"
        time.sleep(0.005)


def group_is_gone(group: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough recordings that a run can be stopped in the middle."""
    root = tmp_path_factory.mktemp("many") / "src"
    build(root / "dog", {f"{number:03d}.wav": wav(burst(20.0, pitch=100 + 7 * number, seed=number)) for number in range(MANY)})
    return root


@pytest.fixture(scope="module")
def expected(many: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return index_clips([many], tmp_path_factory.mktemp("expected"), workers=2).content_hash


@pytest.mark.parametrize("count", [1, 30])
def test_a_killed_run_loses_nothing_it_cleaned_and_leaves_no_process(
    many: Path, expected: str, tmp_path: Path, count: int
) -> None:
    out = tmp_path / "out"
    with start(many, out) as run:
        wait_for_entries(out, count)
        os.kill(run.pid, signal.SIGKILL)  # the parent only: its workers must notice
    assert group_is_gone(run.pid)
    assert not (out / TABLE).exists()
    before = entries(out)
    summary = index_clips([many], out, workers=2)
    assert summary.content_hash == expected
    assert summary.reused >= count and summary.cleaned == MANY - summary.reused
    assert {path: time for path, time in entries(out).items() if path in before} == before
    assert not list(out.glob(".tmp-*")) and ClipIndex.open(out).check() == []


def test_ctrl_c_ends_the_run_at_once_and_keeps_the_older_index(many: Path, expected: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(tmp_path / "few", {"a.wav": wav(burst())})
    older = index_clips([tmp_path / "few"], out)
    run = start(many, out)
    wait_for_entries(out, 10)
    os.killpg(run.pid, signal.SIGINT)  # a terminal tells the whole group
    began = time.monotonic()
    output, _ = run.communicate(timeout=30)
    assert time.monotonic() - began < 25 and output == "interrupted\n"
    assert ClipIndex.open(out).content_hash == older.content_hash
    assert index_clips([many], out, workers=2).content_hash == expected


def test_a_full_disk_is_one_sentence_and_keeps_the_older_index(tmp_path: Path) -> None:
    """A file size limit stands for the full disk: nothing larger than 30 kB can be written, so the table fails."""
    out = tmp_path / "out"
    build(tmp_path / "src", {f"{number}.wav": wav(burst(0.3, pitch=200 + number)) for number in range(3)})
    older = index_clips([tmp_path / "src"], out)
    (out / "working.sqlite").unlink()
    (tmp_path / "src/m.csv").write_text(
        "id,path,caption\n" + "".join(f"{n},{n % 3}.wav,{os.urandom(90).hex()}\n" for n in range(999))
    )
    output, _ = start(
        tmp_path / "src/m.csv", out, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    ).communicate()
    assert output.startswith("OSError") and len(output.splitlines()) == 1, output
    assert ClipIndex.open(out).content_hash == older.content_hash and not list(out.glob(".tmp-*"))
    assert index_clips([tmp_path / "src/m.csv"], out).clips == 999


class DeadlyCache(ClipCache):
    """A cache whose cleaning dies over one file, as a decoder with a bug does."""

    def clean(self, path: Path, treatment: Treatment, content: str, excerpt: str = "") -> Outcome[CacheEntry]:
        if path.name == "7.wav":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().clean(path, treatment, content, excerpt)


def test_a_file_that_kills_its_reader_is_found_and_the_rest_goes_on(tmp_path: Path) -> None:
    build(tmp_path / "src", {f"{number}.wav": wav(burst(0.2, pitch=200 + number)) for number in range(30)})
    tasks = [(Work(str(path), "tfjp"), None) for path in sorted((tmp_path / "src").iterdir())]
    found = {
        Path(done.work.path).name: done.outcome
        for done in clean_all(iter(tasks), DeadlyCache(tmp_path / "cache", CleanConfig()), 2)
    }
    assert len(found) == 30
    assert [name for name, outcome in found.items() if not isinstance(outcome, Ok)] == ["7.wav"]
    assert isinstance(found["7.wav"], Failed) and found["7.wav"].error == "the worker process died or hung while reading the file"


def test_a_damaged_working_file_only_costs_time(tmp_path: Path) -> None:
    build(tmp_path / "src", {"a.wav": wav(burst())})
    index_clips([tmp_path / "src"], tmp_path / "out")
    (tmp_path / "out/working.sqlite").write_bytes(b"not a database" * 999)
    again = index_clips([tmp_path / "src"], tmp_path / "out")
    assert (again.clips, again.cleaned) == (1, 0)


@pytest.fixture
def index(tmp_path: Path) -> ClipIndex:
    build(tmp_path / "src/dog", {f"{number}.wav": wav(burst(0.5, pitch=200 + 50 * number)) for number in range(3)})
    index_clips([tmp_path / "src"], tmp_path / "out")
    return ClipIndex.open(tmp_path / "out")


def pcm_of(index: ClipIndex, clip_id: str) -> Path:
    key = index.get(clip_id).cache_key
    return index.directory / CACHE / key[:2] / f"{key}.pcm"


@pytest.mark.parametrize("damage", ["flipped byte", "cut", "gone", "whole cache gone"])
def test_lost_audio_is_made_again_from_the_source(index: ClipIndex, damage: str) -> None:
    clip = index.get("dog/1.wav")
    whole = ClipIndex.open(index.directory).audio(clip)
    path = pcm_of(index, clip.id)
    data = path.read_bytes()
    if damage == "whole cache gone":
        shutil.rmtree(index.directory / CACHE)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-2] if damage == "cut" else data[:99] + bytes([data[99] ^ 1]) + data[100:])
    assert index.check() != []
    assert np.array_equal(index.audio(clip), whole)
    assert path.read_bytes() == data
    assert [problem for problem in index.check() if clip.id in problem] == []


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("source gone", "cannot be read"),
        ("source changed", "has changed"),
        ("other version", "another version of SoundFlow made it"),
    ],
)
def test_audio_that_cannot_be_restored_is_an_error_with_clip_and_remedy(index: ClipIndex, trouble: str, why: str) -> None:
    clip = index.get("dog/1.wav")
    path = pcm_of(index, clip.id)
    path.write_bytes(bytes(path.stat().st_size))
    if trouble == "source gone":
        Path(clip.path).unlink()
    elif trouble == "source changed":
        wav(burst(0.5, pitch=777))(Path(clip.path))
    else:
        clip = clip.model_copy(update={"cache_key": "ab" * 32})
    with pytest.raises(OSError, match=r"clip dog/1\.wav") as error:
        index.audio(clip)
    assert why in str(error.value) and "soundflow clips index" in str(error.value)
    assert index.audio(index.get("dog/2.wav")).size == index.get("dog/2.wav").samples


def test_check_sees_a_changed_row_and_a_changed_sample(index: ClipIndex) -> None:
    assert index.check() == []
    path = pcm_of(index, "dog/0.wav")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert index.check(audio=False) == []
    [problem] = index.check()
    assert problem.startswith("dog/0.wav")
    path.write_bytes(data)
    table = parquet.read_table(index.directory / TABLE)
    swapped = table.set_column(table.schema.get_field_index("caption"), "caption", pyarrow.array(["cat"] * 3))
    with parquet.ParquetWriter(index.directory / TABLE, swapped.schema) as writer:
        writer.write_table(swapped)
        writer.add_key_value_metadata({FOOTER_KEY: index.footer.canonical_json()})
    assert ClipIndex.open(index.directory).check() == [f"{TABLE}: the rows do not match the content hash in the footer"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory everybody may enter (pytest's own are private to their owner)."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def without_root(source: Path, out: Path) -> str:
    """The output of an indexing run without root's rights."""
    drop = "import os\nif os.geteuid() == 0: os.setgid(65534); os.setuid(65534)"
    output, _ = start(source, out, drop).communicate(timeout=60)
    return output


def test_files_and_folders_without_read_permission_are_listed(public: Path) -> None:
    build(public / "src", {name: wav(burst(pitch=300)) for name in ("open.wav", "closed.wav")})
    build(public / "src/locked", {"x.wav": wav(burst())})
    (public / "src/closed.wav").chmod(0)
    (public / "src/locked").chmod(0)
    try:
        output = without_root(public / "src", public / "out")
    finally:
        (public / "src/locked").chmod(0o755)
    assert "1 clip," in output and "2 permission_denied" in output, output
    lines = [json.loads(line) for line in (public / "out/rejected.jsonl").read_text().splitlines()]
    assert {Path(line["path"]).name for line in lines} == {"closed.wav", "locked"}


def test_a_directory_that_cannot_be_written_is_rejected(public: Path) -> None:
    build(public / "src", {"a.wav": wav(burst())})
    (public / "locked").mkdir(mode=0o555)
    for out in (public / "locked", public / "locked" / "deeper"):
        output = without_root(public / "src", out)
        assert output.startswith("InputError") and "cannot be written" in output and "Choose another -o" in output, output


def test_a_source_that_cannot_be_listed_is_rejected(public: Path) -> None:
    build(public / "src", {"a.wav": wav(burst())})
    (public / "src").chmod(0)
    assert without_root(public / "src", public / "out").startswith("InputError")


def test_an_index_that_cannot_be_read_is_named(index: ClipIndex) -> None:
    path = index.directory / TABLE
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="cannot be read as a clip index"):
        ClipIndex.open(index.directory)
