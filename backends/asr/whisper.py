"""Whisper on this machine, by faster-whisper. Beam search at temperature 0: equal audio gives equal text."""

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
"""Whisper writes Mandarin in either script; this prompt selects the simplified one."""


class WhisperRecogniser:
    """One model per language of the config, loaded at first use."""

    def __init__(self, config: WhisperConfig):
        self.config = config
        self._models: dict[str, Any] = {}

    def transcribe(self, samples: NDArray[np.float32], language: str) -> Transcription:
        """See `Recogniser.transcribe`."""
        code = language.partition("-")[0]
        name = self.config.model_for(code)
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = load_whisper(name, self.config)
        if not model.model.is_multilingual and code != "en":
            raise InputError(
                "transcribes English only", field="recogniser.models", value=name, remedy=f"Set another model for {code}"
            )
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
            raise BackendError(f"Whisper ({name}) failed: {error}") from error


def load_whisper(name: str, config: WhisperConfig) -> Any:
    """Load a `faster_whisper.WhisperModel`; `name` is an asset or the folder of a CTranslate2 model. Downloads nothing."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        raise missing_library("faster-whisper", "speech") from None
    folder = Path(name).expanduser() if "/" in name else asset_dir() / name
    if not (folder / "model.bin").is_file():
        remedy = f"Run: soundflow assets fetch {name}" if "/" not in name else "Name the folder that contains model.bin"
        raise InputError("the recogniser's model is not installed", field="recogniser.models", value=name, remedy=remedy)
    return WhisperModel(
        str(folder), device=config.device, compute_type=config.compute, cpu_threads=config.threads, local_files_only=True
    )
