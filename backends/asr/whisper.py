"""Whisper on this machine, by faster-whisper. Greedy and beam decoding at temperature 0: the same audio gives the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from soundflow.operators.protocols.asr import Transcription
from soundflow.operators.protocols.faults import BackendError
from soundflow.schemas.asset_dir import asset_dir
from soundflow.schemas.base import InputError, missing_library
from soundflow.schemas.speech import WhisperConfig

PROMPTS: Final = {"zh": "以下是普通话的句子，使用简体中文。"}
"""Whisper writes Mandarin in either script; this asks for the simplified one."""


class WhisperRecogniser:
    """One model per language, as the config says; loaded at first use."""

    def __init__(self, config: WhisperConfig):
        self.config = config
        self._models: dict[str, Any] = {}

    def hear(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.hear`."""
        code = language.partition("-")[0]
        name = self.config.model_for(code)
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = load_whisper(name, self.config)
        if not model.model.is_multilingual and code != "en":
            raise InputError("knows English only", field="recogniser.models", value=name, remedy=f"Give {code} another model")
        try:
            segments, _ = model.transcribe(
                samples,
                language=code,
                beam_size=self.config.beam,
                temperature=0.0,
                condition_on_previous_text=False,
                initial_prompt=PROMPTS.get(code),
                without_timestamps=True,
            )
            return Transcription(" ".join(segment.text.strip() for segment in segments), Path(name).name)
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"whisper: {error}") from error


def load_whisper(name: str, config: WhisperConfig) -> Any:
    """A `faster_whisper.WhisperModel`: `name` is an asset, or the folder of a CTranslate2 conversion. Nothing is downloaded."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        raise missing_library("faster-whisper", "speech") from None
    folder = Path(name).expanduser() if "/" in name else asset_dir() / name
    if not (folder / "model.bin").is_file():
        fetch = f"soundflow assets fetch {name}" if "/" not in name else "Name the folder that holds model.bin"
        raise InputError("this recogniser's model is not here", field="recogniser.models", value=name, remedy=fetch)
    return WhisperModel(
        str(folder), device=config.device, compute_type=config.compute, cpu_threads=config.threads, local_files_only=True
    )
