"""`clips align`: word times go into the index; clips without them are listed with a reason; kills and full disks lose nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from soundflow.backends.align import aligners
from soundflow.pipeline.clips import align as clip_align
from soundflow.pipeline.clips.align import align_clips
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.clips.ledger import IndexLedger
from soundflow.pipeline.clips.table import FOOTER_KEY, TABLE
from soundflow.pipeline.report.speech import rejected_transcripts
from soundflow.pipeline.start.index_notes import index_notes
from soundflow.pipeline.start.recipe_init import write_recipe
from soundflow.schemas.base import InputError
from soundflow.schemas.text import join_texts
from tests.conftest import SENTENCES
from tests.support import ROOT

ALIGN = """
import resource, signal, sys
from pathlib import Path
from soundflow.pipeline.clips.align import align_clips
if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    exec(sys.argv[2])
    try:
        print(align_clips(Path(sys.argv[1]), workers=1, on_progress=lambda *state: print(state[0], flush=True)).content_hash)
    except OSError as error:
        print(type(error).__name__, error)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def clips(clips_dir: Path, tmp_path: Path) -> Path:
    """A copy of the shared index, to be aligned."""
    return Path(shutil.copytree(clips_dir, tmp_path / "clips"))


def unaligned(directory: Path) -> dict[str, str]:
    lines = (directory / "unaligned.jsonl").read_text().splitlines()
    return {Path(row["id"]).stem: row["reason"] for row in map(json.loads, lines)}


def start(directory: Path, first: str = "") -> subprocess.Popen[str]:
    script = directory.parent / "align.py"
    script.write_text(ALIGN)
    command = [sys.executable, str(script), str(directory), first]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def many(real_audio: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of enough speech that a run can be stopped in the middle."""
    root = tmp_path_factory.mktemp("many")
    (root / "speech").mkdir()
    rng = np.random.default_rng(5)
    for number in range(16):
        name = list(SENTENCES)[number % 3]
        samples = real_audio[name] + rng.standard_normal(real_audio[name].size).astype(np.float32) * 1e-4
        soundfile.write(root / "speech" / f"{number:02d}.wav", samples, 16_000)
        (root / "speech" / f"{number:02d}.txt").write_text(SENTENCES[name])
    index_clips([root / "speech"], root / "clips", workers=1)
    return root / "clips"


def test_every_word_of_the_speech_gets_its_time_and_sounds_stay_as_they_were(clips: Path) -> None:
    before = {clip.id: clip for clip in ClipIndex.open(clips).clips()}
    progress: list[tuple[int, int, int, float]] = []
    summary = align_clips(clips, workers=1, on_progress=lambda *state: progress.append(state))
    index = ClipIndex.open(clips)
    assert (summary.speech, summary.aligned, summary.new, summary.unaligned) == (4, 4, 4, {})
    assert [state[:3] for state in progress] == [(1, 4, 0), (2, 4, 0), (3, 4, 0), (4, 4, 0)]
    assert summary.content_hash == index.content_hash and index.check() == []
    for clip in index.clips():
        assert clip.model_copy(update={"words": ()}) == before[clip.id]
        assert bool(clip.words) == (clip.kind == "speech")
        if clip.transcript:
            assert join_texts(word.text for word in clip.words) == clip.transcript
            assert clip.active_end - 6_400 < clip.words[-1].end <= clip.samples
    assert sum(brief.aligned for brief in index.briefs()) == 4
    assert not (clips / "unaligned.jsonl").read_text()


def test_the_row_of_a_clip_whose_transcript_does_not_fit_says_so_and_init_and_report_name_it(
    sources: Path, clips: Path, tmp_path: Path
) -> None:
    wrong = Path(shutil.copytree(sources, tmp_path / "sources"))
    (wrong / "speech" / "short.txt").write_text("Completely different words were never spoken in this recording.")
    index_clips([wrong], clips, workers=1)
    assert align_clips(clips, workers=1).unaligned == {"too_short": 1}
    index = ClipIndex.open(clips)
    assert index.check() == [] and index.get("speech/short.wav").transcript_rejected == "too_short"
    assert [brief.id for brief in index.briefs() if brief.transcript_rejected] == ["speech/short.wav"]
    index_clips([wrong], clips, workers=1)
    assert ClipIndex.open(clips).content_hash == index.content_hash, "indexing again keeps the finding"
    recipe = write_recipe(tmp_path / "recipe.yaml", index, clips, streams=4, shards=1, seed=1)
    assert recipe.rejected_transcripts == "exclude" and "rejected_transcripts: exclude" in (tmp_path / "recipe.yaml").read_text()
    note, licences = index_notes(index.briefs(), recipe, clips)
    assert "a licence is unknown" in licences
    assert "the transcripts of 1 speech clip (speech/short.wav)" in note and "unaligned.jsonl" in note
    found = rejected_transcripts(clips, index.content_hash, {"speech/short.wav"})
    assert found == {
        "clips": 1,
        "used": 1,
        "named": [{"clip": "speech/short.wav", "reason": "too_short", "used": True}],
    }
    assert rejected_transcripts(clips, "0" * 64, set()) is None


def test_an_index_of_an_earlier_version_without_the_column_is_read(clips: Path) -> None:
    before = ClipIndex.open(clips)
    footer = parquet.read_metadata(clips / TABLE).metadata[FOOTER_KEY]
    older = parquet.read_table(clips / TABLE).drop_columns(["transcript_rejected"])
    parquet.write_table(older.replace_schema_metadata({FOOTER_KEY: footer}), clips / TABLE)
    after = ClipIndex.open(clips)
    assert after.check(audio=False) == [] and after.content_hash == before.content_hash
    assert list(after.clips()) == list(before.clips()) and list(after.briefs()) == list(before.briefs())


def test_the_number_of_workers_does_not_matter(many: Path, tmp_path: Path) -> None:
    one, two = (Path(shutil.copytree(many, tmp_path / name)) for name in ("one", "two"))
    assert align_clips(one, workers=1).content_hash == align_clips(two, workers=2).content_hash


def test_a_second_run_aligns_nothing_and_indexing_again_keeps_the_times(
    sources: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = align_clips(clips, workers=1)
    monkeypatch.setattr(clip_align, "align_one", lambda *task: pytest.fail("aligned again"))
    again = align_clips(clips, workers=1)
    assert again.new == 0 and again.content_hash == first.content_hash
    assert index_clips([sources], clips, workers=1).content_hash == first.content_hash
    monkeypatch.undo()
    changed = Path(shutil.copytree(sources, tmp_path / "changed" / "sources"))
    (changed / "speech" / "short.txt").write_text("Stop this music.")
    index_clips([changed], clips, workers=1)
    assert not ClipIndex.open(clips).get("speech/short.wav").words
    assert align_clips(clips, workers=1).new == 1 and ClipIndex.open(clips).get("speech/short.wav").words[1].text == "this"


def test_another_version_of_the_aligner_aligns_again(clips: Path) -> None:
    align_clips(clips, workers=1)
    with sqlite3.connect(clips / "working.sqlite") as memory:
        memory.execute("UPDATE found SET maker = 'pocketsphinx-5/older'")
    memory.close()
    assert align_clips(clips, workers=1).new == 4


def test_speech_that_is_not_what_its_transcript_says_is_listed_and_the_rest_goes_on(sources: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sources / "speech", tmp_path / "speech"))
    (copy / "question.txt").write_text("My sister bought seven green apples at the market yesterday.")
    (copy / "short.txt").write_text("word " * 80)
    index_clips([copy], tmp_path / "clips", workers=1)
    summary = align_clips(tmp_path / "clips", workers=1)
    assert unaligned(tmp_path / "clips") == {"question": "does_not_fit", "short": "too_short"}
    lines = (tmp_path / "clips" / "unaligned.jsonl").read_text()
    assert '"detail":"frames ' in lines
    assert summary.aligned == 2 and "without word times: 2" in summary.describe()
    assert align_clips(tmp_path / "clips", workers=1).new == 0  # what was refused is known too


def test_a_clip_that_breaks_its_aligner_is_listed_and_tried_again(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = aligners.open_aligner("pocketsphinx")
    align = type(aligner).align

    def broken(self: object, samples: np.ndarray, text: str, language: str):
        if text.startswith("Stop"):
            raise RuntimeError("decoder fell over")
        return align(aligner, samples, text, language)

    monkeypatch.setattr(type(aligner), "align", broken)
    assert align_clips(clips, workers=1).unaligned == {"failed": 1} and unaligned(clips) == {"short": "failed"}
    monkeypatch.undo()
    summary = align_clips(clips, workers=1)
    assert summary.new == 1 and summary.unaligned == {}


def test_without_an_aligner_for_it_a_language_is_left_and_named_and_alone_it_is_an_error(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDFLOW_ASSETS", str(tmp_path / "no assets"))
    aligners.open_aligner.cache_clear()
    rows = [
        {"path": "short.wav", "transcript": "Stop the music.", "language": "en"},
        {"path": "long.wav", "transcript": "今天下雨。", "language": "zh"},
    ]
    copy = Path(shutil.copytree(sources / "speech", tmp_path / "speech"))
    for name, chosen in (("both", rows), ("zh", rows[1:])):
        (copy / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
        index_clips([copy / f"{name}.jsonl"], tmp_path / name, workers=1)
    assert align_clips(tmp_path / "both", workers=1).unaligned == {"no_aligner": 1}
    with pytest.raises(InputError, match="assets fetch whisper-base"):
        align_clips(tmp_path / "zh", workers=1)
    aligners.open_aligner.cache_clear()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_keeps_the_older_index_and_the_next_one_goes_on(many: Path, tmp_path: Path, how: signal.Signals) -> None:
    clips = Path(shutil.copytree(many, tmp_path / "clips"))
    older = ClipIndex.open(clips).content_hash
    slowly = "import soundflow.pipeline.clips.align as a, time; do = a.align_one\n"
    slowly += "a.align_one = lambda *t: (time.sleep(0.3), do(*t))[1]"
    run = start(clips, slowly)
    assert run.stdout is not None
    for line in run.stdout:
        if line == "6\n":
            run.send_signal(how)
            break
    run.communicate(timeout=30)
    assert ClipIndex.open(clips).content_hash == older
    summary = align_clips(clips, workers=1)
    assert 0 < summary.new < 16 and summary.aligned == 16
    assert not list(clips.glob(".tmp-*"))


def test_a_full_disk_is_one_sentence_and_keeps_the_older_index(clips: Path) -> None:
    older = (clips / TABLE).read_bytes()
    limit = (clips / "working.sqlite").stat().st_size
    run = start(clips, f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit // 2}, -1))")
    output, _ = run.communicate(timeout=60)
    assert "OSError" in output and "Traceback" not in output and (clips / TABLE).read_bytes() == older


def test_two_runs_do_not_share_an_index(clips: Path) -> None:
    with IndexLedger(clips), pytest.raises(InputError, match="another run"):
        align_clips(clips, workers=1)


def test_a_directory_that_is_not_an_index_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clips index"):
        align_clips(tmp_path)
