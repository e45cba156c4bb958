"""`soundflow verify`: hold every committed shard against its manifest, its plans, the clips and the recipe.

Nothing is trusted because a hash agrees: labels, timeline, levels and responses are derived again from the plan, and the plan
from clip index and recipe. Findings are listed, never raised.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from operators.clips import ClipPool
from operators.mixing import measure, to_pcm16
from operators.qwen_bpe import QwenTokenizer
from operators.supervision import disagreements, evidence
from operators.tokenize import TokenError, detokenize, from_npz, to_npz, tokenize
from pipeline.build_dir import BuildDir
from pipeline.clip_index import ClipIndex
from pipeline.produce import OPERATOR_VERSIONS, Producer
from pipeline.shards import ShardError, read_shard
from prompts import prompt_hash
from schemas import constants as c
from schemas.base import InputError
from schemas.clip import Clip
from schemas.identity import parse_sample_id, sample_id
from schemas.outcome import Ok
from schemas.recipe import fingerprint
from schemas.shard import BuildRecord, Problem, ShardManifest, VerifyReport
from schemas.stream import PlannedClip, PlannedNoise, StreamPlan, due_chunk
from schemas.tokens import layout_of

SNR_TOLERANCE_DB: Final = 0.1
PCM_STEP: Final = 1 / 32767


def verify(directory: Path, sample: int = 0, seed: int = 0) -> VerifyReport:
    """Check every committed shard of a build; `sample` > 0 also makes that many samples again and compares bytes.

    Raises InputError only when `directory` is no build.
    """
    build = BuildDir(directory)
    record = build.record()
    problems: list[Problem] = []
    index = _index(record, problems)
    problems += _record_problems(record)
    checker = _Checker(build, record, index)
    keys: list[str] = []
    shards = 0
    for path in build.manifest_paths():
        shards += 1
        try:
            manifest = ShardManifest.from_json(path.read_bytes(), file=path)
        except (InputError, OSError) as error:
            problems.append(Problem(shard=_number(path), key="", check="manifest", detail=str(error)))
            continue
        problems += checker.shard(path, manifest)
        keys += manifest.keys
    if sample and index is not None:
        chosen = np.random.Generator(np.random.PCG64(seed)).permutation(len(keys))[:sample]
        problems += _render_again(build, record, index, sorted(keys[number] for number in chosen))
    elif sample:
        problems.append(Problem(shard=-1, key="", check="render", detail="no sample can be made again without the clip index"))
    return VerifyReport(ok=not problems, shards=shards, streams=len(keys), problems=tuple(problems))


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else -1


def _index(record: BuildRecord, problems: list[Problem]) -> ClipIndex | None:
    try:
        index = ClipIndex.open(Path(record.clips))
    except InputError as error:
        problems.append(Problem(shard=-1, key="", check="clips", detail=str(error)))
        return None
    if index.content_hash != record.clip_index_hash:
        detail = f"the clip index at {record.clips} is not the one this was built from: it has changed since"
        problems.append(Problem(shard=-1, key="", check="clips", detail=detail))
        return None
    return index


def _record_problems(record: BuildRecord) -> Iterator[Problem]:
    derived = fingerprint(record.recipe, record.clip_index_hash, record.prompt_hash, record.operator_versions)
    if derived != record.fingerprint:
        detail = f"build.json says {record.fingerprint[:12]}, its recipe and versions give {derived[:12]}"
        yield Problem(shard=-1, key="", check="fingerprint", detail=detail)


class _Checker:
    def __init__(self, build: BuildDir, record: BuildRecord, index: ClipPool | None):
        self.build, self.record, self.index = build, record, index
        self.tokenizer = QwenTokenizer.load()
        self.sizes = record.recipe.shard_sizes()
        self.same_words = record.prompt_hash == prompt_hash() and record.operator_versions == OPERATOR_VERSIONS
        self.clips: dict[str, Clip | None] = {}

    def shard(self, path: Path, manifest: ShardManifest) -> Iterator[Problem]:
        """Findings about one shard."""

        def problem(check: str, detail: str, key: str = "") -> Problem:
            return Problem(shard=_number(path), key=key, check=check, detail=detail)

        if manifest.fingerprint != self.record.fingerprint:
            yield problem(
                "fingerprint", f"the manifest is of {manifest.fingerprint[:12]}, the build of {self.record.fingerprint[:12]}"
            )
        if path.name != f"{manifest.shard:06d}.json" or manifest.shard >= len(self.sizes):
            yield problem("manifest", f"{path.name} says it is shard {manifest.shard} of {len(self.sizes)}")
            return
        tar = self.build.data / manifest.tar
        try:
            with tar.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = tar.stat().st_size
        except OSError as error:
            yield problem("truncated", f"{manifest.tar} cannot be read: {error.strerror}")
            return
        if size != manifest.bytes:
            yield problem("truncated", f"{manifest.tar} has {size} bytes, the manifest says {manifest.bytes}")
        if digest != manifest.sha256:
            yield problem("sha256", f"{manifest.tar} is {digest[:12]}, the manifest says {manifest.sha256[:12]}")
        plans: list[StreamPlan] = []
        keys: list[str] = []
        try:
            for key, members in read_shard(tar):
                keys.append(key)
                plan, findings = self.sample(key, members, manifest)
                yield from (problem(check, detail, key) for check, detail in findings)
                plans += [plan] if plan is not None else []
        except (ShardError, OSError) as error:
            check = "truncated" if "truncated" in str(error) else "members"
            yield problem(check, f"{manifest.tar}: {error}")
        for detail in self._counts(manifest, keys, plans):
            yield problem("manifest", detail)

    def _counts(self, manifest: ShardManifest, keys: list[str], plans: list[StreamPlan]) -> Iterator[str]:
        if tuple(keys) != manifest.keys:
            missing, extra = sorted(set(manifest.keys) - set(keys)), sorted(set(keys) - set(manifest.keys))
            yield f"keys differ: missing from the tar {missing[:3]}, unknown to the manifest {extra[:3]}"
        told = {*manifest.keys, *(entry.sample_id for entry in manifest.rejected), *manifest.quarantined}
        planned = {sample_id(manifest.fingerprint, manifest.shard, number) for number in range(self.sizes[manifest.shard])}
        if told != planned or manifest.planned != len(planned):
            yield f"accounts for {len(told & planned)} of {len(planned)} planned samples"
        if len(plans) == len(manifest.keys):
            counted = {
                "chunks": sum(plan.chunks for plan in plans),
                "responses": sum(len(plan.responses) for plan in plans),
                "seconds": sum(plan.chunks for plan in plans) * c.CHUNK_SAMPLES / c.SAMPLE_RATE,
                "tasks": dict(Counter(plan.task.value for plan in plans)),
            }
            for name, value in counted.items():
                if getattr(manifest, name) != value:
                    yield f"{name}: {getattr(manifest, name)} in the manifest, {value} in the tar"

    def sample(
        self, key: str, members: dict[str, bytes], manifest: ShardManifest
    ) -> tuple[StreamPlan | None, list[tuple[str, str]]]:
        """The plan of one sample, if it has one, and findings about the sample as (check, detail)."""
        audio_kind = self.record.recipe.output.audio
        wanted = {audio_kind, "json", "tokens.npz"}
        found: list[tuple[str, str]] = []
        if set(members) != wanted:
            found.append(("members", f"missing {sorted(wanted - set(members))}, unexpected {sorted(set(members) - wanted)}"))
        if "json" not in members:
            return None, found
        try:
            plan = StreamPlan.from_json(members["json"], file=f"{key}.json")
        except InputError as error:
            return None, [*found, ("labels", str(error))]
        found += [*self._identity(key, plan, manifest), *self._timeline(plan), *self._clips(plan)]
        if audio_kind in members:
            found += self._audio(plan, members[audio_kind])
        if "tokens.npz" in members:
            found += self._tokens(plan, members["tokens.npz"])
        return plan, found

    def _identity(self, key: str, plan: StreamPlan, manifest: ShardManifest) -> Iterator[tuple[str, str]]:
        if plan.fingerprint != self.record.fingerprint:
            yield "fingerprint", f"the plan is of {plan.fingerprint[:12]}"
        if key != plan.sample_id or key != sample_id(plan.fingerprint, plan.shard, plan.index) or plan.shard != manifest.shard:
            yield "manifest", f"the plan says it is {plan.sample_id}, sample {plan.index} of shard {plan.shard}"

    def _timeline(self, plan: StreamPlan) -> Iterator[tuple[str, str]]:
        """Chunk numbers follow from the evidence; answers follow from the clips."""
        free = 1
        for response in sorted(plan.responses, key=lambda item: item.chunk):
            at = plan.clips[response.event].evidence
            due = due_chunk(at) if at else 0
            if response.due_chunk != due or response.chunk != max(due, free):
                opens = f"opens at chunk {response.chunk} (due {response.due_chunk})"
                yield "response", f"the response to event {response.event} {opens}, its evidence says {due}"
            free = response.chunk + 1
        if self.same_words:
            for detail in disagreements(plan):
                yield "labels", detail

    def _clips(self, plan: StreamPlan) -> Iterator[tuple[str, str]]:
        for number, planned in enumerate(plan.clips):
            told = plan.reference_level_dbfs - planned.active_level_db + planned.gain_db
            if abs(20 * np.log10(planned.amplitude) - told) > 1e-6:
                yield "clips", f"event {number}: amplitude {planned.amplitude:.4g} is not the {told:.2f} dB of its levels"
            clip = self._clip(planned.clip_id)
            if self.index is None:
                continue
            if clip is None:
                yield "clips", f"event {number}: no clip {planned.clip_id!r} in the index"
                continue
            for name in _SHARED:
                if getattr(clip, name) != getattr(planned, name):
                    there, known = getattr(planned, name), getattr(clip, name)
                    check = "labels" if name in ("label", "caption", "transcript", "reply") else "clips"
                    yield check, f"event {number} ({clip.id}): {name} is {there!r}, the index says {known!r}"
            if planned.evidence is not None and planned.start == 0 and planned.length == clip.samples:
                seconds = self.record.recipe.scene.proactive_evidence_seconds
                due = planned.offset + evidence(plan.task, clip.active_end, clip.samples, seconds)
                if self.same_words and planned.evidence != due:
                    yield "response", f"event {number}: evidence at {planned.evidence}, the clip says {due}"

    def _clip(self, clip_id: str) -> Clip | None:
        if clip_id not in self.clips and self.index is not None:
            try:
                self.clips[clip_id] = self.index.get(clip_id)
            except KeyError:
                self.clips[clip_id] = None
        return self.clips.get(clip_id)

    def _audio(self, plan: StreamPlan, data: bytes) -> Iterator[tuple[str, str]]:
        try:
            pcm, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        except (RuntimeError, ValueError, OSError) as error:
            yield "duration", f"the audio cannot be decoded: {error}"
            return
        if pcm.shape != (plan.samples,) or rate != c.SAMPLE_RATE:
            yield "duration", f"audio of shape {pcm.shape} at {rate} Hz, the plan says {plan.chunks} chunks"
            return
        limit = self.record.recipe.mixing.peak_limit
        peak = float(np.abs(pcm.astype(np.int32)).max()) * PCM_STEP
        if peak > limit + PCM_STEP:
            yield "peak", f"{peak:.4f}, the limit is {limit}"
        for noise in plan.noises:
            snr = 10 * np.log10(plan.main_power / (noise.amplitude**2 * noise.power))
            if abs(snr - noise.snr_db) > SNR_TOLERANCE_DB:
                yield "snr", f"{noise.track} noise: amplitude and powers give {snr:.2f} dB, the plan says {noise.snr_db:.2f}"
        if self.index is None:
            return
        try:
            measured = measure(plan, self._load, peak_limit=limit)
        except (KeyError, OSError, ValueError, InputError) as error:
            yield "clips", f"the tracks cannot be built again: {error}"
            return
        for deviation in measured.deviations:
            yield "peak" if deviation.startswith("peak") else "snr", deviation
        if not np.array_equal(to_pcm16(measured.audio), pcm):
            yield "render", "the audio is not what the plan renders to"

    def _load(self, item: PlannedClip | PlannedNoise) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        assert self.index is not None and item.clip_id is not None
        clip = self.index.get(item.clip_id)
        if clip.clean_sha256 != item.clean_sha256:
            raise ValueError(f"clip {clip.id!r} has other audio than the plan names")
        return self.index.audio(clip)

    def _tokens(self, plan: StreamPlan, data: bytes) -> Iterator[tuple[str, str]]:
        try:
            tokens = from_npz(data)
            said = detokenize(tokens, self.tokenizer)
            layout = layout_of(plan.token_layout)
        except (TokenError, InputError) as error:
            yield "timeline", f"the tokens cannot be read: {error}"
            return
        if (said.instruction, said.chunks, said.timeline) != (plan.instruction, plan.chunks, plan.timeline()):
            yield "timeline", "the tokens tell another instruction, length or timeline than the plan"
        if to_npz(tokenize(plan.instruction, plan.chunks, plan.timeline(), self.tokenizer, layout)) != data:
            yield "labels", "X, y_stream or y_lm is not what the plan gives"


_SHARED: Final = (
    "content_sha256", "clean_sha256", "kind", "label", "caption", "transcript", "reply", "source", "licence",
    "attribution", "active_level_db",
)  # fmt: skip


def _render_again(build: BuildDir, record: BuildRecord, index: ClipIndex, keys: list[str]) -> Iterator[Problem]:
    producer = Producer(record.recipe, record.fingerprint, index)
    wanted = set(keys)
    for manifest in build.manifests():
        if not wanted & set(manifest.keys):
            continue
        try:
            stored = {key: members for key, members in read_shard(build.data / manifest.tar) if key in wanted}
        except (ShardError, OSError):
            continue  # told above
        for key, members in stored.items():
            _, shard, number = parse_sample_id(key)
            made = producer.produce(shard, number).outcome
            if not isinstance(made, Ok):
                yield Problem(shard=shard, key=key, check="render", detail=f"made again it is {made}")
                continue
            differs = [name for name in members if made.value.members.get(name) != members[name]]
            if differs:
                yield Problem(shard=shard, key=key, check="render", detail=f"made again, {differs} have other bytes")
