"""Shards are read by seeking; errors name the shard and the member."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundflow.operators.tokens.tokenize import from_npz
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.schemas.base import InputError
from soundflow.training.corpus import StoredCorpus, text_ids
from soundflow.training.sequences import Window, encode_window
from tests.support.corpus import Members, rewrite


def stored(out: Path) -> list[tuple[int, int, Members]]:
    """(shard, index, members) of a build, read whole."""
    build = BuildDir(out)
    samples = []
    for shard, manifest in enumerate(build.manifests()):
        for index, (_, members) in enumerate(read_shard(build.data / manifest.tar)):
            samples.append((shard, index, members))
    return samples


def test_reading_by_seeking_gives_what_is_stored(built: Path) -> None:
    import io

    import soundfile

    from soundflow.model.vocabulary import Vocabulary
    from soundflow.schemas.tokens import SOUNDFLOW

    corpus = pickle.loads(pickle.dumps(StoredCorpus(built)))
    samples = stored(built)
    assert sum(corpus.shard_sizes) == len(samples) == 12
    for shard, index, members in reversed(samples):
        turns, tokens = corpus.turns(shard, index), from_npz(members["tokens.npz"])
        vocabulary = Vocabulary(SOUNDFLOW, None)
        example = encode_window(turns, Window(0, turns.chunks - 1, 0), vocabulary, 10)
        assert np.array_equal(example.rows, vocabulary.rows(tokens.x))
        audio, _ = soundfile.read(io.BytesIO(members["flac"]), dtype="float32")
        assert np.array_equal(corpus.audio(shard, index, 500, 9000), audio[500:9000])
        assert corpus.plan(shard, index).sample_id == corpus.name(shard, index)


def test_nan_samples_are_reported_with_the_stream(built: Path, tmp_path: Path) -> None:
    import io

    import soundfile

    copy, wav = tmp_path / "copy", io.BytesIO()
    shutil.copytree(built, copy)
    soundfile.write(wav, np.array([0.0, np.nan] * 8000, dtype=np.float32), 16_000, format="WAV", subtype="FLOAT")
    rewrite(copy, 0, lambda number, key, members: members | {"flac": wav.getvalue()})
    corpus = StoredCorpus(copy)
    with pytest.raises(InputError, match=f"the audio of {corpus.name(0, 0)} cannot be read: contains NaN"):
        corpus.audio(0, 0, 0, 6400)


def test_past_the_end_of_a_stream_there_is_silence(built: Path) -> None:
    corpus = StoredCorpus(built)
    samples = corpus.plan(0, 0).samples
    audio = corpus.audio(0, 0, samples - 10, samples + 100)
    assert audio.shape == (110,) and not audio[10:].any()
    assert not corpus.audio(0, 0, samples + 5, samples + 9).any()


def test_two_builds_are_one_corpus_of_another_identity(built: Path) -> None:
    one, two = StoredCorpus(built), StoredCorpus(built, built)
    assert two.shard_sizes == one.shard_sizes * 2 and two.id != one.id == StoredCorpus(built).id
    assert two.name(4, 0) == one.name(0, 0)


def test_the_vocabulary_of_a_corpus_is_every_id_it_uses(built: Path) -> None:
    found = set(text_ids(StoredCorpus(built)))
    for _, _, members in stored(built):
        tokens = from_npz(members["tokens.npz"])
        texts = set(tokens.x[tokens.x < 151_643].tolist())
        assert texts <= found


def test_a_folder_without_shards_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no committed shard"):
        StoredCorpus(tmp_path)


def test_a_truncated_shard_is_reported(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    tar = next((copy / "data").iterdir())
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(InputError, match=rf"{tar.name}: is missing or not of the size in its manifest"):
        StoredCorpus(copy)


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("tokens.npz", b"not an archive", r"00000\.tokens\.npz: is not a token archive"),
        ("flac", b"not audio", r"the audio of .*00000 cannot be read"),
        ("json", b"{}", r"00000\.json"),
    ],
)
def test_a_damaged_member_is_reported_by_name(built: Path, tmp_path: Path, member: str, content: bytes, message: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    rewrite(copy, 0, lambda number, key, members: members | ({member: content} if number == 0 else {}))
    corpus = StoredCorpus(copy)
    with pytest.raises(InputError, match=message):
        {"tokens.npz": corpus.turns, "json": corpus.plan, "flac": lambda s, i: corpus.audio(s, i, 0, 10)}[member](0, 0)


def test_a_missing_member_is_reported(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    rewrite(copy, 0, lambda number, key, members: {name: data for name, data in members.items() if name != "flac"})
    with pytest.raises(InputError, match=r"has no complete .*\.flac"):
        StoredCorpus(copy).audio(0, 0, 0, 10)


def test_a_shard_deleted_during_an_epoch_is_reported(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "corpus")
    corpus = StoredCorpus(tmp_path / "corpus")
    corpus.turns(0, 0)
    for tar in (tmp_path / "corpus" / "data").glob("*.tar"):
        tar.unlink()
    with pytest.raises(InputError, match=r"shard-000000-.*\.tar: has no complete .*\.tokens\.npz.*soundflow verify"):
        corpus.turns(0, 0)
