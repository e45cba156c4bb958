"""verify: a sound build passes; every way of damaging one is told by name, also when all hashes were made to agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from operators.qwen_bpe import QwenTokenizer
from operators.tokenize import from_npz, to_npz, tokenize
from pipeline.build_dir import BuildDir
from pipeline.verify import verify
from schemas.base import InputError, canonical_json
from schemas.tokens import layout_of
from tests.corpus import Members, rewrite


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def checks(directory: Path) -> set[str]:
    report = verify(directory)
    assert report.ok == (not report.problems)
    return {problem.check for problem in report.problems}


def tar_of(directory: Path, shard: int = 0) -> Path:
    return directory / "data" / BuildDir(directory).manifests()[shard].tar


def tokens_for(plan: dict) -> bytes:
    timeline = [(response["chunk"], response["text"]) for response in plan["responses"]]
    layout = layout_of(plan["token_layout"])
    return to_npz(tokenize(plan["instruction"], plan["chunks"], timeline, QwenTokenizer.load(), layout))


def change_plan(change):
    """A forger's change to the plan of the first sample that `change` accepts, with tokens made to agree."""
    done = []

    def apply(number: int, key: str, members: Members) -> Members:
        plan = json.loads(members["json"])
        if not done and change(plan):
            done.append(key)
            members["json"] = canonical_json(plan)
            members["tokens.npz"] = tokens_for(plan)
        return members

    apply.done = done
    return apply


def forge(directory: Path, change) -> None:
    for shard in range(4):
        apply = change_plan(change)
        rewrite(directory, shard, apply)
        if apply.done:
            return
    raise AssertionError("no sample to forge")


def test_a_sound_build_has_no_problems_and_renders_to_the_same_bytes(built: Path) -> None:
    report = verify(built, sample=5)
    assert report.ok and report.shards == 4 and report.streams == 12 and report.problems == ()


def test_one_flipped_byte_anywhere_is_told(copy: Path) -> None:
    tar = tar_of(copy)
    whole = tar.read_bytes()
    for place in np.random.default_rng(5).integers(0, len(whole), 12):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        tar.write_bytes(damaged)
        assert "sha256" in checks(copy)


def test_a_truncated_tar_is_told(copy: Path) -> None:
    tar = tar_of(copy)
    whole = tar.read_bytes()
    for share in (0.0, 0.3, 0.9):
        tar.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated" in checks(copy)


def test_a_missing_tar_is_told(copy: Path) -> None:
    tar_of(copy).unlink()
    assert "truncated" in checks(copy)


@pytest.mark.parametrize("suffix", ["flac", "json", "tokens.npz"])
def test_a_missing_member_is_told(copy: Path, suffix: str) -> None:
    rewrite(copy, 0, lambda number, key, members: {name: data for name, data in members.items() if number or name != suffix})
    assert "members" in checks(copy)


def test_a_missing_sample_is_told(copy: Path) -> None:
    rewrite(copy, 1, lambda number, key, members: members if number else {})
    assert "manifest" in checks(copy)


def test_a_swapped_label_in_the_plan_is_told(copy: Path) -> None:
    def swap(plan: dict) -> bool:
        plan["clips"][0]["label"] = "cow"
        return True

    forge(copy, swap)
    assert "labels" in checks(copy)


@pytest.mark.parametrize("array", ["x", "y_stream", "y_lm"])
def test_a_swapped_token_label_is_told(copy: Path, array: str) -> None:
    def swap(number: int, key: str, members: Members) -> Members:
        tokens = from_npz(members["tokens.npz"])
        changed = getattr(tokens, array).copy()
        place = int(np.flatnonzero(changed != -100)[-1])
        changed[place] = 151_665 if changed[place] != 151_665 else 151_666
        return members | {
            "tokens.npz": to_npz(
                type(tokens)(**{name: getattr(tokens, name) for name in ("x", "y_stream", "y_lm", "layout")} | {array: changed})
            )
        }

    rewrite(copy, 0, swap)
    assert checks(copy) & {"labels", "timeline"}


def test_a_shifted_response_is_told_even_when_the_tokens_agree(copy: Path) -> None:
    def shift(plan: dict) -> bool:
        if not plan["responses"] or plan["responses"][-1]["chunk"] >= plan["chunks"]:
            return False
        plan["responses"][-1]["chunk"] += 1
        return True

    forge(copy, shift)
    assert "response" in checks(copy)


def test_a_response_shifted_with_all_its_evidence_is_told(copy: Path) -> None:
    def shift(plan: dict) -> bool:
        if not plan["responses"] or plan["responses"][0]["chunk"] < 2:
            return False
        first = plan["responses"][0]
        first["chunk"] -= 1
        first["due_chunk"] -= 1
        plan["clips"][first["event"]]["evidence"] = first["chunk"] * 6_400
        return True

    forge(copy, shift)
    assert "response" in checks(copy)


def test_an_invented_response_is_told(copy: Path) -> None:
    def reword(plan: dict) -> bool:
        if plan["responses"]:
            plan["responses"][0]["text"] = "All is well."
        return bool(plan["responses"])

    forge(copy, reword)
    assert "labels" in checks(copy)


def test_a_dropped_response_is_told(copy: Path) -> None:
    def drop(plan: dict) -> bool:
        had = bool(plan["responses"])
        plan["responses"] = plan["responses"][1:]
        return had

    forge(copy, drop)
    assert "labels" in checks(copy)


def test_another_snr_than_the_tracks_have_is_told(copy: Path) -> None:
    def louder(plan: dict) -> bool:
        plan["noises"][0]["snr_db"] += 1.0
        return True

    forge(copy, louder)
    assert "snr" in checks(copy)


def test_audio_that_is_not_of_its_plan_is_told(copy: Path) -> None:
    audio: list[bytes] = []

    def swap(number: int, key: str, members: Members) -> Members:
        audio.append(members["flac"])
        return members | {"flac": audio[0]}

    rewrite(copy, 0, swap)
    assert checks(copy) & {"duration", "render"}


def test_a_manifest_of_another_recipe_is_told(copy: Path) -> None:
    path = BuildDir(copy).manifest_path(2)
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"fingerprint": "5" * 64}))
    assert "fingerprint" in checks(copy)


def test_a_manifest_under_another_shards_name_and_one_that_is_no_manifest_are_told(copy: Path) -> None:
    build = BuildDir(copy)
    shutil.copy(build.manifest_path(0), build.manifest_path(3))
    assert "manifest" in checks(copy)
    build.manifest_path(3).write_bytes(b"{")
    assert "manifest" in checks(copy)


def test_a_changed_build_record_is_told(copy: Path) -> None:
    path = copy / "build.json"
    document = json.loads(path.read_bytes())
    document["recipe"]["seed"] += 1
    path.write_bytes(canonical_json(document))
    assert "fingerprint" in checks(copy)


def test_a_build_without_its_clips_says_that_it_could_not_check_them(copy: Path) -> None:
    path = copy / "build.json"
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"clips": str(copy / "nowhere")}))
    assert checks(copy) == {"clips"}


def test_what_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no build\.json"):
        verify(tmp_path)
