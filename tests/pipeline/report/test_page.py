"""The report has the right numbers, shows untrusted text as text, and works in a browser without a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from soundflow.pipeline.build.run import build, plan_build
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.open_build import open_build
from soundflow.pipeline.report.data import EDGES, spectrum_png
from soundflow.pipeline.report.page import write_report
from soundflow.schemas.base import InputError
from soundflow.schemas.taxonomy import Task
from tests.support.corpus import Members, rewrite, write_recipe

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def page(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(built, tmp_path_factory.mktemp("report") / "report.html", samples=4)


def data_of(page: Path) -> dict:
    match = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)
    return json.loads(match[1])


def test_the_totals_are_those_of_the_manifests(built: Path, page: Path) -> None:
    data, manifests = data_of(page), BuildDir(built).manifests()
    assert data["status"]["streams"] == 12 == sum(row["streams"] for row in data["tasks"])
    assert data["chunks"] == sum(manifest.chunks for manifest in manifests)
    assert (
        data["responses"] == sum(row["responses"] for row in data["tasks"]) == sum(manifest.responses for manifest in manifests)
    )
    assert {row["task"]: row["streams"] for row in data["tasks"]} == {
        task: sum(manifest.tasks.get(task, 0) for manifest in manifests) for manifest in manifests for task in manifest.tasks
    }
    counts = {title: sum(entry["counts"]) for (title, _), entry in zip(EDGES.values(), data["histograms"], strict=True)}
    assert counts["Foreground events per stream"] == counts["Duration of a stream (s)"] == 12
    assert counts["Tokens per response"] == counts["Response delay after the evidence (ms)"] == data["responses"]


def test_every_sample_stream_carries_its_own_sound_and_picture(page: Path) -> None:
    samples = data_of(page)["samples"]
    assert len(samples) == 4 and len({sample["sample_id"] for sample in samples}) == 4
    assert len({Task(sample["task"]).capability for sample in samples}) >= 3
    for sample in samples:
        assert sample["audio"].startswith("data:audio/flac;base64,ZkxhQ") and sample["spectrum"].startswith(
            "data:image/png;base64,iVBOR"
        )


def test_the_page_is_one_file_that_asks_nothing_of_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)', text) and "@import" not in text and "fetch(" not in text
    outside = set(re.findall(r"https?://[^\"'\s)]+", re.sub(r'<script id="data".*?</script>', "", text, flags=re.S)))
    assert outside == {"http://www.w3.org/2000/svg"}


def test_equal_builds_give_equal_pages(built: Path, page: Path, tmp_path: Path) -> None:
    assert write_report(built, tmp_path / "again.html", samples=4).read_bytes() == page.read_bytes()


def test_a_build_without_a_stream_is_refused_and_an_unfinished_one_says_so(clips_dir: Path, built: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir)
    open_build(tmp_path / "empty", plan_build(recipe)[0])
    with pytest.raises(InputError, match="no committed stream"):
        write_report(tmp_path / "empty")
    partial = Path(shutil.copytree(built, tmp_path / "partial"))
    BuildDir(partial).manifest_path(1).unlink()
    assert data_of(write_report(partial))["status"]["shards"] == {"planned": 4, "committed": 3, "failed": 0}


def test_share_alike_and_unknown_licences_are_flagged(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))

    def relicense(number: int, key: str, members: Members) -> Members:
        plan = json.loads(members["json"])
        plan["clips"][0]["licence"] = ("Attribution-ShareAlike 3.0 Unported", "CC BY-ND 4.0")[number % 2]
        return members | {"json": json.dumps(plan).encode()}

    rewrite(copy, 0, relicense)
    notes = {row["licence"]: row["note"] for row in data_of(write_report(copy))["sources"]}
    assert (
        "share-alike" in notes["CC-BY-SA-3.0"]
        and "do not redistribute" in notes["CC-BY-ND-4.0"]
        and "do not redistribute" in notes["unknown"]
    )


def test_a_spectrum_shows_a_tone_where_it_is() -> None:
    import io

    import matplotlib.image

    tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000).astype(np.float32)
    picture = matplotlib.image.imread(io.BytesIO(spectrum_png(tone)))[:, :, :3].sum(axis=2)
    brightest = int(picture[:, picture.shape[1] // 2].argmax())
    edges = np.geomspace(60, 8000, 97)[::-1]
    assert edges[brightest + 1] * 0.9 <= 1000 <= edges[brightest] * 1.1


def browse(page: Path, *more: str, fragment: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--mute-audio"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", *more, page.as_uri() + fragment]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)


@needs_browser
def test_a_real_browser_draws_every_stream_without_an_error(page: Path) -> None:
    for number, sample in enumerate(data_of(page)["samples"], 1):
        shown = browse(page, "--dump-dom", fragment=f"#{number}")
        assert "CONSOLE" not in shown.stderr, shown.stderr[-2000:]
        assert f'data-drawn="{sample["sample_id"]}"' in shown.stdout
        assert shown.stdout.count('class="cell ') == sample["chunks"]
        assert shown.stdout.count('class="cell response') == len(sample["responses"])
        assert shown.stdout.count('<g class="event"') == len(sample["clips"]) + len(sample["noises"])
        assert all(html.escape(response["text"], quote=False) in shown.stdout for response in sample["responses"])


@needs_browser
def test_hostile_labels_are_shown_as_text(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    hostile = "</script><img src=x onerror=\"document.body.dataset.owned='yes'\"><b>"

    def poison(number: int, key: str, members: Members) -> Members:
        plan = json.loads(members["json"])
        for clip in plan["clips"]:
            clip |= {"label": hostile, "caption": hostile, "source": hostile}
        plan["instruction"] = hostile
        return members | {"json": json.dumps(plan).encode()}

    for shard in range(4):
        rewrite(copy, shard, poison)
    shown = browse(write_report(copy), "--dump-dom")
    assert "data-drawn" in shown.stdout and "data-owned" not in shown.stdout and "<img" not in shown.stdout


@needs_browser
def test_a_screenshot_shows_more_than_an_empty_page(page: Path, tmp_path: Path) -> None:
    import matplotlib.image

    browse(page, "--window-size=1200,900", f"--screenshot={tmp_path / 'shot.png'}")
    picture = matplotlib.image.imread(tmp_path / "shot.png")
    assert picture.shape[:2] == (900, 1200) and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 300


def test_the_number_of_players_follows_the_build(clips_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", clips_dir, streams=1, shards=1, tasks={"voice_chat": 1})
    build(recipe, tmp_path / "out", executor="inline")
    assert len(data_of(write_report(tmp_path / "out", samples=8))["samples"]) == 1


def test_a_curated_build_has_outcomes_cost_and_scenarios(curated: Path, tmp_path: Path) -> None:
    data = data_of(write_report(curated, tmp_path / "report.html", samples=4))
    manifests = BuildDir(curated).manifests()
    counts = {row["name"]: row["count"] for row in data["curation"]["funnel"]}
    assert counts["planned events"] == sum(manifest.verdicts["events"] for manifest in manifests)
    played = sum(counts[name] for name in counts if name.startswith("retrieved at rank ")) + counts["generated"]
    assert counts["planned events"] == played + counts["left out"] > 0
    refused = next(row for row in data["curation"]["funnel"] if row["name"] == "rejected candidates")
    assert sum(refused["reasons"].values()) == refused["count"] > 0
    costs = {row["role"]: row for row in data["curation"]["costs"]}
    assert set(costs) == {"scenario_planner", "event_refiner"} and costs["event_refiner"]["calls"] >= 16
    assert data["curation"]["spent"].startswith(f"{costs['scenario_planner']['calls'] + costs['event_refiner']['calls']} calls")
    for sample in data["samples"]:
        assert sample["story"]["planned"] and len(sample["story"]["events"]) >= len(sample["clips"])


def test_a_build_without_a_language_model_has_no_curation(page: Path) -> None:
    data = data_of(page)
    assert data["curation"] is None and all(sample["story"] is None for sample in data["samples"])


@needs_browser
def test_a_real_browser_draws_the_curated_page(curated: Path, tmp_path: Path) -> None:
    page = write_report(curated, tmp_path / "report.html", samples=2)
    shown = browse(page, "--dump-dom", fragment="#2")
    assert "CONSOLE" not in shown.stderr, shown.stderr[-2000:]
    assert (
        "retrieved at rank 1" in shown.stdout and '<section id="curation">' in shown.stdout and '<div id="story">' in shown.stdout
    )
