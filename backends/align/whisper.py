"""Forced alignment in Whisper's 99 languages by faster-whisper, from the attention of its decoder to the audio.

Attention shows when the decoder moves on to the next word, early or late by a constant that depends on the model (MODELS). Within
that time, the level of the audio shows where speech ends. Measured by `python -m soundflow.bench.experiments.alignment`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.clean.activity import active_end, active_hops, hop_power, smooth3
from soundflow.operators.protocols.alignment import Samples, Span, place_words
from soundflow.schemas import constants as c
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError, missing_library
from soundflow.schemas.clip import Word
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from soundflow.schemas.text import words_of

VERSION: Final = "2"
LONGEST_SECONDS: Final = 30.0
"""Whisper's window."""
LONGEST_TOKENS: Final = 440
"""Of the 448 of its decoder, less those before the text."""
STEP: Final = 320
"""Samples per step of its attention."""
SHORTEST_WORD: Final = 960
"""Samples. Speech has at most 17 words a second; without this limit, Whisper accepts many repetitions of one word."""
NEAR_HOPS: Final = 6
"""Hops of 12.5 ms around an estimated word end within which the quietest one is taken as the end."""
UNSPACED: Final = frozenset("zh ja yue".split())


class AlignmentModel(NamedTuple):
    """A converted model, and the constants of its attention."""

    asset: str
    late: int
    """Samples from the end of a word to the moment its attention moves on, in running speech; negative if it moves on early."""
    worst_fit: float
    """Mean log probability of the tokens with letters or digits, below which the transcript does not match."""


MODELS: Final = {"en": AlignmentModel("whisper-tiny-en", 1_000, -2.5), "*": AlignmentModel("whisper-base", -1_600, -3.8)}
"""Language → model; `*` stands for all others. Joined single words (`bench.experiments.alignment`) and running speech (against
pocketsphinx) differ: the attention of tiny.en moves on 62 and 50 ms after a word's end, that of base 185 and 60 ms before it; the
constants lie between. Correct transcripts score -0.2 to -1.1 and -1.6 to -3.6, wrong ones less than -3.7 and -4.0."""


class WhisperAligner:
    """Loads the model of a language at first use. Raises InputError if the library or a model is missing."""

    def __init__(self) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise missing_library("faster-whisper", "speech") from None
        from importlib.metadata import version

        self._make: Any = WhisperModel
        names = "+".join(sorted({reading.asset for reading in MODELS.values()}))
        self.id = f"faster-whisper-{version('faster-whisper')}/{names}/{VERSION}"
        self._loaded: dict[str, Any] = {}

    def speaks(self, language: str) -> bool:
        """Whether a model supports the language."""
        code = language.partition("-")[0]
        return code in self._model(code).supported_languages

    def align(self, samples: Samples, transcript: str, language: str) -> Outcome[tuple[Word, ...]]:
        """See `Aligner.align`."""
        if not self.speaks(language):
            return Rejected("other_language", {"language": language, "detail": "Whisper does not support it"})
        words = words_of(transcript)
        if not any(char.isalnum() for char in transcript):
            return Rejected("no_words", {"detail": "the transcript has no letter or digit"})
        if samples.size > LONGEST_SECONDS * c.SAMPLE_RATE:
            return Rejected("too_long", {"seconds": samples.size / c.SAMPLE_RATE, "longest": LONGEST_SECONDS})
        code = language.partition("-")[0]
        if len(words) * SHORTEST_WORD > samples.size:
            return Rejected("too_short", {"seconds": samples.size / c.SAMPLE_RATE, "words": len(words)})
        tokens = self._tokens(code, words)
        needed, most = sum(map(len, tokens)), min(LONGEST_TOKENS, samples.size // STEP)
        if needed > most:
            return Rejected("too_many_tokens", {"tokens": needed, "most": most})
        fit, ends = self._attention(code, samples, tokens)
        reading = MODELS.get(code, MODELS["*"])
        if fit < reading.worst_fit:
            return Rejected("does_not_fit", {"fit": fit, "worst": reading.worst_fit})
        return Ok(place_words(words, spans_between(samples, ends - reading.late), samples.size, active_end(samples)))

    def _model(self, code: str) -> Any:
        name = MODELS.get(code, MODELS["*"]).asset
        if name not in self._loaded:
            folder = asset_dir() / name
            if not (folder / "model.bin").is_file():
                remedy = f"Run: soundflow assets fetch {name}"
                raise InputError("the aligner's model is not installed", field="aligner", value=name, remedy=remedy)
            self._loaded[name] = self._make(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
        return self._loaded[name]

    def _tokenizer(self, code: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        model = self._model(code)
        return Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=code)

    def _tokens(self, code: str, words: Sequence[str]) -> list[list[int]]:
        tokenizer = self._tokenizer(code)
        before = "" if code in UNSPACED else " "
        return [list(tokenizer.encode(before + word)) for word in words]

    def _attention(self, code: str, samples: Samples, tokens: Sequence[list[int]]) -> tuple[float, NDArray[np.float64]]:
        """(mean log probability of the tokens, the sample at which attention leaves each word)."""
        model, tokenizer = self._model(code), self._tokenizer(code)
        features = model.feature_extractor(samples)
        whole = np.zeros((features.shape[0], model.feature_extractor.nb_max_frames), np.float32)
        whole[:, : features.shape[-1]] = features[:, : whole.shape[-1]]
        text = [token for word in tokens for token in word]
        frames = min(features.shape[-1], whole.shape[-1])
        found = model.model.align(model.encode(whole), tokenizer.sot_sequence, [text], frames)[0]
        path = np.array(found.alignments)
        moved = np.flatnonzero(np.diff(path[:, 0], prepend=-1))  # the first step of each token, the end of text included
        spoken = [place for place, token in enumerate(text) if any(char.isalnum() for char in tokenizer.decode([token]))]
        chances = np.array(found.text_token_probs)[spoken or slice(len(text))]
        fit = float(np.log(np.maximum(chances, 1e-9)).mean())
        return fit, path[moved[np.cumsum([len(word) for word in tokens])], 1] * float(STEP)


def spans_between(samples: Samples, ends: NDArray[np.float64]) -> list[Span]:
    """Return the spans of words that end near `ends`: boundaries move to the quietest moment nearby, without silence around."""
    active, power = active_hops(samples), smooth3(hop_power(samples))
    spans: list[Span] = []
    begin = 0
    for number, end in enumerate(ends):
        last = min(max(round(end / c.STFT_HOP), begin + 1), active.size)
        if number + 1 < len(ends):
            near = slice(max(last - NEAR_HOPS, begin + 1), last + NEAR_HOPS + 1)
            last = near.start + int(power[near].argmin()) if power[near].size else last
        speech = np.flatnonzero(active[begin:last])
        first, final = (begin + speech[0], begin + speech[-1] + 1) if speech.size else (begin, last)
        spans.append((float(first * c.STFT_HOP), float(final * c.STFT_HOP)))
        begin = last
    return spans
