"""The commands as a user types them: contracts, exit codes, and the whole way from recordings to a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from soundflow.pipeline.services import assets
from tests.support.commandline import soundflow, soundflow_process


@pytest.fixture(scope="module")
def corpus_dir(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a user typed the README's commands: clips/, corpus.yaml, corpus/."""
    root = tmp_path_factory.mktemp("user")
    steps = [
        ("clips", "index", sources, "-o", "clips"),
        ("init", "corpus.yaml", "--clips", "clips", "--streams", 8, "--shards", 2, "--seed", 7),
        ("build", "corpus.yaml", "-o", "corpus", "--executor", "inline"),
    ]
    for step in steps:
        done = soundflow(*step, folder=root)
        assert done.returncode == 0, done.stderr
    return root


def test_the_readmes_way_from_folders_to_a_verified_corpus_and_its_report(corpus_dir: Path) -> None:
    status = json.loads(soundflow("status", "corpus", "--json", folder=corpus_dir).stdout)
    assert set(status) == {"fingerprint", "shards", "streams", "hours", "rejected", "quarantined"}
    assert status["shards"] == {"planned": 2, "committed": 2, "failed": 0} and status["streams"] == 8 and status["hours"] > 0
    verified = soundflow("verify", "corpus", "--sample", 2, "--json", folder=corpus_dir)
    assert verified.returncode == 0
    assert json.loads(verified.stdout) == {"ok": True, "shards": 2, "streams": 8, "missing": [], "problems": []}
    report = soundflow("report", "corpus", "-o", "page.html", folder=corpus_dir)
    assert report.returncode == 0 and (corpus_dir / "page.html").stat().st_size > 100_000
    again = soundflow("build", "corpus.yaml", "-o", "corpus", "--executor", "inline", folder=corpus_dir)
    assert again.returncode == 0 and "2/2 shards" in again.stdout


def test_a_damaged_corpus_makes_verify_exit_1_with_named_problems(corpus_dir: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(corpus_dir / "corpus", tmp_path / "corpus"))
    tar = next((copy / "data").glob("shard-000001-*.tar"))
    tar.write_bytes(tar.read_bytes()[:-30_000])
    done = soundflow("verify", copy, "--json")
    problems = json.loads(done.stdout)["problems"]
    assert done.returncode == 1 and {"shard", "key", "check", "detail", "file", "remedy"} == set(problems[0])
    assert {problem["shard"] for problem in problems} == {1} and "truncated" in {problem["check"] for problem in problems}


def test_a_virtual_corpus_materialized_is_the_stored_one(corpus_dir: Path, tmp_path: Path) -> None:
    from tests.support.corpus import corpus

    made = soundflow("build", "corpus.yaml", "-o", tmp_path / "v", "--executor", "inline", "--virtual", folder=corpus_dir)
    assert made.returncode == 0, made.stderr
    assert soundflow("materialize", tmp_path / "v", "-o", tmp_path / "stored", "--json").returncode == 0
    assert corpus(tmp_path / "stored") == corpus(corpus_dir / "corpus")
    for pack in (tmp_path / "v" / "clips").glob("*.npy"):
        pack.unlink()
    refused = soundflow("materialize", tmp_path / "v", "-o", tmp_path / "other")
    assert refused.returncode == 2 and "missing from the clip store" in refused.stderr and "Traceback" not in refused.stderr


def test_replay_explains_one_sample(corpus_dir: Path) -> None:
    key = json.loads(next((corpus_dir / "corpus" / "manifest").glob("000000.json")).read_bytes())["keys"][0]
    done = soundflow("replay", key, "corpus", "-o", "again", folder=corpus_dir)
    assert done.returncode == 0 and "same bytes as committed" in done.stdout and "drawn: task" in done.stdout
    assert (corpus_dir / "again" / f"{key}.flac").exists()


def test_the_recipe_init_writes_is_commented_and_asks_only_for_what_the_clips_serve(sources: Path, tmp_path: Path) -> None:
    soundflow("clips", "index", sources / "siren", sources / "rain", "-o", "clips", folder=tmp_path)
    done = soundflow("init", "r.yaml", "--clips", "clips", "--streams", 4, "--shards", 1, folder=tmp_path)
    text = (tmp_path / "r.yaml").read_text()
    assert done.returncode == 0 and "# voice_chat" in text and "needs speech clips with a transcript" in text
    recipe = yaml.safe_load(text)
    assert set(recipe["tasks"]) == {"event_description", "proactive_respond"} and recipe["streams"] == 4
    assert soundflow("build", "r.yaml", "-o", "out", "--executor", "inline", folder=tmp_path).returncode == 0
    refused = soundflow("init", "r.yaml", "--clips", "clips", folder=tmp_path)
    assert refused.returncode == 2 and "already exists" in refused.stderr


def test_init_enables_no_voice_chat_that_would_repeat_the_question(clips_dir: Path, tmp_path: Path) -> None:
    done = soundflow("init", "r.yaml", "--clips", clips_dir, folder=tmp_path)
    text = (tmp_path / "r.yaml").read_text()
    assert done.returncode == 0 and "streaming_asr" in yaml.safe_load(text)["tasks"]
    assert "voice_chat" not in yaml.safe_load(text)["tasks"] and "needs speech with replies" in text


def test_tfjp_keeps_its_json_contract_and_shows_every_step(real_audio: dict[str, np.ndarray], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", real_audio["long"], 16_000)
    done = soundflow("tfjp", "in.wav", "out.flac", "--json", "--plot", "plot.png", folder=tmp_path)
    facts = json.loads(done.stdout)
    assert set(facts) == {"in_seconds", "out_seconds", "cut_ms", "denoised", "span", "passes", "converged"}
    assert facts["in_seconds"] == pytest.approx(real_audio["long"].size / 16_000)
    cleaned, rate = soundfile.read(tmp_path / "out.flac")
    assert rate == 16_000 and cleaned.size == round(facts["out_seconds"] * rate) and cleaned.size % 3200 == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    traced = soundflow("tfjp", "in.wav", "out.wav", "--trace", folder=tmp_path)
    for operator in ("silence_cut", "noise_profile", "denoise", "core_locate", "boundary_norm", "spec_smooth"):
        assert operator in traced.stdout


BAD_USAGE = [
    (("build", "nowhere.yaml", "-o", "out"), "no such file"),
    (("build", "bad.yaml", "-o", "out"), 'Did you mean "streams"?'),
    (("status", "empty"), "no build.json"),
    (("verify", "empty"), "no build.json"),
    (("report", "empty"), "no build.json"),
    (("replay", "nonsense", "empty"), ""),
    (("init", "r.yaml", "--clips", "empty"), "clips index"),
    (("clips", "index", "nowhere", "-o", "clips"), "nowhere"),
    (("clips", "index", "empty", "-o", "clips"), ""),
    (("tfjp", "nowhere.wav", "out.wav"), "nowhere.wav"),
    (("tfjp", "bad.yaml", "out.wav"), "unreadable"),
    (("tfjp", "silence.wav", "out.wav"), "silent"),
    (("tfjp", "tone.wav", "out.txt"), "the suffix of an audio format"),
    (("tfjp", "tone.wav", "missing/out.wav"), "missing/out.wav"),
    (("assets", "fetch", "moon"), "Known assets: "),
    (("build", "bad.yaml"), ""),
    (("nonsense",), "nonsense"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_USAGE, ids=[" ".join(arguments) for arguments, _ in BAD_USAGE])
def test_bad_usage_exits_2_with_one_sentence_and_no_traceback(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("clips: x\nstreems: 3\nshards: 1\ntasks: {voice_chat: 1}\n")
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(16_000) * 0.2), 16_000)
    done = soundflow(*arguments, folder=tmp_path)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert expected in done.stderr and "Traceback" not in done.stderr


def test_a_process_of_its_own_ends_with_the_same_code_and_sentence(corpus_dir: Path, tmp_path: Path) -> None:
    refused = soundflow_process("build", "nowhere.yaml", "-o", "out", folder=tmp_path)
    assert refused.returncode == 2 and "no such file" in refused.stderr and "Traceback" not in refused.stderr
    shown = soundflow_process("status", "corpus", "--json", folder=corpus_dir)
    assert shown.returncode == 0 and json.loads(shown.stdout)["streams"] == 8


def test_a_build_that_cannot_finish_exits_3(corpus_dir: Path, tmp_path: Path) -> None:
    """The cleaned clips and their sources are gone: every shard fails, by name, and can be resumed."""
    import shutil

    clips = Path(shutil.copytree(corpus_dir / "clips", tmp_path / "clips"))
    shutil.rmtree(clips / "cache")
    recipe = yaml.safe_load((corpus_dir / "corpus.yaml").read_text()) | {"clips": str(clips)}
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(clips / "clips.parquet")
    paths = pyarrow.array(["/gone/" + path.rpartition("/")[2] for path in table.column("path").to_pylist()])
    moved = table.set_column(table.schema.get_field_index("path"), "path", paths).replace_schema_metadata(table.schema.metadata)
    with pyarrow.parquet.ParquetWriter(clips / "clips.parquet", moved.schema) as writer:
        writer.write_table(moved)
        writer.add_key_value_metadata(pyarrow.parquet.read_metadata(corpus_dir / "clips" / "clips.parquet").metadata)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    done = soundflow("build", "r.yaml", "-o", "out", "--executor", "inline", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "2 failed" in done.stdout
    assert "samples failed, the first with " in soundflow("status", "out", folder=tmp_path).stdout


@pytest.mark.skipif(
    not (assets.directory() / "scratch").is_dir(), reason="real recordings are not here: soundflow assets fetch scratch"
)
def test_real_recordings_become_a_verified_corpus(tmp_path: Path) -> None:
    indexed = soundflow("clips", "index", assets.directory() / "scratch", "-o", "clips", "--json", folder=tmp_path)
    facts = json.loads(indexed.stdout)
    assert facts["clips"] > 100
    soundflow("init", "r.yaml", "--clips", "clips", "--streams", 12, "--shards", 2, folder=tmp_path)
    assert soundflow("build", "r.yaml", "-o", "out", "--executor", "inline", folder=tmp_path).returncode == 0
    assert soundflow("verify", "out", "--sample", 2, folder=tmp_path).returncode == 0
