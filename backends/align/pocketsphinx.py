"""Forced alignment of English by pocketsphinx: offline, about 80 times faster than real time, the model is in the wheel.

Words of CMU's dictionary have its pronunciations, everything else (names, numbers, amounts) those of hibari's G2P; of several
ways to say a word the decoder takes the one that is heard.

Measured by `python -m soundflow.bench.experiments.alignment` (1,120 words whose times are known, 60 clips of a rendered voice and
60 of a person over the telephone): word ends 17 and 20 ms off in the median, 95 % within 92 and 116 ms, and no word early by more
than a chunk."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from soundflow.backends.align.pronunciation import Pronouncer, plain
from soundflow.backends.asr.pocketsphinx import decoder_input
from soundflow.operators.protocols.alignment import Samples, Span, timed
from soundflow.schemas import constants as c
from soundflow.schemas.base import missing_library
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.text import words_of

VERSION: Final = "1"
FRAME: Final = 160
"""Samples per frame of the acoustic model."""
CORRECTION: Final = 80
"""Samples added to its times: they came 8 ms (starts) and 6 ms (ends) early in the median of both kinds of speech; the two
kinds differ by more than that (-19 and +9 ms, -10 and -2 ms)."""
SHORTEST_PHONE: Final = 3
"""Frames: its models have three states."""
WORST_FIT: Final = -3.0
"""Log likelihood per frame of the words, against the best competing state. 27 right transcripts scored -0.7 to -1.3 (at 5 dB
SNR -1.6 to -3.1), wrong ones of similar length below -3.4 or found no way through at all."""
SMALLEST: Final = 5e-324
"""Likelihood of a word so long and so wrong that none is left."""
ADDED_WORDS: Final = 20_000
"""Pronunciations added before the decoder is made anew: bounds its memory."""


class PocketsphinxAligner:
    """One decoder; make one per process. Raises InputError when pocketsphinx is not installed."""

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
        reader = self._pronouncer.id if self._pronouncer else "dictionary-only"
        self.id = f"pocketsphinx-{version('pocketsphinx')}/{reader}/{VERSION}"
        self._renew()

    def speaks(self, language: str) -> bool:
        """English."""
        return language.partition("-")[0] == "en"

    def align(self, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
        """See `Aligner.align`."""
        if not self.speaks(language):
            return Rejected("other_language", {"language": language, "detail": "pocketsphinx aligns English only"})
        words = words_of(transcript)
        if not any(char.isalnum() for char in transcript):
            return Rejected("no_words", {"detail": "nothing in the transcript can be said"})
        if len(self._added) > ADDED_WORDS:
            self._renew()
        keys = [self._key(word) for word in words]
        unknown = [word for word, key in zip(words, keys, strict=True) if not key]
        if unknown:
            hint = "no way to say them is known" if self._pronouncer else "hibari-tts would know how to say them: install it"
            return Rejected("unknown_words", {"words": ", ".join(unknown[:5]), "count": len(unknown), "detail": hint})
        shortest = SHORTEST_PHONE * sum(len(self._decoder.lookup_word(key).split()) for key in keys)
        frames = samples.size // FRAME
        if shortest > frames:
            return Rejected("too_short", {"frames": frames, "needed": shortest})
        spans = self._spans(samples, keys)
        return spans if isinstance(spans, Rejected) else Ok(timed(words, spans, samples.size))

    def _renew(self) -> None:
        self._decoder = self._make(lm=None, samprate=c.SAMPLE_RATE, loglevel="FATAL")
        self._added: dict[str, str] = {}

    def _key(self, word: str) -> str:
        """The dictionary's entry for a written word, added when there is none; empty when nobody knows how to say it."""
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
        decoder.reinit_feat()  # else means carry over from clip to clip
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
