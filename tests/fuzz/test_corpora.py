"""Files of a build: archives, manifests and records, read by every command that opens a corpus."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.fuzz.harness import command, throw
from tests.fuzz.mutations import damaged_bytes, damaged_json, damaged_text
from tests.support.damage import forge, tar_path

pytestmark = pytest.mark.timeout(method="thread")  # the harness uses the alarm


@pytest.fixture
def corpus(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "corpus"))


def _read(corpus: Path, rng: random.Random, other: Path) -> str:
    """Verify a corpus and run one more command on it."""
    out = other / "read"
    match rng.randrange(6):
        case 0:
            command("report", corpus, "-o", other / "report.html")
        case 1:
            command("status", corpus)
        case 2:
            command("diff", corpus, other / "whole")
        case 3:
            command("export", "authors", corpus, "-o", out)
        case 4:
            command("export", "hf", corpus, "-o", out)
        case _:
            command("gc", corpus)
    shutil.rmtree(out, ignore_errors=True)
    return command("verify", corpus)


def test_archives(corpus: Path, built: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").symlink_to(built)
    tars = sorted(corpus.rglob("*.tar"))
    assert tars

    def attempt(rng: random.Random) -> str:
        tar = rng.choice(tars)
        whole = tar.read_bytes()
        damaged = damaged_bytes(whole, rng, header=rng.choice((512, 4096, len(whole))))
        tar.write_bytes(damaged)
        try:
            found = _read(corpus, rng, tmp_path)
        finally:
            tar.write_bytes(whole)
        assert (found == "accepted") == (damaged == whole), "a damaged archive passes `verify`"
        return found

    assert throw("archives of shards", 25, attempt)["finding"] > 20


def test_archives_with_the_hash_of_their_damage(built: Path, tmp_path: Path) -> None:
    """Hashes do not show the damage, so every layer below them is reached: tar, JSON, NumPy archive, FLAC."""
    (tmp_path / "whole").symlink_to(built)

    def attempt(rng: random.Random) -> str:
        corpus = Path(shutil.copytree(built, tmp_path / "forged"))
        whole = tar_path(corpus).read_bytes()
        forge(corpus, damaged_bytes(whole, rng, header=rng.choice((512, 4096, len(whole)))))
        found = _read(corpus, rng, tmp_path)
        shutil.rmtree(corpus)
        return found

    assert throw("archives with forged hashes", 25, attempt)["finding"] > 20


def test_manifests_and_records(corpus: Path, built: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").symlink_to(built)
    files = sorted(path for path in corpus.rglob("*.json*") if path.is_file())
    assert {path.parent.name for path in files} >= {"manifest", "corpus"}

    def attempt(rng: random.Random) -> str:
        path = rng.choice(files)
        whole = path.read_bytes()
        damaged = damaged_json(json.loads(whole), rng) if path.suffix == ".json" else damaged_text(whole, rng)
        path.write_bytes(damaged)
        try:
            return _read(corpus, rng, tmp_path)
        finally:
            path.write_bytes(whole)

    outcomes = throw("manifests and records of builds", 40, attempt)
    assert outcomes["finding"] + outcomes["named error"] > 30, outcomes


def test_records_of_failures(corpus: Path, built: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").symlink_to(built)
    failed = corpus / "failed"
    failed.mkdir(exist_ok=True)

    def attempt(rng: random.Random) -> str:
        path = failed / rng.choice(("000001.json", "000099.json", "x.json", "000001", "-1.json"))
        path.write_bytes(damaged_json({"shard": 1, "error": "what went wrong", "attempts": 1}, rng))
        try:
            return _read(corpus, rng, tmp_path)
        finally:
            path.unlink()

    throw("records of failed shards", 10, attempt)
