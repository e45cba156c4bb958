"""Builds whose scenes are planned by a language model: faults, budgets, kills. No request is repeated and no sample is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundflow.pipeline.build.run import build
from soundflow.pipeline.check.verify import verify
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent
from tests.pipeline.build.test_kill import start
from tests.pipeline.curated import write_curated
from tests.support.corpus import corpus
from tests.support.hostile_llm import BAD_ANSWERS, TRANSIENT, Fault, HostileLlm, Script, always, digest

KILLS = int(os.environ.get("SOUNDFLOW_KILLS", "4"))
"""How often a build is killed: `SOUNDFLOW_KILLS=20` for all of them."""


@pytest.fixture(autouse=True)
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An answer cache of the test's own; no key, no other server."""
    monkeypatch.setenv("SOUNDFLOW_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return tmp_path / "answers"


@pytest.fixture
def server() -> Iterator[HostileLlm]:
    """A server that behaves."""
    with HostileLlm() as running:
        yield running


def accounted(out: Path) -> tuple[int, int, int]:
    """(committed, rejected, quarantined) samples; every manifest accounts for every sample."""
    manifests = BuildDir(out).manifests()
    assert all(len(one.keys) + len(one.rejected) + len(one.quarantined) == one.planned for one in manifests)
    assert all(entry.reason for one in manifests for entry in one.rejected)
    sums = [sum(len(getattr(one, name)) for one in manifests) for name in ("keys", "rejected", "quarantined")]
    return sums[0], sums[1], sums[2]


def in_turn(share: float, kinds: tuple[Fault, ...], slow: tuple[Fault, ...]) -> Script:
    """A share of all calls goes wrong, with each kind in turn, so that none is left out; with the slow ones only once."""
    turn = itertools.chain(slow, itertools.cycle(kinds))

    def script(body: dict[str, Any], before: int) -> Fault | None:
        goes_wrong = digest(f"{before}/{json.dumps(body, sort_keys=True)}") % 1000 < 1000 * share
        return next(turn) if goes_wrong else None

    return script


def test_with_a_third_of_all_calls_failing_every_sample_is_accounted_for_and_no_request_repeated(
    hostile_clips: Path, tmp_path: Path
) -> None:
    kinds, slow = (*TRANSIENT, *BAD_ANSWERS), (Fault.HANG, Fault.DRIP, Fault.HANG)
    with HostileLlm(in_turn(0.3, kinds, slow)) as server:
        settings = server.settings(timeout_seconds=4).model_dump(mode="json", exclude_unset=True)
        change = {"verifier": {"verifier": "llm"}, "streams": 24}
        recipe = write_curated(tmp_path / "recipe.yaml", hostile_clips, server, {"server": settings}, **change)
        status = build(recipe, tmp_path / "out", executor="inline")
        assert set(server.faults) == {*kinds, *slow} and server.roles["clip_verifier"] > 20
        assert 0.2 < server.faults.total() / server.calls < 0.4
        assert max(server.answered.values()) == 1
    assert status.shards.committed == 4
    committed, rejected, quarantined = accounted(tmp_path / "out")
    assert committed > 6 and committed + rejected == 24 and quarantined == 0
    assert verify(tmp_path / "out", sample=4).problems == ()
    plans = [manifest.verdicts for manifest in BuildDir(tmp_path / "out").manifests()]
    assert sum(counts["scenes"] for counts in plans) == committed


def test_a_second_build_makes_no_request_and_the_same_corpus(clips_dir: Path, server: HostileLlm, tmp_path: Path) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server)
    build(recipe, tmp_path / "first", executor="inline")
    calls = server.calls
    assert calls > 20
    server.script = always(Fault.UNAUTHORIZED)
    build(recipe, tmp_path / "second", executor="inline")
    assert server.calls == calls and corpus(tmp_path / "first") == corpus(tmp_path / "second")
    sheets = [[BuildDir(tmp_path / name).sheet_path(shard).read_bytes() for shard in range(4)] for name in ("first", "second")]
    costs = [manifest.cost for manifest in BuildDir(tmp_path / "second").manifests()]
    assert sheets[0] != sheets[1], "the second build paid nothing, and says so"
    assert all(cost["scenario_planner"].asked.calls == 0 < cost["scenario_planner"].replayed.calls for cost in costs)


def test_rendering_again_makes_no_request_even_without_the_cache(
    clips_dir: Path, server: HostileLlm, answers: Path, tmp_path: Path
) -> None:
    recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server)
    out = tmp_path / "out"
    build(recipe, out, executor="inline")
    before, calls = corpus(out), server.calls
    answers.rename(tmp_path / "lost")
    for path in (out / "manifest").iterdir():
        path.unlink()
    build(recipe, out, executor="inline")
    assert server.calls == calls and corpus(out) == before


def test_a_spent_budget_ends_the_build_cleanly_and_a_larger_one_resumes_it(
    clips_dir: Path, server: HostileLlm, tmp_path: Path
) -> None:
    recipe = write_curated(tmp_path / "whole.yaml", clips_dir, server)
    build(recipe, tmp_path / "whole", executor="inline")
    os.environ["SOUNDFLOW_ANSWERS"] = str(tmp_path / "others")
    calls = server.calls
    small = write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"budget": {"calls": 15}})
    out = tmp_path / "out"
    stopped = subprocess.run(
        [sys.executable, "-m", "soundflow", "build", str(small), "-o", str(out), "--executor", "inline"],
        capture_output=True,
        text=True,
    )
    assert stopped.returncode == 3, stopped.stderr
    assert (
        "budget of calls 15" in stopped.stderr
        and "spent so far: 15 calls" in stopped.stderr
        and "Traceback" not in stopped.stderr
    )
    assert server.calls == calls + 15
    assert 0 < len(corpus(out)) < 4 and set(corpus(out).items()) <= set(corpus(tmp_path / "whole").items())
    with pytest.raises(BudgetSpent, match="spent so far: 15 calls"):
        build(small, out, executor="inline")
    build(write_curated(tmp_path / "recipe.yaml", clips_dir, server, {"budget": {"calls": 500}}), out, executor="inline")
    assert corpus(out) == corpus(tmp_path / "whole")
    assert server.calls == 2 * calls, "the resumed build asks for what is missing, and for nothing else"


def test_a_rejected_key_ends_the_build_with_a_message(clips_dir: Path, server: HostileLlm, tmp_path: Path) -> None:
    server.script = always(Fault.UNAUTHORIZED)
    with pytest.raises(InputError, match="rejects the API key"):
        build(write_curated(tmp_path / "recipe.yaml", clips_dir, server), tmp_path / "out", executor="inline")
    assert accounted(tmp_path / "out") == (0, 0, 0)


class Killer:
    """A server's script that kills a process after a number of calls."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.calls, self.pause = 0, 0.0

    def arm(self, calls: int, pause: float, process: subprocess.Popen[str]) -> None:
        self.calls, self.pause, self.process = calls, pause, process

    def __call__(self, body: dict[str, Any], before: int) -> Fault | None:
        self.calls -= 1
        if self.calls == 0 and self.process is not None:
            threading.Timer(self.pause, self.process.send_signal, [signal.SIGKILL]).start()
        return None


def test_kills_at_seeded_moments_of_curation_change_no_plan(clips_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2026)
    killer = Killer()
    with HostileLlm(killer, latency_seconds=0.01) as server:
        recipe = write_curated(tmp_path / "recipe.yaml", clips_dir, server, streams=4 * KILLS, shards=4)
        out = tmp_path / "out"
        killed = 0
        for number in range(KILLS):
            process = start(recipe, out, "--executor", "inline")
            killer.arm(int(rng.integers(1, 7)), float(rng.uniform(0.0, 0.08)), process)
            process.communicate(timeout=60)
            killed += process.returncode == -signal.SIGKILL
            assert all(BuildDir(out).sheet(int(path.stem), BuildDir(out).record().fingerprint) for path in sheets_of(out)), number
        assert killed >= KILLS - 1, "a build may be done before its kill"
        assert len(corpus(out)) < 4
        build(recipe, out, executor="inline")
        calls = server.calls
        build(recipe, tmp_path / "undisturbed", executor="inline")
        assert server.calls == calls
    assert corpus(out) == corpus(tmp_path / "undisturbed") and verify(out).ok
    assert digests(out) == digests(tmp_path / "undisturbed")


def digests(out: Path) -> list[str | None]:
    return [manifest.scenes_sha256 for manifest in BuildDir(out).manifests()]


def sheets_of(out: Path) -> list[Path]:
    return sorted((out / "scenes").glob("0*.json"))
