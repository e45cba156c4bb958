"""The checks of `soundflow verify` on curated scenes: verdicts are derived from their evidence, scenes from the verdicts."""

from __future__ import annotations

from collections.abc import Iterator

from soundflow.operators.curate.clip_evidence import RequiredClip
from soundflow.operators.curate.verifying import Rules
from soundflow.operators.tasks import POLICIES
from soundflow.operators.tasks.supervision import MODEL_PREFIX
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.curate.scenes import EMBEDDER, count_verdicts
from soundflow.schemas.base import InputError
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.sheet import Curation, GroundedEvent, Tried


def sheet_problems(build: BuildDir, record: BuildRecord, manifest: ShardManifest) -> Iterator[str]:
    """Yield what is wrong with the curated scenes of a committed shard."""
    sheet = build.sheet(manifest.shard, record.fingerprint)
    path = build.sheet_path(manifest.shard)
    if sheet is None:
        yield f"{path.name} is missing or belongs to another build"
        return
    if sheet.digest() != manifest.scenes_sha256:
        yield f"{path.name} has hash {sheet.digest()[:12]}, the manifest has {str(manifest.scenes_sha256)[:12]}"
    if count_verdicts(sheet) != manifest.verdicts:
        yield "the verdict counts of the manifest differ from those of the sheet"
    sizes = record.recipe.shard_sizes()
    if [sample.index for sample in sheet.samples] != list(range(sizes[manifest.shard])):
        yield "the samples of the sheet differ from those of its shard"
    rules = None
    if record.recipe.verifier.verifier == "rules":
        try:
            rules = Rules(record.recipe.verifier, record.curators.get(EMBEDDER, ""))
        except InputError as error:
            yield f"the verdicts cannot be checked: {error}"
    for sample in sheet.samples:
        for attempt, curation in enumerate(sample.curations):
            for detail in _curation_problems(rules, curation):
                yield f"sample {sample.index}, attempt {attempt}: {detail}"
        if any(curation.scene is not None for curation in sample.curations[:-1]):
            yield f"sample {sample.index}: there is an attempt after the one that gave a scene"


def _curation_problems(rules: Rules | None, curation: Curation) -> Iterator[str]:
    if (curation.scene is None) == (not curation.refused):
        yield "has both a scene and a rejection reason, or neither"
    for event in curation.events:
        yield from _event_problems(rules, curation, event)
    scene = curation.scene
    if scene is None:
        return
    if (scene.task, scene.planner, scene.title) != (curation.task, curation.planner, curation.title):
        yield "task, planner or title of the scene differ from the plan"
    if POLICIES[curation.task].has_fixed_order:
        if curation.planner != "template" or curation.events:
            yield f"clips of {curation.task.value} are not chosen by a model, but the sheet has a planner or events of one"
        return
    if not curation.planner.startswith(MODEL_PREFIX):
        yield f"planner {curation.planner!r} is not a language model"
    playing = [(event.clip_id, event.planned.role) for event in curation.events if event.clip_id is not None]
    if [(event.clip_id, event.role.value) for event in scene.events] != playing:
        yield "the clips of the scene differ from the accepted ones"


def _event_problems(rules: Rules | None, curation: Curation, event: GroundedEvent) -> Iterator[str]:
    name = f"event {event.planned.order}"
    policy = POLICIES[curation.task]
    required = RequiredClip(
        query=event.refined.query,
        caption=event.refined.caption,
        role=event.planned.role,
        seconds=(event.refined.min_seconds, event.refined.max_seconds),
        speech=policy.responds_to_speech and event.planned.responds,
    )
    for tried in event.tried:
        yield from (f"{name}: {detail}" for detail in _verdict_problems(rules, required, tried))
    accepted = [tried for tried in event.tried if not tried.refused]
    if event.clip_id is not None and accepted != list(event.tried[-1:]):
        yield f"{name} is in the scene, but its last candidate was not accepted"
    if event.clip_id is None and not event.left_out:
        yield f"{name} is left out without a reason"


def _verdict_problems(rules: Rules | None, required: RequiredClip, tried: Tried) -> Iterator[str]:
    last = tried.judged[-1].verdict.verdict if tried.judged else ""
    if (last == "accept") != (not tried.refused):
        yield f"{tried.clip_id}: the last verdict is {last!r}, but the rejection reason is {tried.refused!r}"
    for number, one in enumerate(tried.judged):
        if rules is not None and one.verdict != rules.verdict(required, one.evidence, final=number > 0):
            yield f"{tried.clip_id}: the verdict does not follow from its evidence"
