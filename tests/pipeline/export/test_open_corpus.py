"""`open_corpus`: stored and virtual builds give the same streams, only what is committed counts, damage is named."""

from __future__ import annotations

import gc
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import detokenize
from soundflow.pipeline.build.run import build
from soundflow.pipeline.export.open_corpus import open_corpus
from soundflow.schemas.base import InputError


@pytest.fixture(scope="module")
def virtual(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same corpus as `built`, without audio."""
    out = tmp_path_factory.mktemp("virtual") / "out"
    build(built.parent / "recipe.yaml", out, executor="inline", virtual=True)
    return out


def test_a_stored_and_a_virtual_corpus_give_the_same_streams(built: Path, virtual: Path) -> None:
    stored, rendered = open_corpus(str(built)), open_corpus(virtual)
    assert (len(stored), stored.complete, stored.virtual) == (12, True, False) and rendered.virtual
    assert stored.keys == rendered.keys and stored.fingerprint == rendered.fingerprint
    count = 0
    for one, other in zip(stored, rendered, strict=True):
        assert one.key == other.key == one.plan.sample_id and one.plan == other.plan
        assert one.audio.dtype == np.float32 and one.audio.shape == (one.plan.samples,)
        assert np.array_equal(one.audio, other.audio) and np.array_equal(one.tokens.x, other.tokens.x)
        assert detokenize(one.tokens, QwenTokenizer.load()).timeline == one.timeline
        count += 1
    assert count == 12 and stored.seconds == pytest.approx(sum(stream.plan.seconds for stream in stored))


def test_stock_webdataset_reads_the_same_streams(built: Path) -> None:
    import webdataset

    corpus = open_corpus(built)
    tars = sorted(str(path) for path in (built / "data").glob("*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset does not close the files it opens
        samples = list(webdataset.WebDataset(tars, shardshuffle=False))
        gc.collect()
    assert [sample["__key__"] for sample in samples] == corpus.keys
    assert [sample["json"] for sample in samples] == [stream.plan.canonical_json() for stream in corpus]


def test_a_stream_is_found_by_its_key_also_by_a_pickled_corpus(virtual: Path) -> None:
    corpus = pickle.loads(pickle.dumps(open_corpus(virtual)))
    key = corpus.keys[7]
    assert corpus[key].key == key and corpus[key].audio.size == corpus[key].plan.samples
    for unknown in ("", "sf-000000000000-000000-00000", key[:-1] + "9", key.replace("-0000", "-9999")):
        with pytest.raises(KeyError):
            corpus[unknown]


def test_only_committed_shards_count(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    (copy / "manifest" / "000002.json").unlink()
    shutil.copy(next((copy / "data").glob("shard-000000-*.tar")), copy / "data" / "shard-000009-000000000000.tar")
    corpus = open_corpus(copy)
    assert not corpus.complete and [int(key.split("-")[2]) for key in corpus.keys] == [0] * 3 + [1] * 3 + [3] * 3
    assert [stream.key for stream in corpus] == corpus.keys


def test_damage_and_directories_that_are_not_builds_are_errors(built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a build directory"):
        open_corpus(tmp_path)
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    tar = next((copy / "data").glob("shard-000001-*.tar"))
    data = bytearray(tar.read_bytes())
    data[:3] = b"xyz"
    tar.write_bytes(data)
    with pytest.raises(InputError, match=rf"{tar.name}: the shard is damaged.*soundflow verify"):
        list(open_corpus(copy))
