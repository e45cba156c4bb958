"""verify: an intact build passes; every kind of damage is reported with its slug, even when all hashes agree."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from soundflow.cli.app import app
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.operators.tokens.tokenize import from_npz, to_npz, tokenize
from soundflow.pipeline.build.produce import Producer
from soundflow.pipeline.check.sample import SampleChecker
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.curate.scenes import scenes_of
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.shard import Problem
from soundflow.schemas.taxonomy import Task
from soundflow.schemas.tokens import LAYOUTS, layout_of
from tests.support.corpus import Members, rewrite


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


def test_an_intact_build_has_no_problems_and_renders_to_the_same_bytes(built: Path) -> None:
    report = verify(built, sample=5)
    assert report.ok and report.shards == 4 and report.streams == 12 and report.problems == ()


def test_one_flipped_byte_anywhere_is_reported(copy: Path) -> None:
    tar = tar_of(copy)
    whole = tar.read_bytes()
    for place in np.random.default_rng(5).integers(0, len(whole), 12):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        tar.write_bytes(damaged)
        assert "sha256" in checks(copy)


def test_a_truncated_tar_is_reported(copy: Path) -> None:
    tar = tar_of(copy)
    whole = tar.read_bytes()
    for share in (0.0, 0.3, 0.9):
        tar.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated" in checks(copy)


def test_a_missing_tar_is_reported(copy: Path) -> None:
    tar_of(copy).unlink()
    assert "missing_tar" in checks(copy) and "truncated" not in checks(copy)


@pytest.mark.parametrize("suffix", ["flac", "json", "tokens.npz"])
def test_a_missing_member_is_reported(copy: Path, suffix: str) -> None:
    rewrite(copy, 0, lambda number, key, members: {name: data for name, data in members.items() if number or name != suffix})
    assert "members" in checks(copy)


def test_a_missing_sample_is_reported(copy: Path) -> None:
    rewrite(copy, 1, lambda number, key, members: members if number else {})
    assert "manifest" in checks(copy)


def test_a_swapped_label_in_the_plan_is_reported(copy: Path) -> None:
    def swap(plan: dict) -> bool:
        plan["clips"][0]["label"] = "cow"
        return True

    forge(copy, swap)
    assert "labels" in checks(copy)


@pytest.mark.parametrize("array", ["x", "y_stream", "y_lm"])
def test_a_swapped_token_label_is_reported(copy: Path, array: str) -> None:
    def swap(number: int, key: str, members: Members) -> Members:
        tokens = from_npz(members["tokens.npz"])
        changed = getattr(tokens, array).copy()
        for place in np.flatnonzero(changed != -100)[-1:]:  # a stream without responses has no text to swap
            changed[place] = 151_665 if changed[place] != 151_665 else 151_666
        return members | {
            "tokens.npz": to_npz(
                type(tokens)(**{name: getattr(tokens, name) for name in ("x", "y_stream", "y_lm", "layout")} | {array: changed})
            )
        }

    rewrite(copy, 0, swap)
    assert checks(copy) & {"labels", "timeline"}


def test_a_shifted_response_is_reported_even_when_the_tokens_agree(copy: Path) -> None:
    def shift(plan: dict) -> bool:
        if not plan["responses"] or plan["responses"][-1]["chunk"] >= plan["chunks"]:
            return False
        plan["responses"][-1]["chunk"] += 1
        return True

    forge(copy, shift)
    assert "response" in checks(copy)


def test_a_response_shifted_with_all_its_evidence_is_reported(copy: Path) -> None:
    def shift(plan: dict) -> bool:
        if not plan["responses"] or plan["responses"][0]["chunk"] < 2:
            return False
        first = plan["responses"][0]
        first["chunk"] -= 1
        first["due_chunk"] -= 1
        first["pieces"][-1]["evidence"] = first["chunk"] * 6_400
        return True

    forge(copy, shift)
    assert "response" in checks(copy)


def test_an_invented_response_is_reported(copy: Path) -> None:
    def reword(plan: dict) -> bool:
        if plan["responses"]:
            plan["responses"][0]["text"] = plan["responses"][0]["pieces"][0]["text"] = "All is well."
        return bool(plan["responses"])

    forge(copy, reword)
    assert "labels" in checks(copy)


def test_a_dropped_response_is_reported(copy: Path) -> None:
    def drop(plan: dict) -> bool:
        had = bool(plan["responses"])
        plan["responses"] = plan["responses"][1:]
        return had

    forge(copy, drop)
    assert "labels" in checks(copy)


def test_a_wrong_snr_is_reported(copy: Path) -> None:
    def louder(plan: dict) -> bool:
        plan["noises"][0]["snr_db"] += 1.0
        return True

    forge(copy, louder)
    assert "snr" in checks(copy)


def test_audio_that_does_not_match_its_plan_is_reported(copy: Path) -> None:
    audio: list[bytes] = []

    def swap(number: int, key: str, members: Members) -> Members:
        audio.append(members["flac"])
        return members | {"flac": audio[0]}

    rewrite(copy, 0, swap)
    assert checks(copy) & {"duration", "render"}


def test_a_manifest_of_another_recipe_is_reported(copy: Path) -> None:
    path = BuildDir(copy).manifest_path(2)
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"fingerprint": "5" * 64}))
    assert "fingerprint" in checks(copy)


def test_a_misnamed_and_an_invalid_manifest_are_reported(copy: Path) -> None:
    build = BuildDir(copy)
    shutil.copy(build.manifest_path(0), build.manifest_path(3))
    assert "manifest" in checks(copy)
    build.manifest_path(3).write_bytes(b"{")
    assert "manifest" in checks(copy)


def test_a_changed_build_record_is_reported(copy: Path) -> None:
    path = copy / "build.json"
    document = json.loads(path.read_bytes())
    document["recipe"]["seed"] += 1
    path.write_bytes(canonical_json(document))
    assert "fingerprint" in checks(copy)


def test_a_build_without_its_clips_says_that_it_could_not_check_them(copy: Path) -> None:
    path = copy / "build.json"
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"clips": str(copy / "nowhere")}))
    assert checks(copy) == {"clips"}


def test_a_label_swapped_in_plan_and_response_is_reported(copy: Path) -> None:
    """The forger is consistent: label, answer and tokens agree with each other, only not with the clip."""

    def swap(plan: dict) -> bool:
        for response in plan["responses"]:
            clip = plan["clips"][response["pieces"][0]["event"]]
            if plan["task"] == "event_description" and not clip["caption"]:
                response["text"] = response["text"].replace(clip["label"].replace("_", " "), "cow")
                response["pieces"][0]["text"] = response["text"]
                clip["label"] = "cow"
                return True
        return False

    forge(copy, swap)
    assert "labels" in checks(copy)


def leaves(node: object, path: tuple = ()) -> list[tuple[tuple, object]]:
    if isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return [leaf for name, value in items for leaf in leaves(value, (*path, name))]
    return [(path, node)]


def changed(value: object) -> list[object]:
    """Values a forger or a broken disk might put there."""
    match value:
        case None:
            return ["x", 0]
        case bool():
            return [not value]
        case int():
            return [value + 1, max(value - 1, 0), value + 6_400, 10**15]
        case float():
            return [value * 0.5, value + 1e-3, 1e300]
        case _:
            return [f"{value}x", "", "0" * 64]


def test_a_change_of_any_field_of_a_plan_is_reported(built: Path) -> None:
    """Tokens are made to agree, all hashes too: every field follows from something the forger does not have."""
    build = BuildDir(built)
    record = build.record()
    index = ClipIndex.open(Path(record.clips))
    checker = SampleChecker(record, index, scenes_of(record.recipe, record.fingerprint, index, build))
    words = {"task": [task.value for task in Task], "role": list(ClipRole), "kind": ["speech", "sound"]}
    words |= {"track": ["event", "ambient"], "token_layout": list(LAYOUTS)}
    tried, unnoticed = 0, set()
    for manifest in build.manifests()[:2]:
        key, members = next(iter(read_shard(build.data / manifest.tar)))
        assert checker.check(key, members, manifest.shard)[1] == []
        for path, old in leaves(json.loads(members["json"])):
            for new in [value for value in words.get(path[-1], changed(old)) if value != old]:
                plan = json.loads(members["json"])
                node = plan
                for name in path[:-1]:
                    node = node[name]
                node[path[-1]] = new
                tokens = members["tokens.npz"]
                with contextlib.suppress(Exception):
                    tokens = tokens_for(plan) if plan["chunks"] < 10_000 else tokens
                forged = members | {"json": canonical_json(plan), "tokens.npz": tokens}
                tried += 1
                if not checker.check(key, forged, manifest.shard)[1]:
                    unnoticed.add((path, new))
    assert tried > 500 and unnoticed == set()


def test_a_change_of_any_field_of_a_manifest_is_reported(copy: Path) -> None:
    path = BuildDir(copy).manifest_path(1)
    whole = json.loads(path.read_bytes())
    free = {"timings", "redraws", "cost"}  # how the work went, not what it made
    for place, old in leaves({name: value for name, value in whole.items() if name not in free}):
        for new in [value for value in changed(old) if value != old]:
            document = json.loads(json.dumps(whole))
            node = document
            for name in place[:-1]:
                node = node[name]
            node[place[-1]] = new
            path.write_bytes(canonical_json(document))
            assert checks(copy), (place, new)


@pytest.mark.parametrize("tar", ["../../secret.tar", "/etc/hostname", "", "a\u0000b"])
def test_a_manifest_that_points_elsewhere_is_reported_and_not_followed(copy: Path, tar: str) -> None:
    path = BuildDir(copy).manifest_path(0)
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"tar": tar}))
    report = verify(copy, sample=12)
    assert {problem.check for problem in report.problems if problem.shard == 0} >= {"manifest"}
    assert sorted(BuildDir(copy).committed(BuildDir(copy).record().fingerprint)) == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"\xff\xfe", b"{" * 5000, b'{"format":"soundflow.stream/1"}'])
@pytest.mark.parametrize("suffix", ["flac", "json", "tokens.npz"])
def test_a_member_that_is_something_else_is_a_finding_and_not_a_crash(copy: Path, suffix: str, content: bytes) -> None:
    rewrite(copy, 0, lambda number, key, members: members | ({suffix: content} if number == 1 else {}))
    report = verify(copy, sample=12)
    keys = {problem.key for problem in report.problems}
    assert BuildDir(copy).manifests()[0].keys[1] in keys and BuildDir(copy).manifests()[0].keys[0] not in keys


def test_reordered_members_and_noncanonical_json_are_reported(copy: Path) -> None:
    rewrite(copy, 0, lambda number, key, members: dict(reversed(members.items())) if number == 0 else members)
    rewrite(copy, 1, lambda number, key, members: members | {"json": json.dumps(json.loads(members["json"])).encode()})
    report = verify(copy)
    assert {(problem.shard, problem.check) for problem in report.problems} == {(0, "members"), (1, "members")}


def test_swapped_samples_are_reported(copy: Path) -> None:
    seen: list[Members] = []

    def rotate(number: int, key: str, members: Members) -> Members:
        seen.append(members)
        return seen[number - 1] if number else members

    rewrite(copy, 0, rotate)
    assert "manifest" in checks(copy)


def test_the_seed_chooses_the_samples_that_are_made_again(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    real = Producer.produce
    monkeypatch.setattr(Producer, "produce", lambda self, *place: (made.append(place), real(self, *place))[1])
    for seed in (0, 0, 1):
        assert verify(built, sample=4, seed=seed).ok
    assert made[:4] == made[4:8] != made[8:] and len(made) == 12 and len(set(made[:4])) == 4


def test_a_directory_that_is_not_a_build_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no build\.json"):
        verify(tmp_path)


def test_a_finding_that_is_a_sentence_ends_with_one_full_stop(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Problem(shard=0, key="a", check="members", detail="flac decoder lost sync.", remedy="Build the shard again")
    report = verify(copy).model_copy(update={"problems": (found,)})
    monkeypatch.setattr("soundflow.pipeline.check.verify.verify", lambda directory, sample: report)
    printed = CliRunner().invoke(app, ["verify", str(copy)]).stdout
    assert "shard 0 a: members: flac decoder lost sync. Build the shard again\n" in printed
