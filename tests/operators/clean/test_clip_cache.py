"""The cache of cleaned clips: keys, entries, and behaviour after damage and kills."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.clean.activity import active_end, active_power
from soundflow.operators.clean.clip_cache import CleanConfig, ClipCache, Treatment, file_sha256, from_pcm, to_pcm
from soundflow.operators.clean.ingress import read_audio
from soundflow.operators.clean.tfjp import tfjp
from soundflow.schemas.atomic_file import temporary_file, write_atomic
from soundflow.schemas.clip import ClipRole, IngressConfig, TfjpConfig
from soundflow.schemas.outcome import Failed, Ok, Rejected
from tests.support import ROOT
from tests.support.bad_audio import burst, raw, wav

CONTENT = "ab" * 32


@pytest.fixture
def speech(tmp_path: Path, real_audio: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "speech.wav"
    words = np.pad(real_audio["question"], 16_000)
    wav(0.8 * words + 0.003 * np.random.default_rng(1).standard_normal(words.size))(path)
    return path


def made(cache: ClipCache, path: Path, treatment: Treatment = Treatment.TFJP):  # type: ignore[no-untyped-def]
    outcome = cache.clean(path, treatment, file_sha256(path))
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def test_an_entry_holds_the_results_of_ingress_and_tfjp(tmp_path: Path, speech: Path) -> None:
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    entry = made(cache, speech)
    ingested = read_audio(speech)
    assert isinstance(ingested, Ok) and entry.clip is not None
    expected = tfjp(ingested.value.samples)
    data = cache.pcm(entry.cache_key)
    assert data is not None
    stored = from_pcm(data)
    assert np.abs(stored - expected.samples).max() <= 0.5 / 32_768 + 1e-7
    assert entry.clip.clean_sha256 == hashlib.sha256(data).hexdigest()
    assert entry.clip.cleaning == expected.cleaning
    assert entry.clip.samples == stored.size == expected.samples.size
    assert entry.clip.active_end == active_end(stored) > 0
    assert entry.clip.active_level_db == pytest.approx(10 * np.log10(active_power(stored)))
    assert cache.entry(entry.cache_key) == entry


def test_noise_is_not_cut_and_ambient_clips_are_not_denoised(tmp_path: Path, speech: Path) -> None:
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    entries = {treatment: made(cache, speech, treatment).clip for treatment in Treatment}
    ingested = read_audio(speech)
    assert isinstance(ingested, Ok)
    noise, ambient, clean = entries[Treatment.INGRESS], entries[Treatment.TFJP_KEEP_NOISE], entries[Treatment.TFJP]
    assert noise.cleaning is None and noise.samples == ingested.value.samples.size
    assert clean.cleaning.denoised and not ambient.cleaning.denoised
    assert len({clip.clean_sha256 for clip in entries.values()}) == 3


def test_every_role_has_its_treatment() -> None:
    assert {role.value: Treatment.of(role).value for role in ClipRole} == {
        "foreground": "tfjp",
        "background": "tfjp",
        "ambient": "tfjp_keep_noise",
        "noise_event": "ingress",
        "noise_ambient": "ingress",
    }


def test_the_key_changes_with_everything_that_shapes_the_samples() -> None:
    base = CleanConfig()
    gentle = CleanConfig(tfjp=TfjpConfig(subtraction_gain=0.5))
    strict = CleanConfig(ingress=IngressConfig(silence_dbfs=-40))
    keys = [config.key(CONTENT, treatment) for config in (base, gentle, strict) for treatment in Treatment]
    assert base.key("cd" * 32, Treatment.TFJP) not in keys
    assert len(set(keys)) == len(keys) - 1  # TFJP's parameters mean nothing to a clip that only passes ingress
    assert base.key(CONTENT, Treatment.INGRESS) == gentle.key(CONTENT, Treatment.INGRESS)


def test_rejected_content_is_cached_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    wav(np.zeros(16_000))(path)
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    entry = made(cache, path)
    assert entry.clip is None and entry.reason == "silent"
    assert cache.entry(entry.cache_key) == entry


def test_transient_errors_are_not_cached(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    raw(b"not a recording" * 99)(path)
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    outcome = cache.clean(path, Treatment.TFJP, file_sha256(path))
    assert isinstance(outcome, Rejected) and outcome.reason == "unreadable"
    assert not (tmp_path / "cache").exists()


def test_a_file_that_differs_from_its_hash_is_not_cached(tmp_path: Path, speech: Path) -> None:
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    outcome = cache.clean(speech, Treatment.TFJP, CONTENT)
    assert isinstance(outcome, Rejected) and outcome.reason == "changed_while_read"
    assert cache.entry(cache.config.key(CONTENT, Treatment.TFJP)) is None


@pytest.mark.parametrize("damage", ["cut pcm", "no pcm", "cut json", "json of another entry", "empty json"])
def test_a_damaged_entry_is_ignored(tmp_path: Path, speech: Path, damage: str) -> None:
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    entry = made(cache, speech)
    assert entry.clip is not None
    pcm, note = (tmp_path / "cache" / entry.cache_key[:2] / f"{entry.cache_key}{suffix}" for suffix in (".pcm", ".json"))
    if damage == "cut pcm":
        os.truncate(pcm, 2 * entry.clip.samples - 2)
    elif damage == "no pcm":
        pcm.unlink()
    elif damage == "json of another entry":
        note.write_text(json.dumps(json.loads(note.read_text()) | {"cache_key": CONTENT}))
    else:
        os.truncate(note, 40 if damage == "cut json" else 0)
    assert cache.entry(entry.cache_key) is None
    assert made(cache, speech) == entry == cache.entry(entry.cache_key)


def _clean_again_and_again(directory: Path, path: Path) -> None:
    cache = ClipCache(directory, CleanConfig())
    for _ in range(20):
        assert isinstance(cache.clean(path, Treatment.INGRESS, file_sha256(path)), Ok)


def test_racing_processes_leave_one_whole_entry(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    wav(burst())(path)
    directory = tmp_path / "cache"
    racers = [
        multiprocessing.get_context("spawn").Process(target=_clean_again_and_again, args=(directory, path)) for _ in range(3)
    ]
    for racer in racers:
        racer.start()
    key = CleanConfig().key(file_sha256(path), Treatment.INGRESS)
    while any(racer.is_alive() for racer in racers):
        entry = ClipCache(directory, CleanConfig()).entry(key)
        if entry is not None and entry.clip is not None:
            data = ClipCache(directory, CleanConfig()).pcm(key)
            assert hashlib.sha256(data or b"").hexdigest() == entry.clip.clean_sha256
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert sorted(file.suffix for file in directory.rglob("*") if file.is_file()) == [".json", ".pcm"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A file size limit stands for the full disk: the write fails part way through."""
    wav(burst(3.0))(tmp_path / "x.wav")
    program = """
import resource, signal, sys
from pathlib import Path
from soundflow.operators.clean.clip_cache import CleanConfig, ClipCache, Treatment, file_sha256
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
path = Path(sys.argv[1])
try:
    ClipCache(path.parent / "cache", CleanConfig()).clean(path, Treatment.TFJP, file_sha256(path))
except OSError as error:
    print("OSError", error.strerror)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.wav")], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "OSError File too large\n", run.stderr
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_files_of_killed_writers_are_swept_and_those_of_living_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    wav(burst())(path)
    cache = ClipCache(tmp_path / "cache", CleanConfig())
    entry = made(cache, path, Treatment.INGRESS)
    with temporary_file(tmp_path / "cache" / entry.cache_key[:2]) as alive:
        killed = Path(shutil.copy(alive, f"{alive}"[:-8] + "0" * 8))
        for temporary in (alive, killed):
            os.utime(temporary, (0, 0))
        cache.sweep()
        assert not killed.exists() and alive.exists() and cache.entry(entry.cache_key) == entry


def test_pcm_is_rounded_and_never_wraps() -> None:
    samples = np.array([0.0, 0.5 / 32_768, 1.5 / 32_768, 1.0, -1.0, 2.0, -2.0], dtype=np.float32)
    assert np.frombuffer(to_pcm(samples), dtype="<i2").tolist() == [0, 0, 2, 32_767, -32_768, 32_767, -32_768]
    stored = from_pcm(to_pcm(burst()))
    assert stored.dtype == np.float32 and not stored.flags.writeable
    assert to_pcm(stored) == to_pcm(burst())


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_atomic(path, b"old")

    def broken():  # type: ignore[no-untyped-def]
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, broken())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_unexpected_error_in_cleaning_is_a_failure_not_a_rejection(tmp_path: Path, speech: Path) -> None:
    """A limit no schema lets through: the arithmetic of TFJP breaks on it."""
    cache = ClipCache(tmp_path / "cache", CleanConfig(tfjp=TfjpConfig.model_construct(silence_limit_ms=1e308)))
    outcome = cache.clean(speech, Treatment.TFJP, file_sha256(speech))
    assert isinstance(outcome, Failed) and outcome.stage == "tfjp" and "OverflowError" in outcome.error
