"""Clips made during a build: generated, reprocessed or synthesized. They are content-addressed, and the first writer wins.

`BUILD/made/audio/ab/<sha256>.wav` is the raw audio (16 kHz PCM16), `BUILD/made/cache/` the same after ingress and TFJP, as in a
clip index, and `BUILD/made/rows/<kind>/ab/<id>.json` the clip and how it was made. The row is linked into place last: a clip
exists if and only if its row does. An id is a function of the request, never of time, worker or order.
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
from soundflow.operators.compose.clips import ClipBrief, ClipPool, DecidedPool, decided_clip
from soundflow.operators.protocols.generation import GeneratedSound
from soundflow.pipeline.clips.audio import ClipAudio
from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.corpus.commit import write_file, write_if_absent
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.clip import Clip, ClipRole
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.generation import MadeClip, MadeRequest, Maker
from soundflow.schemas.outcome import Ok, Outcome, Rejected

FOLDER: Final = "made"
ID_DIGITS: Final = 16
NOT_INHERITED: Final = frozenset(
    {"id", "path", "role", "words", "samples", "active_end", "active_level_db", "peak", "cleaning"}
    | {"content_sha256", "clean_sha256", "cache_key"}
)
"""Fields that a reprocessed clip does not take over from its parent. It does take over how far the source was clipped."""
REMEDY: Final = "it was made during the build: run `soundflow build` again on this directory to restore it"


class MadeClips:
    """The made clips of one build. Pickles as paths; safe for concurrent processes."""

    def __init__(self, build: BuildDir, config: CleanConfig):
        self.build, self.config, self.directory = build, config, build.root.absolute() / FOLDER
        self._cache = ClipCache(self.directory / "cache", config)
        self._audio = ClipAudio(self._cache, REMEDY)

    def __reduce__(self) -> tuple[Any, ...]:
        return (MadeClips, (self.build, self.config))

    def id_of(self, request: MadeRequest) -> str:
        """Return the id `made/<kind>/<16 hex>` for a request and the cleaning of its result."""
        treatment = self.config.key("0" * 64, Treatment.of(request.role))
        digest = hashlib.sha256(canonical_json([request.key(), treatment])).hexdigest()
        return f"{FOLDER}/{request.kind}/{digest[:ID_DIGITS]}"

    def find(self, request: MadeRequest) -> Clip | None:
        """Return the clip of `request`, or None if it does not exist or its row or audio is lost (making it again repairs it)."""
        try:
            clip = self.row(self.id_of(request)).clip
            self.audio(clip)
        except (KeyError, OSError):
            return None
        return clip

    def sweep(self) -> None:
        """Remove the temporary files of killed writers from the cache (`schemas.atomic_file.sweep_abandoned`)."""
        self._cache.sweep()

    def generated(self, request: MadeRequest, made: GeneratedSound) -> Outcome[Clip]:
        """Clean and store a generated sound; return its clip, or that of the worker that stored one first.

        Rejected with the reason of ingress if it is not usable as a clip. Raises OSError if it cannot be written.
        """
        return self.add(request, made.samples, made.details, {"caption": made.caption, "licence": request.maker.licence})

    def reprocess(self, parent: Clip, samples: NDArray[np.float32], role: ClipRole) -> Outcome[Clip]:
        """Apply TFJP once more to the cleaned `samples` of `parent` and store the result as a clip of `role`."""
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
        inherited = {name: value for name, value in parent.model_dump().items() if name not in NOT_INHERITED}
        return self.add(request, samples, {"parent": parent.id}, inherited)

    def row(self, clip_id: str) -> MadeClip:
        """Return the row of a clip. Raises KeyError if there is none and OSError if it is damaged."""
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
        """Return the files of a clip: its raw audio, then its row, which commits it. Raises KeyError if there is none."""
        return self._audio_path(self.row(clip_id).clip.content_sha256), self._row_path(clip_id)

    def rows(self) -> Iterator[MadeClip]:
        """Yield all rows, sorted by id."""
        for path in sorted((self.directory / "rows").glob("*/*/*.json")):
            yield self.row(f"{FOLDER}/{path.parent.parent.name}/{path.stem}")

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Return the cleaned samples, cleaning the raw audio again if they are lost. Raises OSError if that is lost, too."""
        return self._audio.of(clip)

    def add(
        self, request: MadeRequest, samples: NDArray[np.float32], details: Mapping[str, JsonValue], fields: dict[str, Any]
    ) -> Outcome[Clip]:
        """Clean `samples`, shape (n,), for the role of the request and store the clip; see `generated`.

        `details`: how it was made. `fields`: further fields of the clip, such as its transcript.
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
            | fields
        )
        row = MadeClip(request=request, details=dict(details), clip=clip).canonical_json()
        if not write_if_absent(self.build, self._row_path(clip_id), row) and self.find(request) is None:
            write_file(self.build, self._row_path(clip_id), row)  # the existing row or its audio is damaged
        return Ok(self.row(clip_id).clip)

    def _row_path(self, clip_id: str) -> Path:
        _, kind, digits = clip_id.split("/")
        return self.directory / "rows" / kind / digits[:2] / f"{digits}.json"

    def _audio_path(self, content: str) -> Path:
        return self.directory / "audio" / content[:2] / f"{content}.wav"


class PoolWithMade:
    """The clips of an index and the made clips of a build as one ClipPool. Pickles as paths.

    Made clips can be looked up but are never listed, since which of them exist depends on the progress of the build.
    """

    def __init__(self, base: ClipPool, made: MadeClips, rules: DecisionRules):
        """`rules`: decisions of the recipe, which made clips carry like those of the index."""
        self.base, self.made, self.rules = DecidedPool(base, rules) if rules else base, made, rules

    def briefs(self) -> Sequence[ClipBrief]:
        """Return all clips of the index, sorted by id."""
        return self.base.briefs()

    def ids(self, role: ClipRole) -> Sequence[str]:
        """Return the ids of one role in the index, sorted."""
        return self.base.ids(role)

    def get(self, clip_id: str) -> Clip:
        """Return a clip of the index or a made clip; raises KeyError if there is none."""
        return decided_clip(self.made.row(clip_id).clip, self.rules) if is_made(clip_id) else self.base.get(clip_id)

    def audio(self, clip: Clip) -> NDArray[np.float32]:
        """Return the cleaned samples, shape (clip.samples,), read-only."""
        return self.made.audio(clip) if is_made(clip.id) else self.base.audio(clip)


def is_made(clip_id: str) -> bool:
    """Return whether an id is that of a made clip: `made/<kind>/<16 hex>`."""
    parts = clip_id.split("/")
    return len(parts) == 3 and parts[0] == FOLDER and len(parts[2]) == ID_DIGITS and set(parts[2]) <= set("0123456789abcdef")
