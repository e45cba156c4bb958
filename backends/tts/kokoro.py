"""Kokoro-82M (int8 ONNX) on this machine, about real time on one core.

hibari's G2P provides the English phonemes, misaki the Mandarin ones.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.tts import Knob, Rendering, resample_to_16k
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError, missing_library
from soundflow.schemas.speech import KokoroConfig, Voice

RATE: Final = 24_000
LONGEST: Final = 400
"""Phonemes of one rendering; the limit of the model is 510."""
_LANGUAGES: Final = {"a": "en-US", "b": "en-GB", "z": "zh-CN"}
"""First letter of a voice's file → language. Other languages are not offered, since they have no phonemizer here."""
_GENDERS: Final = {"f": "female", "m": "male"}


class KokoroSpeaker:
    """The fetched voices whose language has a phonemizer. A rendering is a function of text, voice and speed."""

    knobs: tuple[Knob, ...] = ("speed",)

    def __init__(self, config: KokoroConfig):
        self.config = config
        files = sorted((asset_dir() / "kokoro-voices").glob("*.bin"))
        if not files or not (asset_dir() / "kokoro-82m").is_dir():
            remedy = "Run: soundflow assets fetch kokoro-82m kokoro-voices"
            raise InputError("Kokoro's model or voices are not installed", field="speakers", value="kokoro", remedy=remedy)
        if importlib.util.find_spec("hibari") is None:
            raise missing_library("hibari-tts[fast]", "models")
        languages = set("abz" if importlib.util.find_spec("misaki") else "ab")
        self.voices = tuple(_voice(file.stem) for file in files if file.stem[0] in languages)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        if voice not in self.voices:
            raise InputError(
                "this voice is not installed",
                value=voice.name,
                remedy=f"Available voices: {', '.join(v.name for v in self.voices)}",
            )
        style, parts = self._style(voice.id), []
        for phonemes in _phonemes(text, voice.id[0]):
            ids = _ids(phonemes)
            feed = {"tokens": [ids], "style": style[len(ids) - 2], "speed": np.array([speed], dtype=np.float32)}
            parts.append(self._session.run(None, feed)[0])
        audio = np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
        return Rendering(
            resample_to_16k(audio, RATE), {"backend": "kokoro", "model": "kokoro-v1.0.int8", "rate": RATE, "speed": speed}
        )

    @functools.cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.config.threads, 1
        options.log_severity_level = 3
        model = str(asset_dir() / "kokoro-82m" / "kokoro-v1.0.int8.onnx")
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @functools.lru_cache(maxsize=64)  # noqa: B019 - a speaker lives as long as its process
    def _style(self, name: str) -> NDArray[np.float32]:
        """Shape (510, 1, 256): one style per number of phonemes."""
        return np.fromfile(asset_dir() / "kokoro-voices" / f"{name}.bin", dtype="<f4").reshape(-1, 1, 256)


def _voice(name: str) -> Voice:
    return Voice.model_validate(
        {
            "name": f"kokoro:{name}",
            "language": _LANGUAGES[name[0]],
            "gender": _GENDERS.get(name[1], "unknown"),
            "licence": "Apache-2.0",
            "attribution": f"hexgrad, Kokoro-82M, voice {name}",
        }
    )


@functools.lru_cache(maxsize=3)
def _english(british: bool) -> Any:
    from hibari import Hibari
    from hibari.g2p import G2P

    return Hibari(g2p=G2P(british=british))


@functools.lru_cache(maxsize=1)
def _mandarin() -> Any:
    import logging

    import jieba
    from misaki.zh import ZHG2P

    jieba.setLogLevel(logging.WARNING)
    return ZHG2P()


def _phonemes(text: str, language: str) -> list[str]:
    """The phonemes of a text in pieces of at most LONGEST."""
    if language != "z":
        return [str(piece) for piece in _english(language == "b").phonemize(text)]
    pieces: list[str] = []
    for sentence in re.findall(r"[^。！？；]+[。！？；]?", text):
        phonemes = str(_mandarin()(sentence)[0]).strip()
        pieces += [phonemes[start : start + LONGEST] for start in range(0, len(phonemes), LONGEST)]
    return pieces


def _ids(phonemes: str) -> list[int]:
    """Ids of the model with a pad at each end, without unknown phonemes. hibari and Kokoro use the same alphabet."""
    ids: list[int] = _english(False).ids(phonemes)
    return ids
