"""Shards: deterministic, strict, readable by stock webdataset."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import ShardError, ShardWriter, read_shard

KEYS = st.text("abcXYZ019_-", min_size=1, max_size=30)
SAMPLES = st.dictionaries(
    KEYS, st.dictionaries(st.sampled_from(["flac", "json", "tokens.npz"]), st.binary(max_size=2000), min_size=1)
)


def tar_of(samples: dict[str, dict[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    writer = ShardWriter(buffer)
    for key, members in samples.items():
        writer.add(key, members)
    writer.finish()
    assert writer.sha256() == hashlib.sha256(buffer.getvalue()).hexdigest()
    assert writer.bytes == len(buffer.getvalue())
    return buffer.getvalue()


@given(samples=SAMPLES)
def test_written_shards_are_read_by_us_and_by_tarfile(samples: dict[str, dict[str, bytes]], tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("shard") / "a.tar"
    path.write_bytes(tar_of(samples))
    assert dict(read_shard(path)) == samples
    with tarfile.open(path) as archive:
        infos = archive.getmembers()
        assert {info.name: archive.extractfile(info).read() for info in infos} == {
            f"{key}.{suffix}": content for key, members in samples.items() for suffix, content in members.items()
        }
        assert all(info.mtime == info.uid == info.gid == 0 and info.mode == 0o644 for info in infos)


@pytest.mark.parametrize("key", ["a/b", "../x", "a b", "", "é", "x" * 99])
def test_unsafe_member_names_are_refused(key: str) -> None:
    with pytest.raises(ShardError):
        tar_of({key: {"flac": b""}})


def test_every_truncation_and_every_flipped_header_byte_is_detected(tmp_path: Path) -> None:
    whole = tar_of({"one": {"json": b"{}" * 300}, "two": {"json": b"x"}})
    path = tmp_path / "a.tar"
    for length in range(0, len(whole) - 10_240 + 4 * 512, 97):
        path.write_bytes(whole[:length])
        if whole[:length].rstrip(b"\0") != whole.rstrip(b"\0") or length % 512:
            with pytest.raises(ShardError):
                list(read_shard(path))
    for place in range(0, 512, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(ShardError):
            list(read_shard(path))


def test_webdataset_reads_a_built_shard(built: Path) -> None:
    manifests = BuildDir(built).manifests()
    urls = [str(built / "data" / manifest.tar) for manifest in manifests]
    keys = []
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        keys.append(sample["__key__"])
        plan = json.loads(sample["json"])
        audio, rate = soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")
        tokens = np.load(io.BytesIO(sample["tokens.npz"]))
        assert rate == 16_000 and audio.size == plan["chunks"] * 6_400
        assert int((tokens["y_stream"] != -100).sum()) == plan["chunks"]
    assert keys == [key for manifest in manifests for key in manifest.keys] and len(keys) == 12
