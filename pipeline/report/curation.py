"""The curation section of a report: events and candidates by outcome, cost per role, and the scenarios of the shown streams."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from soundflow.backends.calls.metering import MeterState
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.scene_view import curated_view
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import RoleCost
from soundflow.schemas.shard import ShardManifest
from soundflow.schemas.stream import StreamPlan

KINDS: Final = {"retrieved": "foreground", "generated": "response", "left_out": "background"}
"""Outcome of an event → CSS class, which sets its colour."""


def curation_data(build: BuildDir, manifests: list[ShardManifest]) -> dict[str, Any] | None:
    """Return outcomes, reasons and costs over all shards; None when no language model planned the scenes."""
    if not any(manifest.scenes_sha256 for manifest in manifests):
        return None
    counts: Counter[str] = Counter()
    cost: dict[str, RoleCost] = {}
    for manifest in manifests:
        counts.update(manifest.verdicts)
        for role, one in manifest.cost.items():
            cost[role] = cost.get(role, RoleCost()) + one
    return {
        "funnel": funnel(counts),
        "costs": [_cost_row(role, one) for role, one in sorted(cost.items())],
        "spent": _spent(build),
    }


def funnel(counts: Counter[str]) -> list[dict[str, Any]]:
    """Return the rows of the bar chart: name, count, CSS class, and the count of each reason."""

    def row(name: str, count: int, kind: str, reasons: str = "") -> dict[str, Any]:
        why = {key.partition(":")[2]: value for key, value in sorted(counts.items()) if reasons and key.startswith(reasons)}
        return {"name": name, "count": count, "kind": kind, "reasons": why}

    refused_scenes = sum(value for key, value in counts.items() if key.startswith("refused_scene:"))
    refused = sum(value for key, value in counts.items() if key.startswith("refused:"))
    own_words = sum(value for key, value in counts.items() if key.startswith("own_words:"))
    retrieved = sorted((key for key in counts if key.startswith("retrieved@")), key=lambda key: int(key.partition("@")[2]))
    return [
        row("planned scenarios", counts["scenes"] + refused_scenes, "foreground"),
        row("rejected scenarios", refused_scenes, "background", "refused_scene:"),
        row("planned events", counts["events"], "foreground"),
        *(row(f"retrieved at rank {key.partition('@')[2]}", counts[key], "ambient") for key in retrieved),
        row("generated", counts["generated"], "ambient"),
        row("cleaned a second time", counts["reprocessed"], "ambient"),
        row("left out", counts["left_out"], "background"),
        row("rejected candidates", refused, "response", "refused:"),
        row("rejected wordings of responses", own_words, "response", "own_words:"),
    ]


def _cost_row(role: str, cost: RoleCost) -> dict[str, Any]:
    return {
        "role": role,
        "calls": cost.asked.calls,
        "tokens": cost.asked.tokens,
        "money": cost.asked.money,
        "replayed_calls": cost.replayed.calls,
        "replayed_money": cost.replayed.money,
        "faults": cost.faults,
        "thoughts": cost.thoughts,
    }


def _spent(build: BuildDir) -> str:
    """Return the usage of all runs of the build, killed ones included; empty when there was no call."""
    try:
        state = MeterState.from_file(build.spent_path)
    except (FileNotFoundError, InputError):
        return ""
    return (state.spent + state.unbilled).describe()


def story(build: BuildDir, plan: StreamPlan) -> dict[str, Any] | None:
    """Return the curated scene of a stream, or None when a planner without a language model drew it."""
    sheet = build.sheet(plan.shard, plan.fingerprint) if plan.planner.startswith("llm:") else None
    if sheet is None or plan.index >= len(sheet.samples):
        return None
    words = {clip.clip_id: f"“{clip.transcript}”" if clip.transcript else f"({clip.label})" for clip in plan.clips}
    return curated_view(plan.sample_id, sheet.samples[plan.index], lambda clip_id: words.get(clip_id, "")).to_json()
