"""The cleaned audio of clips from one clip cache: checked, kept decoded for a while, made again from its source when lost."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.clip_cache import ClipCache, Treatment, file_sha256, from_pcm
from soundflow.schemas.clip import Clip
from soundflow.schemas.outcome import Ok

DECODED_BYTES: Final = 64 << 20
"""Decoded clips that are kept at hand."""


class ClipAudio:
    """Audio by row. `remedy` is what a user can do when a clip is lost for good."""

    def __init__(self, cache: ClipCache, remedy: str):
        self.cache, self.remedy = cache, remedy
        self._decoded: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._decoded_bytes = 0
        self._intact: set[str] = set()

    def of(self, clip: Clip) -> NDArray[np.float32]:
        """Cleaned samples, float32 of PCM16, shape (clip.samples,), read-only.

        The first read of a clip checks its hash. A lost or damaged cache entry is made again from the source file, which
        must give the same samples; OSError naming the clip and the remedy when it cannot.
        """
        key = clip.cache_key
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        data = self.cache.pcm(key)
        whole = data is not None and len(data) == 2 * clip.samples
        if not whole or (key not in self._intact and hashlib.sha256(data or b"").hexdigest() != clip.clean_sha256):
            data = self._heal(clip)
        self._intact.add(key)
        samples = from_pcm(data or b"")
        self._decoded[key] = samples
        self._decoded_bytes += samples.nbytes
        while self._decoded_bytes > DECODED_BYTES and len(self._decoded) > 1:
            self._decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        return samples

    def _heal(self, clip: Clip) -> bytes:
        """Make a cache entry again from the source file."""
        treatment = Treatment.of(clip.role)
        source = Path(clip.path)
        trouble = f"clip {clip.id}: its cleaned audio is lost from {self.cache.directory} and "
        if self.cache.config.key(clip.content_sha256, treatment) != clip.cache_key:
            raise OSError(f"{trouble}another version of SoundFlow cleaned it; {self.remedy}")
        try:
            content = file_sha256(source)
        except OSError as error:
            raise OSError(f"{trouble}its source {source} cannot be read ({error.strerror or error}); {self.remedy}") from None
        if content != clip.content_sha256:
            raise OSError(f"{trouble}its source {source} has changed; {self.remedy}")
        made = self.cache.clean(source, treatment, content)
        data = self.cache.pcm(clip.cache_key)
        if not isinstance(made, Ok) or data is None or hashlib.sha256(data).hexdigest() != clip.clean_sha256:
            raise OSError(f"{trouble}cleaning {source} again gives something else; {self.remedy}")
        return data
