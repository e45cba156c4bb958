"""Forced alignment of English by pocketsphinx: offline, about 80 times faster than real time, with the model in the wheel.

Words of CMU's dictionary have its pronunciations, all others (names, numbers, amounts) those of hibari's G2P. The decoder chooses
among several pronunciations the one that fits the audio.

Measured by `python -m soundflow.bench.experiments.alignment` (1,120 words with known times, 60 clips of a synthetic voice and 60
of a person over the telephone): the median error of word ends is 17 and 20 ms, 95 % are within 92 and 116 ms, and no word is
early by more than a chunk."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from soundflow.backends.align.pronunciation import Pronouncer, plain
from soundflow.backends.asr.pocketsphinx import decoder_input
from soundflow.operators.clean.activity import active_end
from soundflow.operators.protocols.alignment import Samples, Span, place_words
from soundflow.schemas import constants as c
from soundflow.schemas.base import missing_library
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.text import words_of

VERSION: Final = "2"
FRAME: Final = 160
"""Samples per frame of the acoustic model."""
CORRECTION: Final = 80
"""Samples added to its times. The median of both kinds of speech was 8 ms (starts) and 6 ms (ends) early; the two kinds differ by
more than that (-19 and +9 ms, -10 and -2 ms)."""
SHORTEST_PHONE: Final = 3
"""Frames. The models of phones have three states."""
WORST_FIT: Final = -3.0
"""Log likelihood per frame of the words, relative to the best competing state. 27 correct transcripts scored -0.7 to -1.3 (at 5
dB SNR -1.6 to -3.1), wrong ones of similar length below -3.4 or could not be aligned at all."""
SMALLEST: Final = 5e-324
"""Replaces a likelihood that underflowed to zero."""
ADDED_WORDS: Final = 20_000
"""Number of added pronunciations after which the decoder is recreated, which bounds its memory."""


class PocketsphinxAligner:
    """One decoder; create one per process. Raises InputError if pocketsphinx is not installed."""

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError:
            raise missing_library("pocketsphinx", "speech") from None
        from importlib.metadata import version

        self._make: Any = pocketsphinx.Decoder
        try:
            self._pronouncer: Pronouncer | None = Pronouncer()
        except ImportError:
            self._pronouncer = None
        source = self._pronouncer.id if self._pronouncer else "dictionary-only"
        self.id = f"pocketsphinx-{version('pocketsphinx')}/{source}/{VERSION}"
        self._renew()

    def speaks(self, language: str) -> bool:
        """Whether the language is English."""
        return language.partition("-")[0] == "en"

    def align(self, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
        """See `Aligner.align`."""
        if not self.speaks(language):
            return Rejected("other_language", {"language": language, "detail": "pocketsphinx aligns English only"})
        words = words_of(transcript)
        if not any(char.isalnum() for char in transcript):
            return Rejected("no_words", {"detail": "the transcript has no letter or digit"})
        if len(self._added) > ADDED_WORDS:
            self._renew()
        keys = [self._key(word) for word in words]
        unknown = [word for word, key in zip(words, keys, strict=True) if not key]
        if unknown:
            hint = "no pronunciation is known" if self._pronouncer else "install hibari-tts, which pronounces unknown words"
            return Rejected("unknown_words", {"words": ", ".join(unknown[:5]), "count": len(unknown), "detail": hint})
        shortest = SHORTEST_PHONE * sum(len(self._decoder.lookup_word(key).split()) for key in keys)
        frames = samples.size // FRAME
        if shortest > frames:
            return Rejected("too_short", {"frames": frames, "needed": shortest})
        spans = self._spans(samples, keys)
        return spans if isinstance(spans, Rejected) else Ok(place_words(words, spans, samples.size, active_end(samples)))

    def _renew(self) -> None:
        self._decoder = self._make(lm=None, samprate=c.SAMPLE_RATE, loglevel="FATAL")
        self._added: dict[str, str] = {}

    def _key(self, word: str) -> str:
        """The dictionary's entry for a written word, added if there is none; empty if no pronunciation is known."""
        listed = plain(word)
        if listed and self._decoder.lookup_word(listed) is not None:
            return listed
        if word not in self._added:
            readings = self._pronouncer.readings(word) if self._pronouncer else []
            self._added[word] = f"~{len(self._added)}" if readings else ""
            for number, phones in enumerate(readings, start=1):
                name = self._added[word] + (f"({number})" if number > 1 else "")
                self._decoder.add_word(name, " ".join(phones), False)
        return self._added[word]

    def _spans(self, samples: Samples, keys: list[str]) -> list[Span] | Rejected:
        decoder = self._decoder
        decoder.reinit_feat()  # otherwise cepstral means carry over from clip to clip
        decoder.set_align_text(" ".join(keys))
        decoder.start_utt()
        decoder.process_raw(decoder_input(samples), full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return Rejected("does_not_fit", {"detail": "the words cannot be found in this order"})
        found = [part for part in decoder.seg() if not part.word.startswith(("<", "[", "+"))]
        if [re.sub(r"\(\d+\)$", "", part.word) for part in found] != keys:
            return Rejected("does_not_fit", {"detail": "words are missing"})
        frames = sum(part.end_frame - part.start_frame + 1 for part in found)
        fit = sum(math.log(max(part.ascore, SMALLEST)) for part in found) / frames
        if fit < WORST_FIT:
            return Rejected("does_not_fit", {"fit": fit, "worst": WORST_FIT})
        return [(part.start_frame * FRAME + CORRECTION, (part.end_frame + 1) * FRAME + CORRECTION) for part in found]
