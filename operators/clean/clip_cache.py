"""The cache of cleaned clips: ingress and TFJP once per content and treatment, as raw little-endian PCM16.

`DIR/ab/<key>.pcm` holds the samples. `<key>.json` next to it holds the measurements, or the reason why the content is not a clip,
and is written last. An entry exists if and only if its JSON exists and the PCM has the stated length. Both files are written
atomically, so that processes may race and may be killed at any point.
"""

from __future__ import annotations

import functools
import hashlib
import io
import stat
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_end, active_power
from soundflow.operators.clean.ingress import INGRESS_VERSION, Ingested, ingress, read_audio
from soundflow.operators.clean.tfjp import TFJP_VERSION, SilentClipError, tfjp
from soundflow.schemas import constants as c
from soundflow.schemas.atomic_file import TEMPORARY, sweep_abandoned, write_atomic
from soundflow.schemas.base import InputError, Schema, canonical_json
from soundflow.schemas.clip import CleanClip, ClipRole, IngressConfig, Sha256, TfjpConfig
from soundflow.schemas.outcome import Failed, Ok, Outcome, Rejected
from soundflow.schemas.pcm16 import from_pcm16, to_pcm16

CACHE_VERSION: Final = "1"
LONGEST_SECONDS: Final = 14_400.0
"""Maximum length of a recording of which excerpts are used: 4 hours, 0.9 GB in memory."""
EXCERPT_SLACK_SECONDS: Final = 0.25
"""Time by which an excerpt may exceed its recording, since manifests round durations and encoders pad."""
HASH_BLOCK: Final = 1 << 20
TRANSIENT: Final = frozenset({"missing", "not_a_file", "symlink_loop", "permission_denied", "unreadable", "unsupported_format"})
"""Rejection reasons that may depend on the machine instead of the content. The next run retries such files."""


class Treatment(StrEnum):
    """How clips of a role are cleaned. Roles with the same treatment share entries."""

    TFJP = "tfjp"
    TFJP_KEEP_NOISE = "tfjp_keep_noise"
    """TFJP without denoising, for ambient clips, whose noise is the sound."""
    INGRESS = "ingress"
    """Ingress only, for noise clips."""

    @classmethod
    def of(cls, role: ClipRole) -> Treatment:
        """Return the treatment of a role."""
        if role in (ClipRole.NOISE_EVENT, ClipRole.NOISE_AMBIENT):
            return cls.INGRESS
        return cls.TFJP_KEEP_NOISE if role is ClipRole.AMBIENT else cls.TFJP


class CacheEntry(Schema):
    """The result of one treatment of one content: a clip, or the reason why it is not one."""

    content_sha256: Sha256
    cache_key: Sha256
    clip: CleanClip | None = None
    reason: str = ""
    detail: str = ""


class CleanConfig(Schema):
    """The configuration of all entries of an index."""

    tfjp: TfjpConfig = TfjpConfig()
    ingress: IngressConfig = IngressConfig()

    def key(self, content_sha256: str, treatment: Treatment, excerpt: str = "") -> str:
        """Return the key of an entry: a hash of content, excerpt, treatment, settings and versions."""
        document = {
            "content": content_sha256,
            "treatment": treatment.value,
            "tfjp": None if treatment is Treatment.INGRESS else self.treated(treatment).model_dump(mode="json"),
            "ingress": self.ingress.model_dump(mode="json"),
            "versions": [CACHE_VERSION, INGRESS_VERSION, "" if treatment is Treatment.INGRESS else TFJP_VERSION],
        }
        return hashlib.sha256(canonical_json(document | ({"excerpt": excerpt} if excerpt else {}))).hexdigest()

    def treated(self, treatment: Treatment) -> TfjpConfig:
        """Return the configuration of TFJP for a treatment."""
        keep = treatment is Treatment.TFJP_KEEP_NOISE
        return self.tfjp.model_copy(update={"denoise": False}) if keep else self.tfjp


class ClipCache:
    """Entries in one directory. Cheap to construct, picklable, safe for concurrent processes."""

    def __init__(self, directory: Path, config: CleanConfig):
        self.directory, self.config = directory, config

    def entry(self, key: str) -> CacheEntry | None:
        """Return the entry `key`; None if it does not exist, or if its files are damaged or incomplete."""
        try:
            entry = CacheEntry.from_json(self._path(key, "json").read_bytes())
            whole = entry.clip is None or self._path(key, "pcm").stat().st_size == 2 * entry.clip.samples
        except (FileNotFoundError, InputError):
            return None
        return entry if whole and entry.cache_key == key else None

    def pcm(self, key: str) -> bytes | None:
        """Return the stored PCM16 bytes without checking them; None if they do not exist."""
        try:
            return self._path(key, "pcm").read_bytes()
        except FileNotFoundError:
            return None

    def clean(self, path: Path, treatment: Treatment, content: str, excerpt: str = "") -> Outcome[CacheEntry]:
        """Read, clean and store the file at `path`, whose SHA-256 is `content`. An existing entry is replaced.

        `excerpt`: the part of the file that is meant, `START+SECONDS` or `START+` in seconds; empty for the whole file.
        A file that is not a clip also gives an entry (and Ok), with a `reason`. Rejected: the file could not be read (permission,
        changed while read). Failed: cleaning failed. Raises OSError if the cache cannot be written.
        """
        key = self.config.key(content, treatment, excerpt)
        found = _read_excerpt(path, content, excerpt, self.config.ingress) if excerpt else read_audio(path, self.config.ingress)
        if isinstance(found, Failed):
            return found
        if isinstance(found, Rejected) and found.reason in TRANSIENT:
            return found
        try:
            if file_sha256(path) != content:
                return Rejected(
                    "changed_while_read", {"detail": "the file changed while it was read; index again when nothing writes to it"}
                )
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
            stored = from_pcm(pcm)
            power = active_power(stored)
        except SilentClipError as error:
            return self._store(CacheEntry(content_sha256=content, cache_key=key, reason="silent", detail=str(error)))
        except (ArithmeticError, ValueError, IndexError, TypeError, MemoryError) as error:
            return Failed(f"{type(error).__name__}: {error}", "tfjp", {"path": str(path), "treatment": treatment.value})
        if power <= 0.0:
            return self._store(
                CacheEntry(content_sha256=content, cache_key=key, reason="silent", detail="TFJP left no active samples")
            )
        clip = CleanClip(
            clean_sha256=hashlib.sha256(pcm).hexdigest(),
            samples=stored.size,
            active_end=active_end(stored),
            active_level_db=10.0 * float(np.log10(power)),
            peak=float(np.abs(stored).max()),
            clipped_ratio=found.value.clipped_ratio,
            cleaning=cleaning,
        )
        write_atomic(self._path(key, "pcm"), pcm)
        return self._store(CacheEntry(content_sha256=content, cache_key=key, clip=clip))

    def sweep(self) -> None:
        """Remove the temporary files of killed writers (`schemas.atomic_file.sweep_abandoned`)."""
        sweep_abandoned(self.directory.glob(f"*/{TEMPORARY}*"))

    def _store(self, entry: CacheEntry) -> Outcome[CacheEntry]:
        write_atomic(self._path(entry.cache_key, "json"), entry.canonical_json())
        return Ok(entry)

    def _path(self, key: str, suffix: str) -> Path:
        return self.directory / key[:2] / f"{key}.{suffix}"


@functools.lru_cache(maxsize=1)
def _read_long(path: Path, content: str, config: IngressConfig) -> Outcome[Ingested]:
    """Read a whole file of any length up to `LONGEST_SECONDS`. The last one is kept, since its excerpts follow each other."""
    return read_audio(path, config.model_copy(update={"max_seconds": LONGEST_SECONDS}))


def _read_excerpt(path: Path, content: str, excerpt: str, config: IngressConfig) -> Outcome[Ingested]:
    """Return a part of a recording. Rejected: `outside_recording` when the recording ends before it does."""
    whole = _read_long(path, content, config)
    if not isinstance(whole, Ok):
        return whole
    samples, (start, _, length) = whole.value.samples, excerpt.partition("+")
    first = round(float(start) * c.SAMPLE_RATE)
    last = first + round(float(length) * c.SAMPLE_RATE) if length else samples.size
    if first >= samples.size or last > samples.size + EXCERPT_SLACK_SECONDS * c.SAMPLE_RATE:
        detail = f"the excerpt ends at {last / c.SAMPLE_RATE:.2f} s, the recording at {samples.size / c.SAMPLE_RATE:.2f} s"
        return Rejected("outside_recording", {"detail": detail})
    part = ingress(samples[first:last], c.SAMPLE_RATE, config)
    return Ok(replace(part.value, clipped_ratio=whole.value.clipped_ratio)) if isinstance(part, Ok) else part


def unavailable(path: Path) -> Rejected:
    """Return the rejection of ingress for a file that could not be opened or hashed."""
    found = read_audio(path)
    return found if isinstance(found, Rejected) else Rejected("unreadable", {"detail": "the file is not reliably readable"})


def detail_of(rejected: Rejected) -> str:
    """Return the metrics of a rejection as text."""
    if "detail" in rejected.metrics:
        return str(rejected.metrics["detail"])
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in rejected.metrics.items()
    )


def to_pcm(samples: NDArray[np.float32]) -> bytes:
    """Return samples in [-1, 1] as little-endian PCM16."""
    return to_pcm16(samples).tobytes()


def to_wav(samples: NDArray[np.float32]) -> bytes:
    """Return samples of shape (n,) as a WAV file: 16 kHz, mono, PCM16. Equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(samples), c.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def from_pcm(data: bytes) -> NDArray[np.float32]:
    """Return the samples of PCM16 bytes: float32, value / 32768, read-only."""
    samples = from_pcm16(data)
    samples.flags.writeable = False
    return samples


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a regular file. Raises OSError, also for pipes and devices, which are never opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "not a regular file")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
