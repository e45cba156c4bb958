"""`soundflow sources`: published corpora are checked, imported, resumed, indexed."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from soundflow.cli.app import main
from soundflow.operators.sources.corpora import READERS
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.speech import source_import
from soundflow.pipeline.speech.source_check import check_source
from soundflow.pipeline.speech.source_import import import_source
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.clip import IngressConfig, TfjpConfig
from soundflow.schemas.sources import SOURCES, Gives
from soundflow.schemas.speech import Dialogue
from tests.support.corpora_in_small import CORPORA, librispeech, put, sound


@pytest.mark.parametrize("name", CORPORA)
def test_an_imported_corpus_becomes_clips_or_dialogues(name: str, tmp_path: Path) -> None:
    write, usable, unusable = CORPORA[name]
    write(tmp_path / "corpus")
    assert check_source(name, str(tmp_path / "corpus")).ok
    state = import_source(name, str(tmp_path / "corpus"), tmp_path / "in")
    assert (state.accepted, state.rejected, state.complete) == (usable, unusable, True)
    assert len((tmp_path / "in/rejected.jsonl").read_text().splitlines()) == unusable
    if SOURCES[name].gives is Gives.DIALOGUES:
        rows = (tmp_path / "in/dialogues.jsonl").read_text(encoding="utf-8").splitlines()
        assert len([Dialogue.from_json(row) for row in rows]) == usable
        return
    index_clips(
        [tmp_path / "in/manifest.jsonl"],
        tmp_path / "clips",
        roots=[tmp_path / "corpus"],
        tfjp=TfjpConfig(),
        ingress=IngressConfig(),
        workers=1,
    )
    index = ClipIndex.open(tmp_path / "clips")
    clips = [index.get(brief.id) for brief in index.briefs()]
    assert 1 <= len(clips) <= usable  # miniatures may hold the same sound twice
    assert all(clip.source.split("/")[0] == name and clip.licence != "unknown" and clip.attribution for clip in clips)


def test_a_killed_import_goes_on_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CORPORA["common-voice"][0](tmp_path / "corpus")
    import_source("common-voice", str(tmp_path / "corpus"), tmp_path / "whole")
    write = source_import.write_atomic

    for kill_at in range(1, 7):  # the sixth piece is the last
        calls = iter(range(1, 99))

        def dying(path: Path, data: bytes, at: int = kill_at, calls: object = calls) -> None:
            if next(calls) == at:  # type: ignore[call-overload]
                raise Interrupted
            write(path, data)

        out = tmp_path / f"killed-{kill_at}"
        monkeypatch.setattr(source_import, "write_atomic", dying)
        with pytest.raises(Interrupted):
            import_source("common-voice", str(tmp_path / "corpus"), out)
        monkeypatch.setattr(source_import, "write_atomic", write)
        with (out / "manifest.jsonl").open("ab") as file:
            file.write(b'{"id": "half a li')
        assert import_source("common-voice", str(tmp_path / "corpus"), out).complete
        for name in ("manifest.jsonl", "rejected.jsonl", "import.json"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_remote_corpus_is_copied_and_one_on_this_machine_stays(tmp_path: Path) -> None:
    librispeech(tmp_path / "corpus")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "corpus"), "/far", recursive=True)
    try:
        import_source("librispeech", "memory://far", tmp_path / "in")
        memory.rm(next(path for path in memory.find("/far") if path.endswith(".flac")))
        torn = import_source("librispeech", "memory://far", tmp_path / "torn")
        assert (torn.accepted, torn.rejected) == (1, 1), "a recording that is not there does not end an import"
    finally:
        memory.rm("/far", recursive=True)
    rows = [json.loads(line) for line in (tmp_path / "in/manifest.jsonl").read_text().splitlines()]
    assert sorted(Path(row["path"]).read_bytes() for row in rows) == sorted(sound(at, "FLAC") for at in range(2))
    import_source("librispeech", str(tmp_path / "corpus"), tmp_path / "local")
    assert not (tmp_path / "local/audio").exists()


def test_an_import_of_another_corpus_or_a_changed_one_is_rejected(tmp_path: Path) -> None:
    librispeech(tmp_path / "corpus")
    import_source("librispeech", str(tmp_path / "corpus"), tmp_path / "in", limit=1)
    with pytest.raises(InputError, match=r"has an import of librispeech .* limited to 1 rows"):
        import_source("librispeech", str(tmp_path / "corpus"), tmp_path / "in")
    with pytest.raises(InputError, match=r"does not have the published layout of WHAM!.*Missing: unpack wham_noise.zip"):
        import_source("wham", str(tmp_path / "corpus"), tmp_path / "other")
    with pytest.raises(InputError, match=r"no such source.*Known: common-voice"):
        import_source("libri", str(tmp_path / "corpus"), tmp_path / "other")


def test_the_check_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "LibriSpeech/dev-clean/84/1/84-1.trans.txt", "84-1-0000 HELLO\n")
    with pytest.raises(SystemExit) as stop:
        main(["sources", "check", "librispeech", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert stop.value.code == 1 and not report["ok"]
    assert report["problems"] == [f"{tmp_path} has no file **/*.flac: the recordings, in the folders of the transcripts"]
    put(tmp_path / "LibriSpeech/dev-clean/84/1/84-1-0001.flac", b"no flac at all")
    assert "84-1-0000.flac: the recording is missing" in check_source("librispeech", str(tmp_path)).problems[0]
    put(tmp_path / "LibriSpeech/dev-clean/84/1/84-1-0000.flac", b"no flac at all")
    assert "the recording cannot be read: unreadable" in check_source("librispeech", str(tmp_path)).problems[0]


def test_the_list_has_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sources", "list"])
    assert len(capsys.readouterr().out.splitlines()) == len(READERS)
