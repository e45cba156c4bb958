"""`soundflow audit`: what a model finds borderline, or contradicts, is discarded; nothing is written when the server breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.speech.audit import AuditSummary, audit_manifest, read_rules
from soundflow.schemas.base import InputError
from soundflow.schemas.decision import DecisionRules
from tests.operators.curate.chats import config, key
from tests.support import llm_roles as roles
from tests.support.hostile_llm import Fault, HostileLlm, always

__all__ = ["key"]
ROWS: list[dict[str, Any]] = [
    {"path": "1.wav", "label": "siren", "caption": "a siren"},
    {"path": "2.wav", "label": "siren", "caption": "a siren"},
    {"path": "3.wav", "label": "owl"},
    {"path": "4.wav", "label": "unknown thing"},
    {"path": "5.wav", "label": "speech", "transcript": "Help, a fire!"},
    {"path": "6.wav", "label": "thunder", "role": "noise_ambient"},
    {"path": "7.wav", "label": "glass crash"},
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path / "manifest.jsonl"


def audited(source: Path, server: HostileLlm, rules: DecisionRules | None = None, **settings: Any) -> AuditSummary:
    waits = {"timeout_seconds": 30, "backoff_seconds": 0.001} | settings
    answers = AnswerCache(source.parent / "answers")
    return audit_manifest(
        source, source.with_name("out.jsonl"), config(server, waits, max_tokens=256), answers=answers, rules=rules
    )


def kept(source: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in source.with_name("out.jsonl").read_text().splitlines()]


def test_each_kind_of_sound_is_asked_about_once_and_agreement_keeps_it(source: Path) -> None:
    with HostileLlm() as server:
        summary = audited(source, server)
        assert server.calls == 3  # siren, owl, glass crash
        assert summary == audited(source, server) and server.calls == 3
    assert kept(source) == ROWS and summary.discarded == {} and summary.verdicts == {"borderline": 1, "ignore": 1, "respond": 2}


def test_borderline_and_contradicted_sounds_are_discarded_with_their_reasons(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def auditor(blocks: list[Any], system: str, rng: object) -> dict[str, Any]:
        verdict = {"siren": "borderline", "owl": "respond", "glass crash": "respond"}[blocks[0]["label"]]
        four = {"illness": False, "weather": False, "damage": False, "hazard": verdict == "respond"}
        return {"reason": "It depends.", **four, "verdict": verdict}

    monkeypatch.setattr(roles, "_audit", auditor)
    with HostileLlm() as server:
        summary = audited(source, server)
    assert summary.discarded == {"borderline": 2, "contradicts_its_words": 1}
    assert [row["path"] for row in kept(source)] == ["4.wav", "5.wav", "6.wav", "7.wav"]
    discarded = source.with_name("out.jsonl.discarded.jsonl").read_text().splitlines()
    assert len(discarded) == 3 and all("It depends." in line for line in discarded)


def test_decisions_of_manifest_and_recipe_are_audited_instead_of_the_words(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest lets the second siren be ignored and leaves the third open; the recipe lets the owl be answered."""

    def auditor(blocks: list[Any], system: str, rng: object) -> dict[str, Any]:
        four = {"illness": False, "weather": False, "damage": False, "hazard": True}
        return {"reason": "It is.", **four, "verdict": "respond"}

    monkeypatch.setattr(roles, "_audit", auditor)
    rows = [{"path": "1.wav", "label": "siren"}, {"path": "2.wav", "label": "siren", "decision": "Ignore"}]
    rows += [{"path": "3.wav", "label": "siren", "decision": "borderline"}, {"path": "4.wav", "label": "owl"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = source.with_name("recipe.yaml")
    recipe.write_text("llm: {model: some}\ntaxonomy: {'ow*': respond}\n")
    with HostileLlm() as server:
        summary = audited(source, server, rules=read_rules(recipe))
    assert [row["path"] for row in kept(source)] == ["1.wav", "3.wav", "4.wav"]
    assert summary.discarded == {"contradicts_its_decision": 1}
    source.write_text('{"path": "1.wav", "label": "siren", "decision": "maybe"}\n')
    with HostileLlm() as server, pytest.raises(InputError, match=r"decision: row 1 has no known decision \(got 'maybe'\)"):
        audited(source, server)


def test_a_dead_server_writes_nothing_and_bad_manifests_are_errors(source: Path) -> None:
    with HostileLlm(always(Fault.ERROR_500)) as server:
        summary = audited(source, server, retries=0)
        assert summary.failed == 3 and not source.with_name("out.jsonl").exists()
        source.write_text("[1]\n")
        with pytest.raises(InputError, match="line 1: is not a JSON object"):
            audited(source, server)
        source.write_text('{"path": "a.wav"}\n{"path": "b.wav", "label": "x", "label": "y"}\n')
        with pytest.raises(InputError, match=r"line 2: is not JSON: the key 'label' is given twice"):
            audited(source, server)
        source.write_text("path,label\n")
        with pytest.raises(InputError, match=r"line 1: is not JSON.*JSON object per line"):
            audited(source, server)
