"""CosyVoice: the protocol of its official FastAPI server, or the official package in this process.

The server streams raw little-endian int16 without a header. Its blocks may end within a sample, and it states neither rate nor
length. A stream that is cut off is a fault if the connection shows it; otherwise the gate rejects the utterance.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from soundflow.backends.calls.service import Service
from soundflow.backends.calls.speech_server import SpeechServer
from soundflow.backends.tts.pcm import samples_of_int16
from soundflow.operators.protocols.faults import BackendError
from soundflow.operators.protocols.tts import Knob, Rendering, resample_to_16k
from soundflow.schemas.base import InputError
from soundflow.schemas.speech import NEEDS, CosyVoiceConfig, ServerVoice, Voice

LONGEST_SECONDS: Final = 600
"""Of one rendering."""


class _CosyVoice:
    """The voices of a config."""

    def __init__(self, config: CosyVoiceConfig):
        self.config = config
        self._entries = {f"cosyvoice:{entry.id}": entry for entry in config.voices}
        self.voices: tuple[Voice, ...] = tuple(entry.voice("cosyvoice") for entry in config.voices)
        for entry in config.voices:
            if "prompt_wav" in NEEDS[config.mode] and not Path(entry.prompt_wav).expanduser().is_file():
                remedy = f"Voice {entry.id!r} needs a recording in mode {config.mode}"
                raise InputError("no such file", field="prompt_wav", value=entry.prompt_wav, remedy=remedy)

    def fields(self, text: str, voice: Voice) -> tuple[dict[str, str], str]:
        """Return the fields of the mode for `voice`, and the path of its recording ("" if the mode takes none)."""
        entry: ServerVoice = self._entries[voice.name]
        mode, fields = self.config.mode, {"tts_text": text}
        if mode in ("sft", "instruct"):
            fields["spk_id"] = entry.speaker or entry.id
        if mode == "zero_shot":
            fields["prompt_text"] = entry.prompt_text
        if mode in ("instruct", "instruct2"):
            fields["instruct_text"] = entry.instruct
        return fields, str(Path(entry.prompt_wav).expanduser()) if "prompt_wav" in NEEDS[mode] else ""


class CosyVoiceServer(_CosyVoice):
    """The official FastAPI server. Every request is a new draw; the server takes neither seed nor speed."""

    knobs: tuple[Knob, ...] = ("draw",)

    def __init__(self, config: CosyVoiceConfig):
        super().__init__(config)
        assert config.base_url is not None
        self.server = SpeechServer(Service("the CosyVoice server", config.base_url, "speakers"), config.server)

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        fields, recording = self.fields(text, voice)
        rate, mode = self.config.sample_rate, self.config.mode
        content: dict[str, Any] = {"data": fields}
        if recording:
            content["files"] = {"prompt_wav": ("prompt.wav", Path(recording).read_bytes(), "application/octet-stream")}
        samples = self.server.post(
            f"/inference_{mode}",
            samples_of_int16,
            largest=2 * rate * LONGEST_SECONDS,
            detail=f"mode {mode}, voice {voice.id}",
            **content,
        )
        return Rendering(resample_to_16k(samples, rate), {"backend": "cosyvoice", "mode": mode, "rate": rate})


class CosyVoiceModel(_CosyVoice):
    """The official package in this process. It must be on PYTHONPATH, since no package index has it."""

    knobs: tuple[Knob, ...] = ("seed", "speed")

    def __init__(self, config: CosyVoiceConfig):
        super().__init__(config)
        self._model: Any = None

    def say(self, text: str, voice: Voice, *, seed: int = 0, speed: float = 1.0) -> Rendering:
        """See `Speaker.say`."""
        model = self._loaded()
        fields, recording = self.fields(text, voice)
        if recording:
            fields["prompt_wav"] = recording
        with contextlib.suppress(ImportError):
            from cosyvoice.utils.common import set_all_random_seed

            set_all_random_seed(seed)
        try:
            pieces = [piece["tts_speech"] for piece in getattr(model, f"inference_{self.config.mode}")(**fields, speed=speed)]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BackendError(f"CosyVoice failed on voice {voice.id}: {type(error).__name__}: {error}") from error
        rate = int(model.sample_rate)
        samples = np.concatenate(
            [np.asarray(piece, dtype=np.float32).reshape(-1) for piece in pieces] or [np.zeros(0, np.float32)]
        )
        made_by = {"backend": "cosyvoice", "mode": self.config.mode, "rate": rate, "seed": seed, "speed": speed}
        return Rendering(resample_to_16k(samples, rate), made_by)

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                from cosyvoice.cli.cosyvoice import AutoModel
            except ImportError as error:
                raise InputError(
                    f"the official package cosyvoice cannot be imported ({error})",
                    field="model_dir",
                    remedy="Clone FunAudioLLM/CosyVoice, install its requirements and add it to PYTHONPATH, or set base_url."
                    " PyPI's `cosyvoice` is an unrelated package",
                ) from None
            self._model = AutoModel(model_dir=self.config.model_dir)
        return self._model
