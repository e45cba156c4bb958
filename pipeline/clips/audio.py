"""Reads cleaned clips from a clip cache, verifies their hashes and restores lost entries from the source files."""

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
"""Size of the cache of decoded clips."""


class ClipAudio:
    """Reader for cleaned audio. `remedy`: what the user can do about a clip that cannot be restored."""

    def __init__(self, cache: ClipCache, remedy: str):
        self.cache, self.remedy = cache, remedy
        self._decoded: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._decoded_bytes = 0

    def of(self, clip: Clip) -> NDArray[np.float32]:
        """Return the cleaned samples: float32 from PCM16, shape (clip.samples,), read-only.

        The hash is verified whenever the samples are read from the disk (0.2 ms for a clip of 10 s). A missing or damaged cache
        entry is restored from the source file. Raises OSError with the clip and the remedy when the source does not give the
        same samples.
        """
        key = clip.cache_key
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        data = self.cache.pcm(key)
        if data is None or len(data) != 2 * clip.samples or hashlib.sha256(data).hexdigest() != clip.clean_sha256:
            data = self._restore(clip)
        samples = from_pcm(data)
        self._decoded[key] = samples
        self._decoded_bytes += samples.nbytes
        while self._decoded_bytes > DECODED_BYTES and len(self._decoded) > 1:
            self._decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        return samples

    def _restore(self, clip: Clip) -> bytes:
        """Clean the source file again and return the PCM of the new cache entry."""
        treatment = Treatment.of(clip.role)
        source = Path(clip.path)
        problem = f"clip {clip.id}: the cleaned audio in {self.cache.directory} is missing or damaged, and "
        if self.cache.config.key(clip.content_sha256, treatment) != clip.cache_key:
            raise OSError(f"{problem}another version of SoundFlow made it; {self.remedy}")
        try:
            content = file_sha256(source)
        except OSError as error:
            raise OSError(f"{problem}the source {source} cannot be read ({error.strerror or error}); {self.remedy}") from None
        if content != clip.content_sha256:
            raise OSError(f"{problem}the source {source} has changed; {self.remedy}")
        made = self.cache.clean(source, treatment, content)
        data = self.cache.pcm(clip.cache_key)
        if not isinstance(made, Ok) or data is None or hashlib.sha256(data).hexdigest() != clip.clean_sha256:
            raise OSError(f"{problem}cleaning {source} again gives other samples; {self.remedy}")
        return data
