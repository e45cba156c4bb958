"""`soundflow replay`: make one sample of a build again, quarantined ones included, and explain it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundflow.pipeline.build.produce import Producer, Sample
from soundflow.pipeline.build.virtual import Samples
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import ShardError
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.pipeline.curate.scenes import pool_of, scenes_of
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.identity import parse_sample_id
from soundflow.schemas.outcome import Failed, Ok, Outcome
from soundflow.schemas.shard import BuildRecord
from soundflow.schemas.stream import StreamPlan


@dataclass(frozen=True, slots=True)
class Replay:
    """Result of making a sample again."""

    sample_id: str
    state: str
    """How the sample compares with the committed one, or what failed."""
    ok: bool
    files: tuple[str, ...]
    trace: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document that --json prints."""
        return {"sample_id": self.sample_id, "state": self.state, "ok": self.ok, "files": self.files, "trace": self.trace}

    def lines(self) -> list[str]:
        """Return the lines that are printed on the terminal."""
        return [*self.trace, *(f"wrote {file}" for file in self.files), f"{self.sample_id}: {self.state}"]


def replay(directory: Path, key: str, out: Path) -> Replay:
    """Make sample `key` of the build in `directory` again, write its files to `out` and compare them with the committed ones.

    Raises InputError when there is no such build or sample, or when the clip index is missing.
    """
    build = BuildDir(directory)
    record = build.record()
    mark, shard, index = parse_sample_id(key)
    sizes = record.recipe.shard_sizes()
    if mark != record.fingerprint[:12] or shard >= len(sizes) or index >= sizes[shard]:
        raise InputError(
            "has no such sample", file=directory, value=key, remedy="Sample ids are listed in manifest/ and quarantine/"
        )
    trace = [f"quarantined in stage {entry.stage}: {entry.error}" for entry in build.quarantine() if entry.sample_id == key]
    trace += _changed(record)
    clips = ClipIndex.open(Path(record.clips))
    if clips.content_hash != record.clip_index_hash:
        trace.append("the clip index has changed since the build")
    pool = pool_of(build, clips, record.recipe)
    producer = Producer(record.recipe, record.fingerprint, pool, scenes_of(record.recipe, record.fingerprint, pool, build))
    outcome: Outcome[Sample] = Failed("no attempt was made", "planning")
    for attempt in range(producer.scenes.attempts(shard, index)):
        outcome = producer.draw(shard, index, attempt)
        if isinstance(outcome, (Ok, Failed)):
            break
        trace.append(f"attempt {attempt}: rejected: {outcome.reason} {outcome.metrics or ''}".rstrip())
    if isinstance(outcome, Failed):
        trace += [*str(outcome.payload.get("traceback", "")).rstrip().splitlines()]
        return Replay(key, f"failed in stage {outcome.stage}: {outcome.error}", False, (), tuple(trace))
    if not isinstance(outcome, Ok):
        return Replay(key, "every attempt is rejected", True, (), tuple(trace))
    trace += explain(outcome.value.plan)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for suffix, content in outcome.value.members.items():
        path = out / f"{key}.{suffix}"
        path.write_bytes(content)
        files.append(str(path))
    state, ok = _compare(build, record, shard, key, outcome.value)
    return Replay(key, state, ok, tuple(files), tuple(trace))


def _changed(record: BuildRecord) -> list[str]:
    """Return what has changed since the build; the bytes may then differ."""
    then, now = record.operator_versions, OPERATOR_VERSIONS
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    changed = [f"{name}: the build has version {then.get(name)}, this installation has version {now.get(name)}" for name in names]
    return [*changed, "the prompts have changed since the build"] if record.prompt_hash != prompt_hash() else changed


def _compare(build: BuildDir, record: BuildRecord, shard: int, key: str, sample: Sample) -> tuple[str, bool]:
    manifest = build.committed(record.fingerprint).get(shard)
    if manifest is None or key not in manifest.keys:
        return "not committed", True
    try:
        stored = Samples(build, record).find(manifest, key)
    except (ShardError, OSError, InputError) as error:
        return f"the committed shard is damaged: {error}", False
    differing = [suffix for suffix in sample.members if stored.get(suffix) != sample.members[suffix]]
    return (
        (f"differs from the committed files: {', '.join(differing)}", False) if differing else ("same bytes as committed", True)
    )


def explain(plan: StreamPlan) -> list[str]:
    """Return lines that describe the plan of a stream in order of time."""
    lines = [f"{plan.task.value}, planner {plan.planner}: {plan.title}"]
    lines.append(f"  {plan.seconds:.1f} s, {plan.chunks} chunks, attempt {plan.attempt}, gain {plan.scale:.3f}")
    lines += [f"  drawn: {draw.what} = {draw.value}" for draw in plan.draws]
    for number, clip in sorted(enumerate(plan.clips), key=lambda item: item[1].offset):
        begin, end = (place / c.SAMPLE_RATE for place in (clip.offset, clip.offset + clip.length))
        description = f"{clip.clip_id} ({clip.label}), {clip.gain_db:+.0f} dB, {clip.licence}"
        lines.append(f"  {begin:7.2f}-{end:7.2f} s {clip.role.value}: {description}")
        for response in plan.responses:
            if response.event == number:
                late = f", due {response.due_chunk}" if response.chunk != response.due_chunk else ""
                at = f"{response.chunk * c.CHUNK_SECONDS:7.2f} s chunk {response.chunk}{late}"
                lines.append(f"  {at}: {response.text!r} ({response.source})")
    for noise in plan.noises:
        lines.append(f"  {noise.track} noise: {noise.clip_id or noise.procedural} at {noise.snr_db:.1f} dB SNR, {noise.licence}")
    return lines
