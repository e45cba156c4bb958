"""Decisions of manifest and recipe, from the index to the responses of a build and their check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from soundflow.operators.compose.clips import Palette, decided_pool
from soundflow.pipeline.build.run import build, find_recipe_warnings
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.clips.index import ClipIndex, index_clips
from soundflow.pipeline.clips.table import FOOTER_KEY
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.start.recipe_init import write_recipe as init_recipe
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.taxonomy import Urgency
from tests.support.bad_audio import burst, wav
from tests.support.corpus import write_recipe

PROACTIVE = {"tasks": {"proactive_respond": 1.0}, "scene": {"planner": "random", "events": [3, 6]}}
DECISIONS = {"kettle": "respond", "siren": "ignore", "rain": ""}


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of four kettles (respond), sirens (ignore) and rains (no decision of the manifest)."""
    root = tmp_path_factory.mktemp("owned")
    rows = ["path,label,decision"]
    for place, (label, decision) in enumerate(DECISIONS.items()):
        for number in range(4):
            wav(burst(0.5, pitch=200 + 90 * number + 500 * place))(root / f"{label}{number}.wav")
            rows.append(f"{label}{number}.wav,{label},{decision.upper()}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    index_clips([root / "manifest.csv"], root / "index", workers=1)
    return root / "index"


def plans(out: Path) -> list[StreamPlan]:
    tars = [BuildDir(out).data / manifest.tar for manifest in BuildDir(out).manifests()]
    return [StreamPlan.from_json(members["json"]) for tar in tars for _, members in read_shard(tar)]


def answered(out: Path) -> dict[str, set[bool]]:
    """Label → whether its foreground events have a response."""
    found: dict[str, set[bool]] = {}
    for plan in plans(out):
        spoken = {response.event for response in plan.responses}
        for number, clip in enumerate(plan.clips):
            if clip.role == "foreground":
                found.setdefault(clip.label, set()).add(number in spoken)
    return found


def test_the_decision_of_a_manifest_is_in_the_index(owned: Path) -> None:
    index = ClipIndex.open(owned)
    assert {clip.label: clip.decision for clip in index.clips()} == {
        "kettle": Urgency.RESPOND, "siren": Urgency.IGNORE, "rain": None,
    }  # fmt: skip
    palette = Palette.of(index)
    assert {clip.name for clip in palette.hazards} == {"kettle"} and {clip.name for clip in palette.benign} == {"siren", "rain"}
    assert index.check() == []


def test_streams_respond_to_what_the_manifest_decides(owned: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", owned, **PROACTIVE)
    build(recipe, tmp_path / "out", executor="inline")
    assert answered(tmp_path / "out") == {"kettle": {True}, "siren": {False}, "rain": {False}}
    assert verify(tmp_path / "out", sample=2).problems == ()


def test_the_recipe_decides_where_the_manifest_does_not(owned: Path, tmp_path: Path) -> None:
    taxonomy = {"rain": "respond", "kettle": "ignore"}
    recipe = write_recipe(tmp_path / "r.yaml", owned, **PROACTIVE, taxonomy=taxonomy)
    build(recipe, tmp_path / "out", executor="inline")
    assert answered(tmp_path / "out") == {"kettle": {True}, "siren": {False}, "rain": {True}}
    assert verify(tmp_path / "out", sample=2).problems == ()
    pool = decided_pool(ClipIndex.open(owned), Recipe.from_yaml(recipe))
    assert {clip.name for clip in Palette.of(pool).hazards} == {"kettle", "rain"}


def test_verify_notices_a_changed_decision(owned: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", owned, **PROACTIVE, shards=1)
    build(recipe, tmp_path / "out", executor="inline")
    record = json.loads((tmp_path / "out/build.json").read_bytes())
    record["recipe"]["taxonomy"] = {"rain": "respond"}
    (tmp_path / "out/build.json").write_text(json.dumps(record))
    details = [problem.detail for problem in verify(tmp_path / "out").problems]
    assert any("decision is None, the index has <Urgency.RESPOND" in detail for detail in details)


def test_an_index_without_the_column_is_readable_and_keeps_its_hash(clips_dir: Path, tmp_path: Path) -> None:
    table = parquet.read_table(clips_dir / "clips.parquet")
    footer = parquet.read_metadata(clips_dir / "clips.parquet").metadata[FOOTER_KEY]
    older = table.drop_columns(["decision"]).replace_schema_metadata({FOOTER_KEY: footer})
    parquet.write_table(older, tmp_path / "clips.parquet")
    index = ClipIndex.open(tmp_path)
    assert index.content_hash == ClipIndex.open(clips_dir).content_hash
    assert index.briefs() == ClipIndex.open(clips_dir).briefs() and {clip.decision for clip in index.clips()} == {None}
    assert not any("content hash" in problem for problem in index.check(audio=False))


def test_labels_of_the_recipe_that_no_clip_has_are_reported(owned: Path, tmp_path: Path) -> None:
    taxonomy = {"kettel": "respond", "rain*": "ignore", "owl": "ignore"}
    recipe = write_recipe(tmp_path / "r.yaml", owned, **PROACTIVE, taxonomy=taxonomy)
    warnings: list[str] = []
    build(recipe, tmp_path / "out", executor="inline", on_warning=warnings.append)
    assert [text for text in warnings if "taxonomy" in text] == [
        f'{recipe}: taxonomy.kettel: no clip of the index has such a label. Did you mean "kettle"?',
        f"{recipe}: taxonomy.owl: no clip of the index has such a label.",
    ]


def test_labels_whose_manifest_contradicts_the_recipe_are_reported_once(owned: Path, tmp_path: Path) -> None:
    taxonomy = {"Kettle_1": "ignore", "siren": "ignore", "rain": "respond"}
    recipe = Recipe.from_yaml(write_recipe(tmp_path / "r.yaml", owned, **PROACTIVE, taxonomy=taxonomy))
    found = [text for text in find_recipe_warnings(recipe, ClipIndex.open(owned)) if "taxonomy" in text]
    assert found == ["taxonomy: the manifest states another decision for 4 clips, which applies: kettle (4)"]


def test_a_new_recipe_lists_the_decisions_of_the_index_with_their_origin(owned: Path, tmp_path: Path) -> None:
    init_recipe(tmp_path / "new.yaml", ClipIndex.open(owned), owned, streams=10, shards=1, seed=0)
    text = (tmp_path / "new.yaml").read_text()
    for line in ("respond by manifest: kettle (4)", "ignore by manifest: siren (4)", "ignore by taxonomy: rain (4)"):
        assert f"#   {line}\n" in text
