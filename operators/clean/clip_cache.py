"""The cache of cleaned clips: ingress and TFJP once per content and treatment, as raw little-endian PCM16.

`DIR/ab/<key>.pcm` holds the samples; `<key>.json` next to it holds what was found out (or why the content is no clip) and
is written last: an entry exists if and only if its JSON does and the PCM has the length it states. Both are replaced
atomically, so that processes may race and be killed anywhere.
"""

from __future__ import annotations

import hashlib
import io
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_end, active_power
from soundflow.operators.clean.ingress import INGRESS_VERSION, read_audio
from soundflow.operators.clean.tfjp import TFJP_VERSION, SilentClipError, tfjp
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import TEMPORARY, sweep_abandoned, write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import CleanClip, ClipRole, IngressConfig, Sha256, TfjpConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.pcm16 import from_pcm16, to_pcm16

CACHE_VERSION: Final = "1"
HASH_BLOCK: Final = 1 << 20
TRANSIENT: Final = frozenset({"missing", "not_a_file", "symlink_loop", "permission_denied", "unreadable"})
"""Reasons that may be the machine's fault, not the content's, and are tried again by the next run."""


class Treatment(StrEnum):
    """What a role asks of the cleaning; roles with the same treatment share entries."""

    TFJP = "tfjp"
    TFJP_KEEP_NOISE = "tfjp_keep_noise"
    """Ambient clips: their noise is the sound."""
    INGRESS = "ingress"
    """Noise clips: nothing is cut or subtracted."""

    @classmethod
    def of(cls, role: ClipRole) -> Treatment:
        """The treatment of a role."""
        if role in (ClipRole.NOISE_EVENT, ClipRole.NOISE_AMBIENT):
            return cls.INGRESS
        return cls.TFJP_KEEP_NOISE if role is ClipRole.AMBIENT else cls.TFJP


class CacheEntry(Schema):
    """One content under one treatment: a clip, or the reason why it is none."""

    content_sha256: Sha256
    cache_key: Sha256
    clip: CleanClip | None = None
    reason: str = ""
    detail: str = ""


class CleanConfig(Schema):
    """The configuration all entries of one index share."""

    tfjp: TfjpConfig = TfjpConfig()
    ingress: IngressConfig = IngressConfig()

    def key(self, content_sha256: str, treatment: Treatment) -> str:
        """Names the entry: content, treatment, and every configuration and version that shapes the samples."""
        document = {
            "content": content_sha256,
            "treatment": treatment.value,
            "tfjp": None if treatment is Treatment.INGRESS else self.treated(treatment).model_dump(mode="json"),
            "ingress": self.ingress.model_dump(mode="json"),
            "versions": [CACHE_VERSION, INGRESS_VERSION, "" if treatment is Treatment.INGRESS else TFJP_VERSION],
        }
        return hashlib.sha256(canonical_json(document)).hexdigest()

    def treated(self, treatment: Treatment) -> TfjpConfig:
        """TFJP's configuration under a treatment."""
        keep = treatment is Treatment.TFJP_KEEP_NOISE
        return self.tfjp.model_copy(update={"denoise": False}) if keep else self.tfjp


class ClipCache:
    """Entries below one directory. Cheap to construct, picklable, safe to use from many processes."""

    def __init__(self, directory: Path, config: CleanConfig):
        self.directory, self.config = directory, config

    def entry(self, key: str) -> CacheEntry | None:
        """The entry named `key`, or None when there is none or it is damaged in a way its length shows."""
        try:
            entry = CacheEntry.from_json(self._path(key, "json").read_bytes())
            whole = entry.clip is None or self._path(key, "pcm").stat().st_size == 2 * entry.clip.samples
        except (FileNotFoundError, InputError):
            return None
        return entry if whole and entry.cache_key == key else None

    def pcm(self, key: str) -> bytes | None:
        """The stored samples, unchecked; None when there are none."""
        try:
            return self._path(key, "pcm").read_bytes()
        except FileNotFoundError:
            return None

    def clean(self, path: Path, treatment: Treatment, content: str) -> Outcome[CacheEntry]:
        """Read, clean and store the file at `path`, whose bytes hash to `content`, whatever the cache holds.

        A file that is no clip is an entry too, and Ok here: its `reason` says why. Rejected means the file could not be looked
        at (permission, changing while read), Failed that cleaning broke. Raises OSError when the cache cannot be written.
        """
        key = self.config.key(content, treatment)
        found = read_audio(path, self.config.ingress)
        if isinstance(found, Failed):
            return found
        if isinstance(found, Rejected) and found.reason in TRANSIENT:
            return found
        try:
            if file_sha256(path) != content:
                return Rejected("changed_while_read", {"detail": "index again when nothing writes to it"})
        except OSError:
            return unavailable(path)
        if isinstance(found, Rejected):
            return self._store(CacheEntry(content_sha256=content, cache_key=key, reason=found.reason, detail=detail_of(found)))
        samples, cleaning = found.value.samples, None
        try:
            if treatment is not Treatment.INGRESS:
                cleaned = tfjp(samples, self.config.treated(treatment))
                samples, cleaning = cleaned.samples, cleaned.cleaning
            pcm = to_pcm(samples)
            heard = from_pcm(pcm)
            power = active_power(heard)
        except SilentClipError as error:
            return self._store(CacheEntry(content_sha256=content, cache_key=key, reason="silent", detail=str(error)))
        except (ArithmeticError, ValueError, IndexError, TypeError, MemoryError) as error:
            return Failed(f"{type(error).__name__}: {error}", "tfjp", {"path": str(path), "treatment": treatment.value})
        if power <= 0.0:
            return self._store(CacheEntry(content_sha256=content, cache_key=key, reason="silent", detail="nothing is left of it"))
        clip = CleanClip(
            clean_sha256=hashlib.sha256(pcm).hexdigest(),
            samples=heard.size,
            active_end=active_end(heard),
            active_level_db=10.0 * float(np.log10(power)),
            peak=float(np.abs(heard).max()),
            clipped_ratio=found.value.clipped_ratio,
            cleaning=cleaning,
        )
        write_atomic(self._path(key, "pcm"), pcm)
        return self._store(CacheEntry(content_sha256=content, cache_key=key, clip=clip))

    def sweep(self) -> None:
        """Remove what killed writers left half-written; the young is left alone, its writer may live."""
        sweep_abandoned(self.directory.glob(f"*/{TEMPORARY}*"))

    def _store(self, entry: CacheEntry) -> Outcome[CacheEntry]:
        write_atomic(self._path(entry.cache_key, "json"), entry.canonical_json())
        return Ok(entry)

    def _path(self, key: str, suffix: str) -> Path:
        return self.directory / key[:2] / f"{key}.{suffix}"


def unavailable(path: Path) -> Rejected:
    """Why a file that could not be looked at cannot be had, in the words of ingress."""
    found = read_audio(path)
    return found if isinstance(found, Rejected) else Rejected("unreadable", {"detail": "it comes and goes"})


def detail_of(rejected: Rejected) -> str:
    """One sentence from the metrics of a rejection."""
    if "detail" in rejected.metrics:
        return str(rejected.metrics["detail"])
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in rejected.metrics.items()
    )


def to_pcm(samples: NDArray[np.float32]) -> bytes:
    """Little-endian PCM16 of samples in [-1, 1]."""
    return to_pcm16(samples).tobytes()


def to_wav(samples: NDArray[np.float32]) -> bytes:
    """(n,) samples as a WAV file: 16 kHz, mono, PCM16. Equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(samples), c.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def from_pcm(data: bytes) -> NDArray[np.float32]:
    """The samples a PCM16 entry stands for: float32, value / 32768, read-only."""
    samples = from_pcm16(data)
    samples.flags.writeable = False
    return samples


def file_sha256(path: Path) -> str:
    """SHA-256 of a regular file's bytes, in hex. Raises OSError; pipes and devices are never opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "not a regular file")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
