"""CosyVoice: over the protocol of its official FastAPI server, or the official package in this process.

The server streams raw little-endian int16 without a header; its pieces may end in the middle of a sample, and it says neither
rate nor length. A stream that broke off is a fault where the connection shows it, and the gate's business where it does not.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.backends.calls.audio_http import AudioHttp, int16_stream
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.protocols.tts import Knob, Rendering, at_16k
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import NEEDS, CosyVoiceConfig, ServerVoice, Voice

MOST_SECONDS: Final = 600
"""Of one answer."""


class _Voices:
    """The voices of a config."""

    def __init__(self, config: CosyVoiceConfig):
        self.config = config
        self._entries = {f"cosyvoice:{entry.id}": entry for entry in config.voices}
        self.voices: tuple[Voice, ...] = tuple(entry.voice("cosyvoice") for entry in config.voices)
        for entry in config.voices:
            if "prompt_wav" in NEEDS[config.mode] and not Path(entry.prompt_wav).expanduser().is_file():
                raise InputError(
                    "no such recording", field="prompt_wav", value=entry.prompt_wav, remedy=f"Voice {entry.id} needs it"
                )

    def fields(self, text: str, voice: Voice) -> tuple[dict[str, str], str]:
        """What the mode is told of `voice`, and the path of its recording ("" where the mode wants none)."""
        entry: ServerVoice = self._entries[voice.name]
        mode, told = self.config.mode, {"tts_text": text}
        if mode in ("sft", "instruct"):
            told["spk_id"] = entry.speaker or entry.id
        if mode == "zero_shot":
            told["prompt_text"] = entry.prompt_text
        if mode in ("instruct", "instruct2"):
            told["instruct_text"] = entry.instruct
        return told, str(Path(entry.prompt_wav).expanduser()) if "prompt_wav" in NEEDS[mode] else ""


class CosyVoiceServer(_Voices):
    """The official FastAPI server. It draws anew for each request, and takes neither seed nor speed."""

    knobs: tuple[Knob, ...] = ("draw",)

    def __init__(self, config: CosyVoiceConfig):
        super().__init__(config)
        assert config.base_url is not None
        self._http = AudioHttp(config.base_url, config.server)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        told, recording = self.fields(text, voice)
        rate, mode = self.config.sample_rate, self.config.mode
        content: dict[str, Any] = {"data": told}
        if recording:
            content["files"] = {"prompt_wav": ("prompt.wav", Path(recording).read_bytes(), "application/octet-stream")}
        samples = self._http.post(f"/inference_{mode}", int16_stream, most_bytes=2 * rate * MOST_SECONDS, **content)
        return Rendering(at_16k(samples, rate), {"backend": "cosyvoice", "mode": mode, "rate": rate})


class CosyVoiceModel(_Voices):
    """The official package in this process, which must be on PYTHONPATH (it is on no package index)."""

    knobs: tuple[Knob, ...] = ("seed", "speed")

    def __init__(self, config: CosyVoiceConfig):
        super().__init__(config)
        self._model: Any = None

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        model = self._loaded()
        told, recording = self.fields(text, voice)
        if recording:
            told["prompt_wav"] = recording
        with contextlib.suppress(ImportError):
            from cosyvoice.utils.common import set_all_random_seed

            set_all_random_seed(seed)
        try:
            pieces = [piece["tts_speech"] for piece in getattr(model, f"inference_{self.config.mode}")(**told, speed=speed)]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BackendError(f"cosyvoice: {type(error).__name__}: {error}") from error
        rate = int(model.sample_rate)
        samples = np.concatenate(
            [np.asarray(piece, dtype=np.float32).reshape(-1) for piece in pieces] or [np.zeros(0, np.float32)]
        )
        made_by = {"backend": "cosyvoice", "mode": self.config.mode, "rate": rate, "seed": seed, "speed": speed}
        return Rendering(at_16k(samples, rate), made_by)

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                from cosyvoice.cli.cosyvoice import AutoModel
            except ImportError as error:
                raise InputError(
                    f"the official package cosyvoice cannot be imported ({error})",
                    field="model_dir",
                    remedy="Clone FunAudioLLM/CosyVoice, install its requirements and put it on PYTHONPATH, or use base_url;"
                    " PyPI's `cosyvoice` is another thing",
                ) from None
            self._model = AutoModel(model_dir=self.config.model_dir)
        return self._model
