"""The strict reader of what a build has committed: manifests, tars and their samples, each compared with what names it.

A reader that publishes or compares goes through this module. What it finds wrong is a `ShardError` with the file and the command
that makes the shard again, or a finding of `soundflow verify`. `BuildDir.ledger` is lenient instead: a resumed build makes again
whatever is not intact.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.shards import read_shard
from soundflow.pipeline.corpus.versions import OPERATOR_VERSIONS
from soundflow.prompts import prompt_hash
from soundflow.schemas import constants as c
from soundflow.schemas.base import InputError
from soundflow.schemas.documents import NotJsonError, json_value
from soundflow.schemas.regular_file import open_regular, read_regular
from soundflow.schemas.shard import BuildRecord, ShardManifest
from soundflow.schemas.stream import StreamPlan
from soundflow.schemas.ustar import ShardError

Finding = tuple[str, str]
"""(check, detail); the check is a slug of `schemas.shard.Problem`."""
Pcm = NDArray[np.int16]
MEMBERS_BESIDE_AUDIO: Final = ("json", "tokens.npz")


def rebuild_remedy(build: BuildDir, record: BuildRecord | None = None, purpose: str = "make the shard again") -> str:
    """Return the sentence with the command that makes damaged shards of a build again. `record` None: build.json is damaged."""
    if record is None:
        return f"Run `soundflow build RECIPE -o {_quoted(build.root)} --recheck` with the recipe of this build to repair it"
    if record.operator_versions != OPERATOR_VERSIONS or record.prompt_hash != prompt_hash():
        version = f"SoundFlow {record.soundflow_version}"
        return f"Restore the file from a copy, or build with --recheck in {version}: other operators or prompts make other bytes"
    command = f"soundflow build {_quoted(build.record_path)} -o {_quoted(build.root)} --recheck"
    return f"Run `{command}` to {purpose}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def check_manifest(build: BuildDir, record: BuildRecord | None, path: Path) -> tuple[ShardManifest | None, list[Finding]]:
    """Read one manifest and compare it with its name and the build.

    Return what is wrong and the manifest, or None if it is not that of a shard of this build. `record` None: build.json is
    damaged.
    """
    try:
        manifest = ShardManifest.from_file(path)
    except (InputError, FileNotFoundError) as error:
        return None, [("manifest", getattr(error, "why", "was removed"))]
    found: list[Finding] = []
    planned = record.recipe.shards if record is not None else None
    if path.name != f"{manifest.shard:06d}.json" or (planned is not None and manifest.shard >= planned):
        detail = f"{path.name} has shard number {manifest.shard}; the build has {planned or 'an unknown number of'} shards"
        return None, [("manifest", detail)]
    if manifest.canonical_json() != read_regular(path):
        found.append(("manifest", f"{path.name} is not canonical JSON"))
    if record is not None and manifest.fingerprint != record.fingerprint:
        here, expected = manifest.fingerprint[:12], record.fingerprint[:12]
        found.append(("fingerprint", f"the manifest has fingerprint {here}, the build {expected}"))
    if record is not None and manifest.virtual != record.virtual:
        found.append(("manifest", f"virtual is {manifest.virtual}, expected {record.virtual} from build.json"))
    name = f"shard-{manifest.shard:06d}-{manifest.sha256[:12]}.tar"
    if manifest.tar != name:
        found.append(("manifest", f"tar is {manifest.tar!r}, expected {name!r} from shard and sha256"))
    return manifest, found


def check_size(build: BuildDir, manifest: ShardManifest) -> Iterator[Finding]:
    """Yield a finding unless the tar of a shard is a file of the size that its manifest states."""
    tar = build.data / manifest.tar
    try:
        status = tar.stat()
        if not stat.S_ISREG(status.st_mode):
            open_regular(tar).close()  # raises with what it is
    except FileNotFoundError:
        yield "missing_tar", f"{tar.name} is missing"
    except OSError as error:
        yield "truncated", f"{tar.name} cannot be read: {error.strerror}"
    else:
        if status.st_size != manifest.bytes:
            yield "truncated", f"{tar.name} has {status.st_size} bytes, expected {manifest.bytes} from the manifest"


def check_hash(build: BuildDir, manifest: ShardManifest) -> Iterator[Finding]:
    """Yield a finding unless the tar of a shard has the hash that its manifest states."""
    tar = build.data / manifest.tar
    try:
        with open_regular(tar) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        yield "truncated", f"{tar.name} cannot be read: {error.strerror}"
        return
    if digest != manifest.sha256:
        yield "sha256", f"{tar.name} has hash {digest[:12]}, expected {manifest.sha256[:12]} from the manifest"


def committed_shards(build: BuildDir, record: BuildRecord) -> list[ShardManifest]:
    """Return the manifests of all committed shards, in order. Shards without a manifest are missing, which is no error.

    Raises ShardError, naming the first one, if a manifest is invalid or a tar is missing or of another size.
    """
    manifests: list[ShardManifest] = []
    damaged: list[tuple[Path, str]] = []
    for path in build.manifest_paths():
        manifest, found = check_manifest(build, record, path)
        damaged += ((path, detail) for _, detail in found)
        if manifest is not None:
            damaged += ((build.data / manifest.tar, detail) for _, detail in check_size(build, manifest))
            manifests.append(manifest)
    if damaged:
        path, detail = damaged[0]
        more = f" ({len(damaged) - 1} more findings; list all: soundflow verify {_quoted(build.root)})" if damaged[1:] else ""
        raise ShardError(f"the shard is damaged: {detail}{more}", file=path, remedy=rebuild_remedy(build, record))
    return manifests


class CommittedSamples:
    """Reads the samples of the shards of a build."""

    def __init__(self, build: BuildDir, record: BuildRecord):
        self.build, self.record = build, record
        audio = () if record.virtual else (record.recipe.output.audio,)
        self.members = (*audio, *MEMBERS_BESIDE_AUDIO)
        """Suffixes that every sample has."""

    def read(
        self, manifest: ShardManifest, only: Collection[str] | None = None, *, verify: bool = True
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield (key, suffix → content) of the samples of a shard, in order. `only`: the suffixes to read.

        The hash of the tar is verified before the first sample is yielded, unless `verify` is False. Raises ShardError.
        """
        if verify:
            self.verify(manifest)
        expected = [suffix for suffix in self.members if only is None or suffix in only]
        keys: list[str] = []
        try:
            for key, members in read_shard(self.build.data / manifest.tar, only):
                if list(members) != expected:
                    raise self.error(manifest, f"{key} has the members {list(members)}, expected {expected}")
                keys.append(key)
                yield key, members
        except ShardError as error:
            raise error if error.remedy else self.error(manifest, error.why) from None
        except OSError as error:
            raise self.error(manifest, f"it cannot be read: {error.strerror}") from None
        if tuple(keys) != manifest.keys:
            raise self.error(manifest, f"it has {len(keys)} samples, its manifest lists {len(manifest.keys)} or others")

    def verify(self, manifest: ShardManifest) -> None:
        """Raise ShardError unless the tar of a shard has the hash of its manifest."""
        for _, detail in check_hash(self.build, manifest):
            raise self.error(manifest, detail)

    def plans(self, manifest: ShardManifest, *, verify: bool = True) -> Iterator[StreamPlan]:
        """Yield the plans of a shard. Raises ShardError."""
        for key, members in self.read(manifest, ("json",), verify=verify):
            yield self.plan(manifest, key, members)

    def plan(self, manifest: ShardManifest, key: str, members: dict[str, bytes]) -> StreamPlan:
        """Return the plan of a sample. Raises ShardError."""
        try:
            plan = StreamPlan.from_json(members["json"])
        except InputError as error:
            raise self.error(manifest, f"{key}.json: {error}") from None
        if (plan.sample_id, plan.shard) != (key, manifest.shard):
            raise self.error(manifest, f"{key}.json is the plan of {plan.sample_id} in shard {plan.shard}")
        return plan

    def document(self, manifest: ShardManifest, key: str, members: dict[str, bytes]) -> dict[str, Any]:
        """Return the plan of a sample as JSON, without the cost of its schema. Raises ShardError."""
        try:
            plan = json_value(members["json"])
        except NotJsonError as error:
            raise self.error(manifest, f"{key}.json is not JSON: {error}") from None
        if not isinstance(plan, dict):
            raise self.error(manifest, f"{key}.json is not a plan")
        return plan

    def pcm(self, manifest: ShardManifest, plan: StreamPlan, audio: bytes) -> Pcm:
        """Decode the audio of a sample: shape (plan.samples,). Raises ShardError."""
        try:
            return decode_audio(audio, plan.samples)
        except ValueError as error:
            raise self.error(manifest, f"{plan.sample_id}: {error}") from None

    def error(self, manifest: ShardManifest, why: str) -> ShardError:
        """Return the error for a damaged shard."""
        tar = self.build.data / manifest.tar
        return ShardError(f"the shard is damaged: {why}", file=tar, remedy=rebuild_remedy(self.build, self.record))


def decode_audio(data: bytes, samples: int) -> Pcm:
    """Decode 16 kHz mono audio of `samples` samples as PCM16. Raises ValueError if it is anything else.

    The length in the header is compared before anything is decoded, since a forged one would exhaust the memory.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            found = (file.frames, file.samplerate, file.channels)
            if found != (samples, c.SAMPLE_RATE, 1):
                raise ValueError(
                    f"the audio has {found[0]} samples at {found[1]} Hz in {found[2]} channels, the plan has {samples}"
                    f" samples at {c.SAMPLE_RATE} Hz in 1"
                )
            pcm: Pcm = file.read(dtype="int16")
    except (RuntimeError, TypeError, OSError) as error:
        raise ValueError(f"the audio cannot be decoded: {error}") from None
    if pcm.shape != (samples,):
        raise ValueError(f"the audio ends after {len(pcm)} of {samples} samples")
    return pcm
