"""Clips that are made during a build: generated, cleaned once more, spoken. Content-addressed, the first wins.

`BUILD/made/audio/ab/<sha256>.wav` is what a maker gave (16 kHz PCM16), `BUILD/made/cache/` the same after ingress and TFJP, as
in a clip index, and `BUILD/made/rows/<kind>/ab/<id>.json` the clip and how it was made: it is linked into place last, and a
clip exists if and only if its row does. An id is a function of what was asked, never of time, worker or order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from soundflow.operators.clean.clip_cache import CleanConfig, ClipCache, Treatment, to_wav
from soundflow.operators.clean.tfjp import TFJP_VERSION
from soundflow.operators.compose.clips import ClipBrief, ClipPool
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.pipeline.clips.audio import ClipAudio
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import write_file, write_if_absent
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.generation import MadeClip, MadeRequest, Maker
from soundflow.schemas.outcome import Ok, Outcome, Rejected

FOLDER: Final = "made"
ID_DIGITS: Final = 16
MADE_ANEW: Final = frozenset(
    {"id", "path", "role", "words", "samples", "active_end", "active_level_db", "peak", "cleaning"}
    | {"content_sha256", "clean_sha256", "cache_key"}
)
"""What a clip that is cleaned once more does not take over from its parent. How far its source was clipped it does."""
REMEDY: Final = "it was made during the build: run `soundflow build` again on this directory"


class MadeClips:
    """The made clips of one build. Cheap to construct, pickles as its paths, safe to use from many processes."""

    def __init__(self, build: BuildDir, config: CleanConfig):
        self.build, self.config, self.directory = build, config, build.root.absolute() / FOLDER
        self._cache = ClipCache(self.directory / "cache", config)
        self._audio = ClipAudio(self._cache, REMEDY)

    def __reduce__(self) -> tuple[Any, ...]:
        return (MadeClips, (self.build, self.config))

    def id_of(self, request: MadeRequest) -> str:
        """`made/<kind>/<16 hex>` of the request and of what cleans its result."""
        treatment = self.config.key("0" * 64, Treatment.of(request.role))
        digest = hashlib.sha256(canonical_json([request.key(), treatment])).hexdigest()
        return f"{FOLDER}/{request.kind}/{digest[:ID_DIGITS]}"

    def find(self, request: MadeRequest) -> Clip | None:
        """The clip that was made for `request`, or None. One whose row or audio is lost is none: made again, it is mended."""
        try:
            clip = self.row(self.id_of(request)).clip
            self.audio(clip)
        except (KeyError, OSError):
            return None
        return clip

    def sweep(self) -> None:
        """Remove what killed writers left half-written in the cache; the young is left alone, its writer may live."""
        self._cache.sweep()

    def generated(self, request: MadeRequest, made: GeneratedSound) -> Outcome[Clip]:
        """Clean and keep what a generator gave; the clip another worker was first with, when there is one.

        Rejected with ingress' reason when it is no clip. Raises OSError when it cannot be written.
        """
        return self.add(request, made.samples, made.details, {"caption": made.caption, "licence": request.maker.licence})

    def reprocess(self, parent: Clip, samples: NDArray[np.float32], role: ClipRole) -> Outcome[Clip]:
        """TFJP once more on the cleaned `samples` of `parent`, as a clip of `role`."""
        request = MadeRequest(
            kind="reprocessed",
            maker=Maker(backend="tfjp", model=TFJP_VERSION, licence=parent.licence),
            text=parent.caption[:4000],
            label=parent.label[:300],
            role=role,
            parent=hashlib.sha256(parent.model_copy(update={"path": ""}).canonical_json()).hexdigest(),
        )
        kept = self.find(request)
        if kept is not None:
            return Ok(kept)
        told = {name: value for name, value in parent.model_dump().items() if name not in MADE_ANEW}
        return self.add(request, samples, {"parent": parent.id}, told)

    def row(self, clip_id: str) -> MadeClip:
        """How a clip was made; KeyError when there is none, OSError when its row is damaged."""
        path = self._row_path(clip_id)
        try:
            made = MadeClip.from_json(path.read_bytes(), file=path)
        except FileNotFoundError:
            raise KeyError(clip_id) from None
        except InputError as error:
            raise OSError(f"clip {clip_id}: its row is damaged ({error}); {REMEDY}") from None
        path = self._audio_path(made.clip.content_sha256)  # never stored: a build directory may be moved
        return made.model_copy(update={"clip": made.clip.model_copy(update={"path": str(path)})})

    def files(self, clip_id: str) -> tuple[Path, Path]:
        """What holds a clip: what its maker gave, then its row, which commits it. KeyError when there is none."""
        return self._audio_path(self.row(clip_id).clip.content_sha256), self._row_path(clip_id)

    def rows(self) -> Iterator[MadeClip]:
        """All made clips, by id."""
        for path in sorted((self.directory / "rows").glob("*/*/*.json")):
            yield self.row(f"{FOLDER}/{path.parent.parent.name}/{path.stem}")

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Cleaned samples, made again from what the maker gave when lost; OSError naming clip and remedy when both are."""
        return self._audio.of(clip)

    def add(
        self, request: MadeRequest, samples: NDArray[np.float32], details: Mapping[str, JsonValue], told: dict[str, Any]
    ) -> Outcome[Clip]:
        """Clean `samples` (n,) as the request's role is, and keep them. `told`: more fields of the clip, such as its transcript.

        The clip another worker was first with, when there is one. Rejected with ingress' reason when it is no clip.
        Raises OSError when it cannot be written.
        """
        clip_id = self.id_of(request)
        wav = to_wav(samples)
        content = hashlib.sha256(wav).hexdigest()
        path = self._audio_path(content)
        write_file(self.build, path, wav)
        cleaned = self._cache.clean(path, Treatment.of(request.role), content)
        if not isinstance(cleaned, Ok):
            return cleaned
        entry = cleaned.value
        if entry.clip is None:
            return Rejected(entry.reason, {"detail": entry.detail, "clip": clip_id})
        source = f"{request.maker.backend}:{request.maker.model}"
        clip = Clip.model_validate(
            {"id": clip_id, "path": "", "role": request.role, "label": request.label, "source": source}
            | {"content_sha256": entry.content_sha256, "cache_key": entry.cache_key}
            | entry.clip.model_dump()
            | told
        )
        row = MadeClip(request=request, details=dict(details), clip=clip).canonical_json()
        if not write_if_absent(self.build, self._row_path(clip_id), row) and self.find(request) is None:
            write_file(self.build, self._row_path(clip_id), row)  # what was there is lost
        return Ok(self.row(clip_id).clip)

    def _row_path(self, clip_id: str) -> Path:
        _, kind, digits = clip_id.split("/")
        return self.directory / "rows" / kind / digits[:2] / f"{digits}.json"

    def _audio_path(self, content: str) -> Path:
        return self.directory / "audio" / content[:2] / f"{content}.wav"


class PoolWithMade:
    """The clips of an index and those made during the build, as one ClipPool. Pickles as paths.

    Made clips are found by id and never listed: what exists of them depends on how far a build is, and plans must not.
    """

    def __init__(self, base: ClipPool, made: MadeClips):
        self.base, self.made = base, made

    def briefs(self) -> Sequence[ClipBrief]:
        """All clips of the index, sorted by id."""
        return self.base.briefs()

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Ids of one role in the index, sorted."""
        return self.base.ids(role)

    def get(self, clip_id: str) -> Clip:
        """The whole row, of a clip of the index or a made one; KeyError when there is none."""
        return self.made.row(clip_id).clip if is_made(clip_id) else self.base.get(clip_id)

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Cleaned samples, shape (clip.samples,), read-only."""
        return self.made.audio(clip) if is_made(clip.id) else self.base.audio(clip)


def is_made(clip_id: str) -> bool:
    """Whether an id is one of a made clip: `made/<kind>/<16 hex>`."""
    parts = clip_id.split("/")
    return len(parts) == 3 and parts[0] == FOLDER and len(parts[2]) == ID_DIGITS and set(parts[2]) <= set("0123456789abcdef")
